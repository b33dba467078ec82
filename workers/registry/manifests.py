"""Manifests and indexes: resolve, fetch, put.

HEAD, and the headers that tell of a manifest, only save work. What they say is believed where it is
complete; what they refuse, a GET decides.
"""

from __future__ import annotations

import httpx

from transship.store.errors import (
    DeniedError,
    DigestMismatchError,
    InvalidDigestError,
    InvalidManifestError,
    ManifestNotFoundError,
    ProtocolError,
    RegistryError,
    RegistryUnavailableError,
    UnauthorizedError,
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
    tolerated,
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


def head_manifest(
    session: Session, identifier: str, subject: str, *, sure: bool
) -> Descriptor | None:
    """Return what *identifier*, a tag or digest, stands for; None if it is not there.

    HEAD is free of Docker Hub's pull limit. Where the answer lacks what is needed, or HEAD is
    refused, the manifest itself is fetched. So it is where HEAD finds nothing, if the caller must
    be *sure*.
    """
    told = _told_by_head(session, identifier, subject)
    if isinstance(told, Descriptor):
        return told
    if isinstance(told, ManifestNotFoundError) and not sure:
        return None
    try:
        return get_manifest(session, identifier, subject).descriptor
    except ManifestNotFoundError:
        return None


def _told_by_head(session: Session, identifier: str, subject: str) -> Descriptor | RegistryError:
    """What HEAD tells, or why that is of no use.

    Raises:
        RegistryError: the registry wants to be left alone, or cannot be reached.
    """
    asked = session.asked(subject, "HEAD manifest", manifest=True)
    answer = _ask(session, "HEAD", identifier, asked)
    try:
        if answer.status != httpx.codes.OK:
            return tolerated(answer.response, asked)
        told = _descriptor_in(answer.headers)
    finally:
        discard(answer.response)
    if told is not None and _fits(told, identifier):
        return told
    return ProtocolError(
        f"{asked.action}: answered without digest, size and type",
        registry=asked.registry,
        subject=subject,
    )


def get_manifest(session: Session, identifier: str, subject: str) -> Manifest | Index:
    """Fetch the manifest or index; its digest is computed from the bytes received.

    Raises:
        ManifestNotFoundError: it is not there.
        DigestMismatchError: other bytes than asked for.
        InvalidManifestError: too long, or not a manifest.
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
    _check_bytes(raw, answer.headers, identifier, asked)
    told = media_type_of(answer.headers)
    if told in _SAYS_NOTHING and raw.lstrip()[:1] == b"<":
        raise html_error(asked, answer.status)
    return parse_manifest(raw, None if told in _SAYS_NOTHING else told)


def put_manifest(
    session: Session, identifier: str, manifest: Manifest | Index, subject: str
) -> None:
    """Store the very bytes of *manifest* under *identifier*.

    An answer other than 201, or one that names another digest, leaves it open whether they are
    there: they are read back. Who may write there and not read has the registry's word.

    Raises:
        DigestMismatchError: the registry has stored something else.
        RegistryUnavailableError: it took the manifest, and has not got it.
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
        if not httpx.codes.is_success(answer.status):
            raise answer_error(answer.response, asked)
        refuse_html(answer.response, asked)
        told = digest_told(answer.headers)
        denied = denies(told, manifest.digest)
        if told == manifest.digest or (answer.status == httpx.codes.CREATED and not denied):
            return
    finally:
        discard(answer.response)
    try:
        stored = get_manifest(session, identifier, subject)
    except ManifestNotFoundError as missing:
        raise RegistryUnavailableError(
            f"{asked.action}: answered {answer.status}, and the manifest is not there",
            registry=asked.registry,
            subject=subject,
        ) from missing
    except (UnauthorizedError, DeniedError):
        if denied:
            raise DigestMismatchError(expected=str(manifest.digest), actual=str(told)) from None
        return
    if stored.raw != manifest.raw:
        raise DigestMismatchError(expected=str(manifest.digest), actual=str(stored.digest))


def check_digest_told(headers: httpx.Headers, digest: Digest) -> None:
    """Raise DigestMismatchError if the registry names another digest of the same algorithm."""
    told = digest_told(headers)
    if denies(told, digest):
        raise DigestMismatchError(expected=str(digest), actual=str(told))


def denies(told: Digest | None, digest: Digest) -> bool:
    """Say whether a registry that has *told* a digest names another one of the same algorithm."""
    return told is not None and told.algorithm == digest.algorithm and told != digest


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
) -> None:
    if len(raw) > MAX_MANIFEST_BYTES:
        raise InvalidManifestError(
            f"longer than the {MAX_MANIFEST_BYTES} bytes that a manifest may have",
            subject=asked.subject,
        )
    digest = _digest_asked(identifier) or digest_told(headers)
    if digest is not None:
        _check_digest(raw, digest)


def _check_digest(raw: bytes, digest: Digest) -> None:
    hasher = digest.hasher()
    hasher.update(raw)
    actual = hasher.hexdigest()
    if actual != digest.hex:
        raise DigestMismatchError(expected=str(digest), actual=f"{digest.algorithm}:{actual}")
