"""How a blob is uploaded: in chunks, in one PUT, or in one stream.

The order of attempts survives the registries there are (protocol A8). A large blob goes in
chunks, so that little is sent again when somebody dies. What is smaller, and what comes to nothing
in chunks, goes in one PUT; where that is refused, in one streamed PATCH of a new session.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import BinaryIO

from transship.store.errors import (
    DigestMismatchError,
    RegistryError,
    RegistryNotFoundError,
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
_MAX_STALLS = 3  # corrections in a row after which the registry has no more than before
_MIN_CHUNK_BYTES = 1024 * 1024

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
        resumed = upload is not None and upload.offset > 0
        takes_chunks = size >= CHUNKED_FROM_BYTES and network.upload_plans.takes_chunks(host)
        if not resumed and not takes_chunks:
            self._whole(upload, sending)
            return
        try:
            self._in_chunks(upload or self._sessions.start(), sending, keep)
        except _ChunksFailedError as failed:
            check()
            try:
                self._whole(None, sending)
            except RegistryError as again:
                raise again from failed.cause
            if failed.always:
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
            in_trouble = error.http_status >= 500 and not error.asks_for_patience
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
        appends whatever comes. Where it says that it has less, the rest goes on from there, in
        chunks of what it has kept.

        Raises:
            _ChunksFailedError: the blob does not get there in this way.
        """
        stalls = 0
        confirmed = upload.offset  # by the registry, when it was asked
        keep(upload)
        try:
            while upload.offset < sending.size:
                sending.check()
                try:
                    upload = self._patch_chunk(upload, sending)
                except _InDoubtError as doubt:
                    if upload.offset == 0 and doubt.answered.http_status in _CHUNK_REFUSED:
                        raise doubt.answered from doubt
                    upload = self._asked_again(upload, doubt)
                    kept = upload.offset - confirmed
                    confirmed = upload.offset
                    stalls = 0 if kept > 0 else stalls + 1
                    if stalls > _MAX_STALLS:
                        raise doubt.answered from doubt
                    if _MIN_CHUNK_BYTES <= kept < upload.chunk_bytes:
                        upload = replace(upload, chunk_bytes=kept)
                keep(upload)
            self._sessions.put(upload, sending)
        except DigestMismatchError as failed:
            self._drop(upload, keep)
            raise _ChunksFailedError(failed, always=True) from failed
        except RegistryError as failed:
            if failed.http_status not in _SESSION_LOST | _CHUNK_REFUSED:
                raise
            self._drop(upload, keep)
            # A session may be lost for once.
            raise _ChunksFailedError(failed, always=failed.http_status != 404) from failed

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

    def _asked_again(self, upload: Upload, doubt: _InDoubtError) -> Upload:
        """Ask where the registry stands, after an answer that leaves it open."""
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


class _ChunksFailedError(Exception):
    """The blob did not get there in chunks; others would not either, if it is *always* so."""

    def __init__(self, cause: RegistryError | DigestMismatchError, *, always: bool) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.always = always
