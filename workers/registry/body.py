"""The body of a blob, read as fast as the machine allows and never further than announced.

Two ways (protocol E3). Small or unusual bodies come through httpx, and the connection is kept.
Large plain ones are received straight from the connection into one reused buffer, which costs a
third of the CPU and the connection. Both stop within a second when they are asked to.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import httpcore
import httpx

from transship.store.errors import RegistryError, SizeMismatchError, UnreachableError
from transship.workers.registry.flow_control.pacing import Pacer, Unpaced, pause
from transship.workers.registry.manifests import length_told
from transship.workers.registry.transport.errors import RequestContext, connection_error
from transship.workers.registry.transport.limits import (
    CHUNK_BYTES,
    DRIP_BYTES,
    DRIP_SECONDS,
    FAST_BYTES,
    SILENCE_SECONDS,
)
from transship.workers.registry.transport.transport import NETWORK_ERRORS, WatchedStream, attentive

Sink = Callable[[memoryview], None]
_WORTH_A_CALL = 256 * 1024
_MOMENT_SECONDS = 0.25


class BlobBody:
    """The rest of a blob from `offset` on, to be read once. Closed by who opened it.

    Attributes:
        offset: Where the body begins. 0 although more was asked for: the registry ignores ranges.
        size: The size of the whole blob, by its descriptor.
    """

    def __init__(
        self,
        response: httpx.Response | None,
        asked: RequestContext,
        *,
        offset: int,
        size: int,
        pacer: Pacer | None = None,
    ) -> None:
        self.offset = offset
        self.size = size
        self._response = response
        self._asked = asked
        self._received = 0
        self._pacer = pacer or Unpaced()
        self._waited = 0.0  # for the peer, since it last got on
        self._got_on_at = 0

    def read_into(self, sink: Sink, *, check: Callable[[], None]) -> int:
        """Give all bytes to *sink*, in pieces of at most 1 MiB, and return their number.

        A piece is only valid until *sink* returns. *check* is called between pieces, and about
        once a second while none comes; what it or *sink* raises closes the connection and goes
        on to the caller. Success means that exactly the announced number of bytes came; their
        digest is not checked here.

        Raises:
            UnreachableError: cut short, silent for 15 s, or less than 16 KiB in a minute.
            SizeMismatchError: more bytes than announced; the surplus is not given to *sink*.
        """
        response = self._response
        if response is None:
            return 0
        try:
            pieces = response.iter_raw()
            self._take(pieces, sink, check)
            stream = self._fast_stream(response)
            if stream is not None:
                self._receive(stream, sink, check)
            else:
                while self._take(pieces, sink, check):
                    pass
                if self._received < self._announced:
                    raise self._cut_short()
        except BaseException:
            response.close()
            raise
        return self._received

    @property
    def _announced(self) -> int:
        return self.size - self.offset

    def _take(self, pieces: Iterator[bytes], sink: Sink, check: Callable[[], None]) -> bool:
        """Give the next piece from httpx to *sink*; False at the end."""
        check()
        begun = time.monotonic()
        # Only the network is inside: an error of the sink stays what it is.
        with attentive(check, silence_seconds=SILENCE_SECONDS):
            try:
                piece = next(pieces, None)
            except NETWORK_ERRORS as broken:
                raise self._broken(broken) from broken
        self._waited += time.monotonic() - begun
        if piece is None:
            return False
        if self._received + len(piece) > self._announced:
            raise SizeMismatchError(
                subject=self._asked.subject,
                expected=self._announced,
                actual=self._received + len(piece),
            )
        view = memoryview(piece)
        for begin in range(0, len(view), CHUNK_BYTES):
            sink(view[begin : begin + CHUNK_BYTES])
        self._got(len(piece), check)
        return True

    def _fast_stream(self, response: httpx.Response) -> WatchedStream | None:
        """Return the connection if the rest may be received from it directly.

        After the first piece nothing is left in h11's buffer, so that the socket's next byte is
        the body's next byte.
        """
        stream = response.extensions.get("network_stream")
        usable = (
            isinstance(stream, WatchedStream)
            and stream.is_direct
            and self._received > 0
            and self._announced - self._received >= FAST_BYTES
            and response.http_version == "HTTP/1.1"
            and length_told(response.headers) == self._announced
            and "content-encoding" not in response.headers
            and "transfer-encoding" not in response.headers
        )
        return stream if usable and isinstance(stream, WatchedStream) else None

    def _receive(self, stream: WatchedStream, sink: Sink, check: Callable[[], None]) -> None:
        """Receive the rest into one buffer, and give it to *sink* when it is worth a call."""
        buffer = memoryview(bytearray(CHUNK_BYTES))
        while self._received < self._announced:
            check()
            room = min(CHUNK_BYTES, self._announced - self._received)
            filled, failed = self._fill(stream, buffer[:room], check)
            if filled:  # what came before a break is worth keeping
                sink(buffer[:filled])
                self._got(filled, check)
            if failed is not None:
                raise self._broken(failed) from failed
            if filled == 0:
                raise self._cut_short()

    def _fill(
        self, stream: WatchedStream, buffer: memoryview, check: Callable[[], None]
    ) -> tuple[int, Exception | None]:
        """Fill *buffer*, at least to a part or for a moment: TLS hands out 16 KiB at a time."""
        filled = 0
        begun = time.monotonic()
        with attentive(check, silence_seconds=SILENCE_SECONDS):
            while filled < min(len(buffer), _WORTH_A_CALL):
                try:
                    count = stream.recv_into(buffer[filled:], SILENCE_SECONDS)
                except NETWORK_ERRORS as broken:
                    return filled, broken
                filled += count
                if count == 0 or time.monotonic() - begun > _MOMENT_SECONDS:
                    break
        self._waited += time.monotonic() - begun
        return filled, None

    def _got(self, count: int, check: Callable[[], None]) -> None:
        """Count what came, and see that it comes neither too fast nor hardly at all."""
        self._received += count
        if self._received - self._got_on_at >= DRIP_BYTES:
            self._waited, self._got_on_at = 0.0, self._received
        elif self._waited > DRIP_SECONDS and self._received < self._announced:
            raise self._error(f"hardly a byte for {self._waited:.0f} s {self._progress()}")
        pause(self._pacer.bytes(self._asked.registry, count), check)

    def _progress(self) -> str:
        return f"after {self.offset + self._received} of {self.size} bytes"

    def _cut_short(self) -> UnreachableError:
        return self._error(f"connection closed {self._progress()}")

    def _broken(self, broken: Exception) -> RegistryError:
        if isinstance(broken, httpx.TimeoutException | httpcore.TimeoutException):
            return self._error(f"no byte for {SILENCE_SECONDS:.0f} s {self._progress()}")
        meaning = connection_error(broken, self._asked)
        if isinstance(meaning, UnreachableError):
            return self._cut_short()
        return meaning

    def _error(self, detail: str) -> UnreachableError:
        return UnreachableError(detail, registry=self._asked.registry, subject=self._asked.subject)
