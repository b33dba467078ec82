"""Upload sessions at a registry: opened, asked about, added to, closed, cancelled.

One method a request. What to do when one is refused is decided in `uploads`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from urllib.parse import quote

import httpx

from transship.store.errors import DeniedError, Interruption, TransshipError, UnauthorizedError
from transship.store.oci.digest import Digest
from transship.workers.registry.auth.scopes import Scope, repository_scope
from transship.workers.registry.manifests import check_digest_told, denies, digest_told
from transship.workers.registry.network import RegistryResponse
from transship.workers.registry.sending import Sending
from transship.workers.registry.session import Ask, Session
from transship.workers.registry.transport.connections import Body
from transship.workers.registry.transport.errors import (
    RequestContext,
    answer_error,
    refuse_html,
    tolerated,
    translated,
)
from transship.workers.registry.transport.limits import (
    ANSWER_SECONDS,
    CLOSING_SECONDS,
    MAX_UPLOAD_CHUNK_BYTES,
    UPLOAD_CHUNK_BYTES,
)
from transship.workers.registry.transport.origins import (
    absolute,
    origin_of,
    target_of,
    with_query,
)
from transship.workers.registry.transport.responses import discard

_RANGE = re.compile(r"(?:bytes=)?0-(\d{1,19})")
_STORED = frozenset({200, 201, 204})
_PATCHED = frozenset({200, 201, 202, 204})  # ECR answers 201


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload session at the registry.

    Args:
        location: Its absolute URL; may be kept, and may hold a signature.
        offset: How many bytes the registry has of it.
        chunk_bytes: How long the registry wants its chunks.
    """

    location: str = field(repr=False)
    offset: int = 0
    chunk_bytes: int = UPLOAD_CHUNK_BYTES


