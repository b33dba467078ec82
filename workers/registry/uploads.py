"""Uploads of blobs: mount, open a session, send, take up again, cancel.

The order of attempts survives the registries there are (protocol A8): one PUT with the whole
blob; where that is refused, a new session, one streamed PATCH and an empty PUT.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO
from urllib.parse import quote

from store.errors import (
    DeniedError,
    Interruption,
    RegistryError,
    RegistryUnavailableError,
    SizeMismatchError,
    TransshipError,
    UnauthorizedError,
)
from store.oci.digest import Digest
from workers.registry.answers import discard
from workers.registry.bounds import ANSWER_SECONDS, CHUNK_BYTES, CLOSING_SECONDS
from workers.registry.errors import Asked, answer_error, refuse_html, translated
from workers.registry.manifests import check_digest_told
from workers.registry.network import Answer
from workers.registry.origins import absolute, with_query
from workers.registry.scopes import Scope, repository_scope
from workers.registry.session import Ask, Session

_RANGE = re.compile(r"(?:bytes=)?0-(\d{1,19})")
_PUT_REFUSED = frozenset({404, 405, 413, 416})
_SESSION_LOST = frozenset({400, 404, 416})
_STORED = frozenset({200, 201, 204})
_PATCHED = frozenset({200, 201, 202, 204})  # ECR answers 201


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload session at the registry.

    Args:
        location: Its absolute URL; may be kept, and may hold a signature.
        offset: How many bytes the registry has of it.
    """

    location: str = field(repr=False)
    offset: int = 0


