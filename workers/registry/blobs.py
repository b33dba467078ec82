"""Blobs: is it there, and its bytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

from transship.store.errors import (
    ProtocolError,
    RangeIgnoredError,
    RegistryError,
    RegistryNotFoundError,
    RegistryUnavailableError,
    SizeMismatchError,
)
from transship.store.oci.descriptor import Descriptor
from transship.store.oci.digest import Digest
from transship.workers.registry.auth.scopes import repository_scope
from transship.workers.registry.body import BlobBody
from transship.workers.registry.manifests import length_told
from transship.workers.registry.network import RegistryResponse
from transship.workers.registry.session import Ask, Session
from transship.workers.registry.transport.errors import (
    RequestContext,
    answer_error,
    html_error,
    is_html,
    refuse_html,
    tolerated,
)
from transship.workers.registry.transport.responses import discard

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_EXPIRED = frozenset({400, 401, 403, 410})  # what stores say of a signature that is too old
MAX_FOREIGN_URLS = 5


def head_blob(session: Session, digest: Digest, subject: str, *, sure: bool) -> int | None:
    """Return the size of the blob in the repository; None if it is not there.

    Where HEAD is refused, or does not tell the size, a GET of one byte does. So it does where HEAD
    finds nothing, if the caller must be *sure*.
    """
    asked = session.asked(subject, "HEAD blob")
    answer = _ask(session, "HEAD", digest, asked)
    try:
        if answer.status == httpx.codes.OK:
            size = length_told(answer.headers)
            if size is not None and not is_html(answer.response):
                return size
        else:
            refusal = tolerated(answer.response, asked)
            if isinstance(refusal, RegistryNotFoundError) and not sure:
                return None
    finally:
        discard(answer.response)
    return _size_by_get(session, digest, session.asked(subject, "GET blob"))


def _size_by_get(session: Session, digest: Digest, asked: RequestContext) -> int | None:
    """Ask for a single byte, whose Content-Range tells the size."""
    answer = _ask(session, "GET", digest, asked, headers={"Range": "bytes=0-0"})
    try:
        if answer.status == httpx.codes.NOT_FOUND:
            return None
        if httpx.codes.is_success(answer.status):
            refuse_html(answer.response, asked)
        if answer.status == httpx.codes.PARTIAL_CONTENT:
            told = _range_told(answer.headers)[2]
            size = told if told is not None and told >= 0 else None
        elif answer.status in {
            httpx.codes.OK,
            httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE,
        }:
            size = length_told(answer.headers)  # 416: an empty blob has no first byte
        else:
            raise answer_error(answer.response, asked)
    finally:
        discard(answer.response)
    if size is None:
        raise ProtocolError(
            f"{asked.action}: answered without a size",
            registry=asked.registry,
            subject=asked.subject,
        )
    return size


@contextmanager
def open_blob(
    session: Session,
    descriptor: Descriptor,
    subject: str,
    *,
    offset: int,
    check: Callable[[], None] | None,
) -> Iterator[BlobBody]:
    """Open the blob at *offset*, or at 0 where the registry ignores ranges.

    What is left to read is known to fit the descriptor before the body is handed over. A blob
    with foreign URLs that the registry does not hold is fetched from there, without credentials.

    Raises:
        RegistryNotFoundError: the registry does not hold it.
        SizeMismatchError: it announces another size than the descriptor's.
        RangeIgnoredError: it answered with another range than asked for.
        RegistryError: any other refusal.
    """
    if not 0 <= offset <= descriptor.size:
        raise ValueError(f"offset {offset} lies outside of {descriptor.size} bytes")
    asked = session.asked(subject, "GET blob")
    if offset == descriptor.size:  # nothing to ask for; a range past the end is answered 416
        yield BlobBody(None, asked, offset=offset, size=descriptor.size)
        return
    answer, begin = _open(session, descriptor, asked, offset, check)
    try:
        yield BlobBody(
            answer.response,
            asked,
            offset=begin,
            size=descriptor.size,
            pacer=session.network.pacer,
        )
    finally:
        answer.response.close()


def _open(
    session: Session,
    descriptor: Descriptor,
    asked: RequestContext,
    offset: int,
    check: Callable[[], None] | None,
) -> tuple[RegistryResponse, int]:
    headers = {"Range": f"bytes={offset}-{descriptor.size - 1}"} if offset else {}
    answer = _ask(session, "GET", descriptor.digest, asked, headers=headers, check=check)
    if answer.status == httpx.codes.NOT_FOUND and descriptor.urls:
        missing = answer_error(answer.response, asked)
        answer = _open_foreign(session, descriptor, asked, headers, check, missing)
    if answer.status == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and offset:
        # Some servers refuse what others ignore. Not to be read: 2.8 announces a false length.
        answer.response.close()
        return _open(session, descriptor, asked, 0, check)
    if answer.status in _EXPIRED and not session.is_own(answer):
        raise _expired(answer, asked)
    try:
        return answer, _begin_of(answer, descriptor, asked, offset)
    except RangeIgnoredError:
        answer.response.close()
        if not offset:
            raise
        return _open(session, descriptor, asked, 0, check)  # a server that miscounts, all of it
    except BaseException:
        answer.response.close()
        raise


def _begin_of(
    answer: RegistryResponse, descriptor: Descriptor, asked: RequestContext, offset: int
) -> int:
    """Check the answer's head, and return the offset at which its body begins."""
    length = length_told(answer.headers)
    if answer.status == httpx.codes.PARTIAL_CONTENT:
        first, last, total = _range_told(answer.headers)
        if (first, last) != (offset, descriptor.size - 1) or total not in {
            descriptor.size,
            None,
        }:
            raise RangeIgnoredError(
                f"asked for bytes {offset}-{descriptor.size - 1}, was sent others",
                registry=asked.registry,
                subject=asked.subject,
                http_status=answer.status,
            )
        begin = offset
    elif answer.status == httpx.codes.OK:
        begin = 0
    else:
        raise answer_error(answer.response, asked)
    expected = descriptor.size - begin
    if length != expected and is_html(answer.response):
        raise html_error(asked, answer.status)
    if length is not None and length != expected:
        raise SizeMismatchError(subject=str(descriptor.digest), expected=expected, actual=length)
    return begin


