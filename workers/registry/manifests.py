"""Manifests and indexes: resolve, fetch, put."""

from __future__ import annotations

import httpx

from transship.store.errors import (
    DigestMismatchError,
    InvalidDigestError,
    InvalidManifestError,
    SizeMismatchError,
)
from transship.store.oci import mediatypes
from transship.store.oci.descriptor import Descriptor
from transship.store.oci.digest import Digest
from transship.store.oci.manifest import MAX_MANIFEST_BYTES, Index, Manifest, parse_manifest
from transship.workers.registry.auth.scopes import repository_scope
from transship.workers.registry.network import RegistryResponse
from transship.workers.registry.session import Ask, Session
from transship.workers.registry.transport.errors import (
    RequestContext,
    answer_error,
    html_error,
    media_type_of,
    refuse_html,
    translated,
)
from transship.workers.registry.transport.responses import discard, read_bounded

_ACCEPT = ", ".join(mediatypes.ACCEPT)
_SAYS_NOTHING = frozenset(
    {
        "",
        "application/json",
        "application/octet-stream",
        "text/plain",
        "binary/octet-stream",
    }
)


def head_manifest(session: Session, identifier: str, subject: str) -> Descriptor | None:
    """Return what *identifier*, a tag or digest, stands for; None if it is not there.

    HEAD is free of Docker Hub's pull limit. Where the answer lacks what is needed, or HEAD is not
    allowed, the manifest itself is fetched.
    """
    asked = session.asked(subject, "HEAD manifest", manifest=True)
    answer = _ask(session, "HEAD", identifier, asked)
    try:
        if answer.status == httpx.codes.NOT_FOUND:
            return None
        if answer.status == httpx.codes.OK:
            refuse_html(answer.response, asked)
            told = _descriptor_in(answer.headers)
            if told is not None and _fits(told, identifier):
                return told
        elif answer.status != httpx.codes.METHOD_NOT_ALLOWED:
            raise answer_error(answer.response, asked)
    finally:
        discard(answer.response)
    return get_manifest(session, identifier, subject).descriptor


def get_manifest(
    session: Session,
    identifier: str,
    subject: str,
    *,
    expected: Descriptor | None = None,
) -> Manifest | Index:
    """Fetch the manifest or index; its digest is computed from the bytes received.

    Raises:
        ManifestNotFoundError: it is not there.
        DigestMismatchError, SizeMismatchError: other bytes than asked for, or than *expected*.
        InvalidManifestError: too long, or not a manifest; or of another type than *expected*.
        UnsupportedMediaTypeError: schema 1.
    """
    asked = session.asked(subject, "GET manifest", manifest=True)
    answer = _ask(session, "GET", identifier, asked)
    try:
        if answer.status != httpx.codes.OK:
            raise answer_error(answer.response, asked)
        refuse_html(answer.response, asked)
        with translated(asked):
            raw = read_bounded(answer.response, MAX_MANIFEST_BYTES)
    finally:
        answer.response.close()
    _check_bytes(raw, answer.headers, identifier, asked, expected)
    told = media_type_of(answer.headers)
    if told in _SAYS_NOTHING and raw.lstrip()[:1] == b"<":
        raise html_error(asked, answer.status)
    manifest = parse_manifest(raw, None if told in _SAYS_NOTHING else told)
    if expected is not None and manifest.media_type != expected.media_type:
        raise InvalidManifestError(
            f"is of type {manifest.media_type}, but was announced as {expected.media_type}",
            subject=subject,
        )
    return manifest


def put_manifest(
    session: Session, identifier: str, manifest: Manifest | Index, subject: str
) -> None:
    """Store the very bytes of *manifest* under *identifier*.

    Raises:
        DigestMismatchError: the registry says that it stored something else.
        RegistryError: it refused; a blob is missing there, say.
    """
    asked = session.asked(subject, "PUT manifest", manifest=True)
    answer = session.send(
        Ask(
            method="PUT",
            target=f"/manifests/{identifier}",
            scopes=(repository_scope(session.path, "pull", "push"),),
            asked=asked,
            headers={"Content-Type": manifest.media_type},
            body=manifest.raw,
        )
    )
    try:
        if answer.status not in {200, 201, 204}:
            raise answer_error(answer.response, asked)
        refuse_html(answer.response, asked)
        check_digest_told(answer.headers, manifest.digest)
    finally:
        discard(answer.response)


def check_digest_told(headers: httpx.Headers, digest: Digest) -> None:
    """Raise DigestMismatchError if the registry names another digest of the same algorithm."""
    told = digest_told(headers)
    if told is not None and told.algorithm == digest.algorithm and told != digest:
        raise DigestMismatchError(expected=str(digest), actual=str(told))


def digest_told(headers: httpx.Headers) -> Digest | None:
    """Return Docker-Content-Digest; None if it is missing or is no digest."""
    try:
        return Digest.parse(headers.get("docker-content-digest", ""))
    except InvalidDigestError:
        return None


def length_told(headers: httpx.Headers) -> int | None:
    """Return Content-Length; None if it is missing or is no number."""
    value = headers.get("content-length", "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 20 else None


def _ask(session: Session, method: str, identifier: str, asked: RequestContext) -> RegistryResponse:
    return session.send(
        Ask(
            method=method,
            target=f"/manifests/{identifier}",
            scopes=(repository_scope(session.path, "pull"),),
            asked=asked,
            headers={"Accept": _ACCEPT},
        )
    )


def _digest_asked(identifier: str) -> Digest | None:
    return Digest.parse(identifier) if ":" in identifier else None


def _descriptor_in(headers: httpx.Headers) -> Descriptor | None:
    digest, size, media_type = (
        digest_told(headers),
        length_told(headers),
        media_type_of(headers),
    )
    if digest is None or not size or media_type in _SAYS_NOTHING:
        return None
    return Descriptor(media_type=media_type, digest=digest, size=size)


def _fits(told: Descriptor, identifier: str) -> bool:
    wanted = _digest_asked(identifier)
    return wanted is None or told.digest == wanted


def _check_bytes(
    raw: bytes,
    headers: httpx.Headers,
    identifier: str,
    asked: RequestContext,
    expected: Descriptor | None,
) -> None:
    if len(raw) > MAX_MANIFEST_BYTES:
        raise InvalidManifestError(
            f"longer than the {MAX_MANIFEST_BYTES} bytes that a manifest may have",
            subject=asked.subject,
        )
    if expected is not None and len(raw) != expected.size:
        raise SizeMismatchError(
            subject=str(expected.digest), expected=expected.size, actual=len(raw)
        )
    for digest in (
        _digest_asked(identifier),
        None if expected is None else expected.digest,
    ):
        if digest is not None:
            _check_digest(raw, digest)
    told = digest_told(headers)
    if told is not None and _digest_asked(identifier) is None:
        _check_digest(raw, told)


def _check_digest(raw: bytes, digest: Digest) -> None:
    hasher = digest.hasher()
    hasher.update(raw)
    actual = hasher.hexdigest()
    if actual != digest.hex:
        raise DigestMismatchError(expected=str(digest), actual=f"{digest.algorithm}:{actual}")
