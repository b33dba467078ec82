"""How a blob is uploaded: in chunks, in one PUT, or in one stream.

The order of attempts survives the registries there are (protocol A8). A large blob goes in
chunks, so that little is sent again when somebody dies. What is smaller, and what is refused in
chunks, goes in one PUT; where that is refused, in one streamed PATCH of a new session.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from transship.store.errors import (
    RegistryError,
    RegistryNotFoundError,
    RegistryUnavailableError,
    UnauthorizedError,
)
from transship.store.oci.digest import Digest
from transship.workers.registry.sending import Sending
from transship.workers.registry.session import Session
from transship.workers.registry.transport.limits import CHUNKED_FROM_BYTES
from transship.workers.registry.upload_sessions import Upload, UploadSessions

_PUT_REFUSED = frozenset({404, 405, 413, 416, 501})
_CHUNK_REFUSED = frozenset({400, 404, 405, 411, 413, 415, 416, 501})
_SESSION_LOST = frozenset({400, 404, 416})
_MAX_CORRECTIONS = 3

Keep = Callable[[Upload | None], None]


class Uploader:
    """Uploads blobs to one repository; errors are about *subject*."""

    def __init__(self, session: Session, subject: str) -> None:
        self._registry = session.registry
        self._network = session.network
        self._sessions = UploadSessions(session, subject)

    def upload(
        self,
        digest: Digest,
        size: int,
        source: BinaryIO,
        *,
        upload: Upload | None,
        on_bytes: Callable[[int], None],
        check: Callable[[], None],
        keep: Keep,
    ) -> None:
        """Send the blob, and return when the registry has confirmed it."""
        if upload is not None and upload.offset > size:
            self._drop(upload, keep)
            upload = None
        network = self._network
        sending = Sending(
            source,
            digest,
            size,
            begin=0 if upload is None else upload.offset,
            on_bytes=on_bytes,
            check=check,
            registry=self._registry.name,
            pacer=network.pacer,
        )
        host = self._registry.api
        if upload is not None and upload.offset > 0:
            self._in_chunks(upload, sending, keep)
            return
        if size < CHUNKED_FROM_BYTES or not network.upload_plans.takes_chunks(host):
            self._whole(upload, sending)
            return
        try:
            self._in_chunks(upload or self._sessions.start(), sending, keep)
        except _ChunksRefusedError as refused:
            check()
            try:
                self._whole(None, sending)
            except RegistryError as again:
                raise again from refused.answered
            network.upload_plans.refused_chunks(host)

    # --- as a whole ----------------------------------------------------------------------------

    def _whole(self, upload: Upload | None, sending: Sending) -> None:
        host = self._registry.api
        plans = self._network.upload_plans
        if not plans.takes_put(host):
            self._stream(upload or self._sessions.start(), sending)
            return
        failed = self._put_whole(upload or self._sessions.start(), sending)
        if failed is None:
            return
        sending.check()
        try:
            self._stream(self._sessions.start(), sending)
        except RegistryError as again:
            raise (failed if failed.http_status >= 500 else again) from again
        if upload is not None and failed.http_status == 404:
            return  # a session from before may just be gone
        if failed.http_status in _PUT_REFUSED:  # any other 5xx passes
            plans.refused_put(host)

    def _put_whole(self, upload: Upload, sending: Sending) -> RegistryError | None:
        """PUT everything at once; return the refusal if the other way may still work."""
        try:
            self._sessions.put(upload, sending, whole=True)
        except RegistryError as error:
            asks_for_patience = error.retry_after_seconds is not None
            in_trouble = error.http_status >= 500 and not asks_for_patience
            if error.http_status not in _PUT_REFUSED and not in_trouble:
                raise
            self._sessions.cancel(upload)
            return error
        return None

    def _stream(self, upload: Upload, sending: Sending) -> None:
        """PATCH everything in one stream, without a range: some limit what is so labelled."""
        self._sessions.put(self._sessions.patch(upload, sending, sending.size), sending)

    # --- in chunks -----------------------------------------------------------------------------

    def _in_chunks(self, upload: Upload, sending: Sending, keep: Keep) -> None:
        """PATCH chunk after chunk from where *upload* stands, and close it.

        A chunk is never sent again before the registry was asked what it has: distribution 2.8
        appends whatever comes.

        Raises:
            _ChunksRefusedError: not even the first chunk of a new session was taken.
            RegistryUnavailableError: the session is lost.
        """
        corrections = 0
        may_be_refused = upload.offset == 0
        keep(upload)
        try:
            while upload.offset < sending.size:
                sending.check()
                try:
                    upload = self._patch_chunk(upload, sending)
                except _InDoubtError as doubt:
                    if may_be_refused and doubt.answered.http_status in _CHUNK_REFUSED:
                        self._drop(upload, keep)
                        raise _ChunksRefusedError(doubt.answered) from doubt
                    corrections += 1
                    upload = self._asked_again(upload, doubt, corrections)
                else:
                    may_be_refused = False
                keep(upload)
            self._sessions.put(upload, sending)
        except RegistryError as failed:
            if failed.http_status not in _SESSION_LOST:
                raise
            self._drop(upload, keep)
            if isinstance(failed, RegistryUnavailableError):  # other bytes came than were sent
                raise
            raise RegistryUnavailableError(
                "the registry has lost the upload session; the next attempt begins anew",
                registry=failed.registry,
                subject=failed.subject,
                http_status=failed.http_status,
            ) from failed

    def _patch_chunk(self, upload: Upload, sending: Sending) -> Upload:
        end = min(upload.offset + upload.chunk_bytes, sending.size)
        # distribution-spec, "Pushing a blob in chunks": inclusive, and without a unit.
        label = f"{upload.offset}-{end - 1}"
        try:
            return self._sessions.patch(upload, sending, end, label=label, may_repeat=False)
        except UnauthorizedError as expired:
            raise _InDoubtError(expired) from expired
        except RegistryError as failed:
            if failed.http_status == 416 or (
                upload.offset == 0 and failed.http_status in _CHUNK_REFUSED
            ):
                raise _InDoubtError(failed) from failed
            raise

    def _asked_again(self, upload: Upload, doubt: _InDoubtError, corrections: int) -> Upload:
        """Ask where the registry stands, after an answer that leaves it open."""
        if corrections > _MAX_CORRECTIONS:
            raise doubt.answered
        found = self._sessions.resume(upload)
        if found is None and upload.offset == 0:
            self._sessions.cancel(upload)
            return self._sessions.start()
        if found is None:
            raise RegistryNotFoundError(
                "the upload session is gone",
                registry=doubt.answered.registry,
                subject=doubt.answered.subject,
                http_status=404,
            )
        if doubt.answered.http_status == 416 and found.offset == upload.offset:
            raise doubt.answered
        return found

    def _drop(self, upload: Upload, keep: Keep) -> None:
        keep(None)
        self._sessions.cancel(upload)


class _InDoubtError(Exception):
    """After this answer to a chunk nobody knows how much of it was taken."""

    def __init__(self, answered: RegistryError) -> None:
        super().__init__(str(answered))
        self.answered = answered


class _ChunksRefusedError(Exception):
    """The registry takes no chunks, or not such."""

    def __init__(self, answered: RegistryError) -> None:
        super().__init__(str(answered))
        self.answered = answered