class Uploader:
    """The upload operations on one repository."""

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

        Returns None when it is there, else the session that was opened instead.
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
            try:
                check_digest_told(answer.headers, digest)
            finally:
                discard(answer.response)
            return None
        if answer.status == 202:
            return self._opened(answer, asked)
        error = answer_error(answer.response, asked)
        if error.retryable:
            raise error
        return self.start()  # a registry that does not know mounts

    def resume(self, location: str) -> Upload | None:
        """Ask how far the session at *location* is; None if it cannot be taken up.

        One byte and none look alike in some registries' answers ("0-0"): both count as lost.
        """
        asked = self._asked("GET upload")
        answer = self._send("GET", location, asked)
        try:
            if answer.status not in {200, 204}:
                if answer.status in {401, 403, 429} or answer.status >= 500:
                    raise answer_error(answer.response, asked)
                return None
            told = _RANGE.fullmatch(answer.headers.get("range", "").strip())
            if told is None or int(told.group(1)) == 0:
                return None
            given = answer.headers.get("location")
            with translated(asked):
                where = location if given is None else absolute(given, base=answer.url)
            return Upload(where, int(told.group(1)) + 1)
        finally:
            discard(answer.response)

    def upload(
        self,
        digest: Digest,
        size: int,
        source: BinaryIO,
        *,
        upload: Upload | None,
        on_bytes: Callable[[int], None],
        check: Callable[[], None],
    ) -> None:
        """Send the blob, and return when the registry has confirmed it."""
        sending = _Sending(source, digest, size, on_bytes, check)
        if upload is not None and upload.offset > size:
            self.cancel(upload)
            upload = None
        if upload is not None and upload.offset > 0:
            self._go_on(upload, sending, digest)
            return
        host = self._session.registry.api
        refused = self._session.network.body_put_refused
        if host in refused:
            self._patch_and_close(upload or self.start(), sending, digest)
            return
        failed = self._put_whole(upload or self.start(), sending, digest)
        if failed is None:
            return
        check()
        try:
            self._patch_and_close(self.start(), sending, digest)
        except RegistryError as again:
            raise (failed if failed.http_status >= 500 else again) from again
        if upload is None or failed.http_status != 404:  # a session from before may just be gone
            refused.add(host)

    def cancel(self, upload: Upload) -> None:
        """Tell the registry to forget the session; what it answers does not matter."""
        try:
            answer = self._send("DELETE", upload.location, self._asked("DELETE upload"))
            discard(answer.response)
        except Interruption:
            raise
        except TransshipError:
            return

    # --- steps ---------------------------------------------------------------------------------

    def _put_whole(self, upload: Upload, sending: _Sending, digest: Digest) -> RegistryError | None:
        """PUT everything at once; return the refusal if the other way may still work."""
        asked = self._asked("PUT blob")
        answer = self._send(
            "PUT",
            with_query(upload.location, f"digest={digest}"),
            asked,
            body=sending,
            answer_seconds=CLOSING_SECONDS,
        )
        if answer.status in _STORED:
            self._confirmed(answer, asked, digest)
            return None
        error = answer_error(answer.response, asked)
        asks_for_patience = error.retry_after_seconds is not None
        if answer.status in _PUT_REFUSED or (answer.status >= 500 and not asks_for_patience):
            self.cancel(upload)
            return error
        raise error

    def _go_on(self, upload: Upload, sending: _Sending, digest: Digest) -> None:
        """Send the rest of a session from before; if it turns out to be lost, that may pass."""
        try:
            self._patch_and_close(upload, sending, digest)
        except RegistryError as failed:
            if failed.http_status not in _SESSION_LOST:
                raise
            self.cancel(upload)
            raise RegistryUnavailableError(
                "the registry has lost the upload session; the next attempt begins anew",
                registry=failed.registry,
                subject=failed.subject,
                http_status=failed.http_status,
            ) from failed

    def _patch_and_close(self, upload: Upload, sending: _Sending, digest: Digest) -> None:
        """PATCH what is missing in one stream, then close the session with an empty PUT."""
        if upload.offset < sending.size or sending.size == 0:
            upload = self._patch(upload, sending)
        asked = self._asked("PUT blob")
        sending.check()
        answer = self._send(
            "PUT",
            with_query(upload.location, f"digest={digest}"),
            asked,
            check=sending.check,
            answer_seconds=CLOSING_SECONDS,
        )
        if answer.status not in _STORED:
            raise answer_error(answer.response, asked)
        self._confirmed(answer, asked, digest)

    def _patch(self, upload: Upload, sending: _Sending) -> Upload:
        asked = self._asked("PATCH blob")
        sending.begin = upload.offset
        headers = {}
        if upload.offset:
            # Only where it is needed: some registries limit the length of what is so labelled.
            headers["Content-Range"] = f"{upload.offset}-{sending.size - 1}"
        answer = self._send(
            "PATCH",
            upload.location,
            asked,
            body=sending,
            headers=headers,
            answer_seconds=CLOSING_SECONDS,
        )
        if answer.status not in _PATCHED:
            raise answer_error(answer.response, asked)
        try:
            given = answer.headers.get("location")
            if given is None:
                return Upload(upload.location, sending.size)
            with translated(asked):
                return Upload(absolute(given, base=answer.url), sending.size)
        finally:
            discard(answer.response)

    def _confirmed(self, answer: Answer, asked: Asked, digest: Digest) -> None:
        try:
            refuse_html(answer.response, asked)
            check_digest_told(answer.headers, digest)
        finally:
            discard(answer.response)

    def _opened(self, answer: Answer, asked: Asked) -> Upload:
        if answer.status != 202:
            raise answer_error(answer.response, asked)
        try:
            refuse_html(answer.response, asked)
            with translated(asked):
                return Upload(absolute(answer.headers.get("location", ""), base=answer.url))
        finally:
            discard(answer.response)

    def _asked(self, action: str) -> Asked:
        return Asked(self._session.registry.name, self._subject, action)

    def _send(
        self,
        method: str,
        target: str,
        asked: Asked,
        *,
        scopes: tuple[Scope, ...] | None = None,
        body: _Sending | None = None,
        headers: dict[str, str] | None = None,
        check: Callable[[], None] | None = None,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> Answer:
        headers = dict(headers or {})
        if body is not None:
            headers["Content-Type"] = "application/octet-stream"
            headers["Content-Length"] = str(body.size - body.begin)
            check = body.check
        return self._session.send(
            Ask(
                method=method,
                target=target,
                scopes=self._scopes if scopes is None else scopes,
                asked=asked,
                headers=headers,
                body=None if body is None or body.size == body.begin else body.chunks,
                check=check,
                answer_seconds=answer_seconds,
            )
        )


class _Sending:
    """The bytes of a blob, which may have to be sent again from where the registry stands."""

    def __init__(
        self,
        source: BinaryIO,
        digest: Digest,
        size: int,
        on_bytes: Callable[[int], None],
        check: Callable[[], None],
    ) -> None:
        self.size = size
        self.check = check
        self.begin = 0
        self._source = source
        self._origin = source.tell()
        self._digest = digest
        self._on_bytes = on_bytes
        self._reported = 0

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes from `begin` on, of a blob that must be exactly as long as said."""
        self._report(self.begin)
        self._source.seek(self._origin + self.begin)
        at = self.begin
        while at < self.size:
            self.check()
            chunk = self._source.read(min(CHUNK_BYTES, self.size - at))
            if not chunk:
                raise SizeMismatchError(subject=str(self._digest), expected=self.size, actual=at)
            yield chunk
            at += len(chunk)
            self._report(at)

    def _report(self, at: int) -> None:
        if at != self._reported:
            self._on_bytes(at - self._reported)  # negative when bytes are sent again
            self._reported = at
