"""gzip by several threads at once, with the same bytes for any number of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from isal import isal_zlib

_HEADER: Final = bytes((0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255))  # no name, no time, no system
_LAST_BLOCK: Final = b"\x03\x00"  # an empty block that says it is the last
_BLOCK_BYTES: Final = 1024**2  # what one thread deflates at a time
_WINDOW_BYTES: Final = 32 * 1024


class GzipCompressor:
    """One gzip member, deflated in blocks that several threads take in turn.

    Each block begins with the window that the block before it leaves, and ends on a byte, so that
    they add up to one deflate stream, the same for any number of threads. At most two blocks a
    thread are held.
    """

    def __init__(self, sink: Callable[[bytes], object], level: int, threads: int) -> None:
        self._sink, self._level, self._threads = sink, level, threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="deflate")
        self._blocks: deque[Future[bytes]] = deque()
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._window = b""
        self._crc = self._size = 0
        self._sink(_HEADER)

    def write(self, data: bytes | bytearray | memoryview, /) -> None:
        """Take *data*, which may change after the call."""
        rest = bytes(data)
        while len(rest) >= (room := _BLOCK_BYTES - self._pending_bytes):
            self._pending.append(rest[:room])
            rest = rest[room:]
            self._submit(self._take_pending())
        self._pending.append(rest)
        self._pending_bytes += len(rest)

    def finish(self) -> None:
        """Hand out the rest."""
        self._submit(self._take_pending())
        while self._blocks:
            self._sink(self._blocks.popleft().result())
        self._pool.shutdown()
        trailer = self._crc.to_bytes(4, "little") + (self._size % 2**32).to_bytes(4, "little")
        self._sink(_LAST_BLOCK + trailer)

    def _take_pending(self) -> bytes:
        block = b"".join(self._pending)
        self._pending.clear()
        self._pending_bytes = 0
        return block

    def _submit(self, block: bytes) -> None:
        if len(self._blocks) >= 2 * self._threads:
            self._sink(self._blocks.popleft().result())
        self._crc = isal_zlib.crc32(block, self._crc)
        self._size += len(block)
        self._blocks.append(self._pool.submit(_deflate, block, self._window, self._level))
        self._window = block[-_WINDOW_BYTES:]


def _deflate(block: bytes, window: bytes, level: int) -> bytes:
    preset: dict[str, Any] = {"zdict": window} if window else {}
    deflater = isal_zlib.compressobj(level, isal_zlib.DEFLATED, -isal_zlib.MAX_WBITS, **preset)
    compressed: bytes = deflater.compress(block)
    rest: bytes = deflater.flush(isal_zlib.Z_SYNC_FLUSH)
    return compressed + rest