class UploadSessions:
    """The requests about uploads to one repository."""

    def __init__(self, session: Session, subject: str) -> None:
        self._session = session
        self._subject = subject
        self._scopes: tuple[Scope, ...] = (repository_scope(session.path, "pull", "push"),)

    def start(self) -> Upload:
        """Open a session."""
        asked = self._asked("POST upload")
        answer = self._send("POST", "/blobs/uploads/", asked)
        return self._opened(answer, asked)

    def mount(self, digest: Digest, *, source: str) -> Upload | None:
        """Take the blob over from the repository *source* of the same registry.

        Returns None when it is there, else the session that was opened instead. What the registry
        says to the mount itself decides nothing.
        """
        asked = self._asked("POST mount")
        query = f"mount={quote(str(digest), safe=':')}&from={quote(source, safe='/')}"
        # The own scope comes first: some token servers read no more.
        scopes = (*self._scopes, repository_scope(source, "pull"))
        try:
            answer = self._send("POST", f"/blobs/uploads/?{query}", asked, scopes=scopes)
        except (UnauthorizedError, DeniedError):
            return self.start()  # it may be the source that may not be read; this will tell
        if answer.status == 201:
            discard(answer.response)
            return self.start() if denies(digest_told(answer.headers), digest) else None
        if answer.status == 202:
            return self._opened(answer, asked)
        tolerated(answer.response, asked)
        return self.start()  # a registry that does not know mounts

    def resume(self, upload: Upload) -> Upload | None:
        """Ask how far a session is; None if it cannot be taken up.

        One byte and none look alike in some registries' answers ("0-0"): both count as lost.
        """
        asked = self._asked("GET upload")
        answer = self._send("GET", upload.location, asked)
        try:
            if answer.status not in {200, 204}:
                tolerated(answer.response, asked)
                return None
            told = _RANGE.fullmatch(answer.headers.get("range", "").strip())
            if told is None or int(told.group(1)) == 0:
                return None
            return self._moved_on(answer, asked, upload, offset=int(told.group(1)) + 1)
        finally:
            discard(answer.response)

    def patch(
        self,
        upload: Upload,
        sending: Sending,
        end: int,
        *,
        label: str | None = None,
        may_repeat: bool = True,
    ) -> Upload:
        """Send the bytes from where *upload* stands to *end*, with *label* as Content-Range."""
        asked = self._asked("PATCH blob")
        headers = _carrying(end - upload.offset)
        if label is not None:
            headers["Content-Range"] = label
        answer = self._send(
            "PATCH",
            upload.location,
            asked,
            headers=headers,
            body=sending.part(upload.offset, end),
            check=sending.check,
            answer_seconds=CLOSING_SECONDS,
            may_repeat=may_repeat,
        )
        if answer.status not in _PATCHED:
            raise answer_error(answer.response, asked)
        try:
            refuse_html(answer.response, asked)
            # Counted by what was sent: the Range that ECR answers stays at its first chunk.
            return self._moved_on(answer, asked, upload, offset=end)
        finally:
            discard(answer.response)

    def put(self, upload: Upload, sending: Sending, *, whole: bool = False) -> None:
        """Close the session, with the *whole* blob or nothing in the same request.

        Success means that the registry has confirmed the digest.
        """
        asked = self._asked("PUT blob")
        sending.check()
        answer = self._send(
            "PUT",
            with_query(upload.location, f"digest={sending.digest}"),
            asked,
            headers=_carrying(sending.size) if whole else None,
            body=sending.part(0, sending.size) if whole else None,
            check=sending.check,
            answer_seconds=CLOSING_SECONDS,
        )
        if answer.status not in _STORED:
            raise answer_error(answer.response, asked)
        try:
            refuse_html(answer.response, asked)
            check_digest_told(answer.headers, sending.digest)
        finally:
            discard(answer.response)

    def cancel(self, upload: Upload) -> None:
        """Tell the registry to forget the session; what it answers does not matter."""
        try:
            answer = self._send("DELETE", upload.location, self._asked("DELETE upload"))
            discard(answer.response)
        except Interruption:
            raise
        except TransshipError:
            return

    def _opened(self, answer: RegistryResponse, asked: RequestContext) -> Upload:
        if answer.status != 202:
            raise answer_error(answer.response, asked)
        try:
            refuse_html(answer.response, asked)
            with translated(asked):
                location = self._location(answer.headers.get("location", ""), answer.url)
            return Upload(location, chunk_bytes=_chunk_bytes(answer.headers))
        finally:
            discard(answer.response)

    def _moved_on(
        self, answer: RegistryResponse, asked: RequestContext, upload: Upload, *, offset: int
    ) -> Upload:
        given = answer.headers.get("location")
        with translated(asked):
            where = upload.location if given is None else self._location(given, answer.url)
        return replace(upload, location=where, offset=offset)

    def _location(self, given: str, asked: str) -> str:
        """Where a session is that an answer from *asked* tells of.

        A registry behind a proxy takes itself to have another scheme or host than the one it was
        asked at: of its own URLs only path and query count.
        """
        where = absolute(given, base=asked)
        if f"/v2/{self._session.path}/blobs/uploads/" in where.partition("?")[0]:
            return f"{origin_of(asked)}{target_of(where)}"
        return where

    def _asked(self, action: str) -> RequestContext:
        return self._session.asked(self._subject, action)

    def _send(
        self,
        method: str,
        target: str,
        asked: RequestContext,
        *,
        scopes: tuple[Scope, ...] | None = None,
        body: Body = None,
        headers: dict[str, str] | None = None,
        check: Callable[[], None] | None = None,
        answer_seconds: float = ANSWER_SECONDS,
        may_repeat: bool = True,
    ) -> RegistryResponse:
        return self._session.send(
            Ask(
                method=method,
                target=target,
                scopes=self._scopes if scopes is None else scopes,
                asked=asked,
                headers=headers or {},
                body=body,
                check=check,
                answer_seconds=answer_seconds,
                may_repeat=may_repeat,
            )
        )


def _carrying(count: int) -> dict[str, str]:
    return {"Content-Type": "application/octet-stream", "Content-Length": str(count)}


def _chunk_bytes(headers: httpx.Headers) -> int:
    """How long chunks are to be: as the registry wants them, within what is reasonable."""
    told = headers.get("oci-chunk-min-length", "").strip()
    wanted = int(told) if told.isascii() and told.isdigit() and len(told) < 20 else 0
    return min(max(wanted, UPLOAD_CHUNK_BYTES), MAX_UPLOAD_CHUNK_BYTES)