def _expired(answer: RegistryResponse, asked: RequestContext) -> RegistryUnavailableError:
    """The registry sent us on, and there we are refused: the next attempt asks it again."""
    refusal = answer_error(answer.response, asked)
    return RegistryUnavailableError(
        f"where the registry sent us, {refusal.detail}",
        registry=asked.registry,
        subject=asked.subject,
        http_status=refusal.http_status,
        hint="the address that it gives may have expired, or its clock be wrong",
    )


def _open_foreign(
    session: Session,
    descriptor: Descriptor,
    asked: RequestContext,
    headers: dict[str, str],
    check: Callable[[], None] | None,
    missing: RegistryError,
) -> RegistryResponse:
    """Try the descriptor's URLs in turn: no credentials, and the rules for given addresses."""
    last: RegistryError = missing
    for url in descriptor.urls[:MAX_FOREIGN_URLS]:
        try:
            answer = session.send_foreign(
                Ask(
                    method="GET",
                    target=url,
                    scopes=(),
                    asked=asked,
                    headers=headers,
                    check=check,
                )
            )
        except RegistryError as failed:
            last = failed
            continue
        if answer.status in {200, 206, 416}:
            return answer
        last = answer_error(answer.response, asked)
    if isinstance(last, RegistryNotFoundError):
        raise missing
    raise last


def _range_told(headers: httpx.Headers) -> tuple[int, int, int | None]:
    """Return first, last and total of Content-Range; -1 where it cannot be read."""
    match = _CONTENT_RANGE.fullmatch(headers.get("content-range", "").strip())
    if match is None:
        return -1, -1, -1
    total = match.group(3)
    return (
        int(match.group(1)),
        int(match.group(2)),
        None if total == "*" else int(total),
    )


def _ask(
    session: Session,
    method: str,
    digest: Digest,
    asked: RequestContext,
    *,
    headers: dict[str, str] | None = None,
    check: Callable[[], None] | None = None,
) -> RegistryResponse:
    return session.send(
        Ask(
            method=method,
            target=f"/blobs/{digest}",
            scopes=(repository_scope(session.path, "pull"),),
            asked=asked,
            headers=headers or {},
            check=check,
        )
    )
