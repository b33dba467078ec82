"""Compression of layers and archives: gzip, zstd, and what else Docker reads.

Reading takes whatever the formats allow: gzip of many members, zstd of many frames and skippable
ones, NULs after the end. A stream that is cut, damaged, or followed by anything else is refused,
and the error comes before the end of the data is reported: who has read to `b""` has read all.

Writing is deterministic: the same bytes in give the same bytes out, however they are cut into
writes and however many threads compress. They differ between versions of isal and libzstd.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
from collections import deque
from collections.abc import Buffer, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from enum import StrEnum
from types import TracebackType
from typing import Final, Protocol, Self

import zstandard
from isal import igzip, isal_zlib

from store.errors import DecompressionError, ExpansionError, UnsupportedCompressionError
from store.layers.frames import FrameChecker
from store.sizes import human_bytes

HEAD_BYTES: Final = 8  # what `detect` needs

# deflate cannot exceed 1032:1, so this stops only what zstd, xz or bzip2 make of nothing; a tar
# of less than the free bytes may be all zeros.
MAX_RATIO: Final = 2000
RATIO_FREE_BYTES: Final = 1024**3

_MAX_WINDOW_BYTES: Final = 128 * 1024**2  # of zstd and xz; what their command lines allow
_READ_BYTES: Final = 128 * 1024
_SMALL_READ_BYTES: Final = 16 * 1024  # what follows a stream is copied once a stream

_GZIP_LEVEL: Final = 2  # isal's of 0 to 3: half again as fast as 3 for 2 % more bytes
_ZSTD_LEVEL: Final = 3
_GZIP_HEADER: Final = bytes((0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255))  # no name, no time, no system
_GZIP_LAST_BLOCK: Final = b"\x03\x00"  # an empty block that says it is the last
_BLOCK_BYTES: Final = 1024**2  # what one thread deflates at a time
_DEFLATE_WINDOW_BYTES: Final = 32 * 1024
_MOST_THREADS: Final = 4


class Compression(StrEnum):
    """How a stream is compressed. bzip2 and xz are read, for imports, and never written."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"
    BZIP2 = "bzip2"
    XZ = "xz"

    @property
    def media_type_suffix(self) -> str:
        """What OCI appends to the media type of a layer (image-spec, layer.md).

        Raises:
            UnsupportedCompressionError: OCI has no layers of this compression.
        """
        if self in _SUFFIXES:
            return _SUFFIXES[self]
        raise _never_written(self)


_SUFFIXES: Final = {Compression.NONE: "", Compression.GZIP: "+gzip", Compression.ZSTD: "+zstd"}


def _never_written(compression: Compression) -> UnsupportedCompressionError:
    return UnsupportedCompressionError(
        "layers are not compressed that way", subject=compression.value, hint="use gzip or zstd"
    )


class Source(Protocol):
    """Where bytes come from; an empty answer is the end, a short one is not."""

    def read(self, size: int, /) -> bytes:
        """At most *size* bytes."""


def detect(head: bytes) -> Compression:
    """Tell the compression of a stream by its first `HEAD_BYTES` bytes.

    What is not known is taken for uncompressed: media types lie, and a tar has no magic number
    at its beginning.
    """
    if head.startswith(b"\x1f\x8b\x08"):
        return Compression.GZIP
    if head.startswith(b"\x28\xb5\x2f\xfd") or (
        head[1:4] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F  # a skippable frame comes first
    ):
        return Compression.ZSTD
    if head.startswith(b"BZh"):
        return Compression.BZIP2
    if head.startswith(b"\xfd7zXZ\x00"):
        return Compression.XZ
    return Compression.NONE


# --- reading -----------------------------------------------------------------------------------


class Reader:
    """Decompressed bytes of a source; a context manager. It leaves the source open.

    *compression* is what the stream turned out to be, *consumed* how many bytes were read of the
    source so far, and *produced* how many were given out.
    """

    def __init__(
        self,
        source: Source,
        *,
        max_bytes: int | None,
        max_ratio: int,
        subject: str,
    ) -> None:
        self._input = _Input(source)
        self.compression = detect(self._input.head)
        self._decoder = _decoder(self.compression, self._input)
        self._max_bytes, self._max_ratio, self._subject = max_bytes, max_ratio, subject
        self.produced = 0

    @property
    def consumed(self) -> int:
        """How many bytes were read of the source."""
        return self._input.consumed

    def read(self, size: int, /) -> bytes:
        """At most *size* bytes, at least one unless the stream has ended whole.

        Raises:
            DecompressionError: the stream is damaged, cut, or followed by something else.
            ExpansionError: it grows beyond its bounds.
        """
        try:
            data = self._decoder.read(size)
        except (
            isal_zlib.IsalError,
            zstandard.ZstdError,
            lzma.LZMAError,
            gzip.BadGzipFile,
            EOFError,
            OverflowError,  # a header longer than the buffer
        ) as error:
            raise DecompressionError(
                f"the {self.compression} stream is damaged or cut: {error}", subject=self._subject
            ) from error
        self.produced += len(data)
        self._check_size()
        return data

    def _check_size(self) -> None:
        if self._max_bytes is not None and self.produced > self._max_bytes:
            raise ExpansionError(
                f"holds more than {human_bytes(self._max_bytes)}", subject=self._subject
            )
        if (
            self.produced > RATIO_FREE_BYTES
            and self.produced > self._max_ratio * self._input.consumed
        ):
            raise ExpansionError(
                f"{human_bytes(self._input.consumed)} of {self.compression} grow beyond "
                f"{human_bytes(self.produced)}",
                subject=self._subject,
            )

    def close(self) -> None:
        """Let go of the decoder's memory."""
        self._decoder = io.BytesIO()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_reader(
    source: Source,
    *,
    max_bytes: int | None = None,
    max_ratio: int = MAX_RATIO,
    subject: str = "",
) -> Reader:
    """Read *source* decompressed, whatever its compression is.

    Args:
        source: Read forward only; stays open.
        max_bytes: How long the decompressed stream may be.
        max_ratio: How much longer than its source it may be, beyond its first GiB.
        subject: What errors call the stream.
    """
    return Reader(source, max_bytes=max_bytes, max_ratio=max_ratio, subject=subject)


class _Input(io.RawIOBase):
    """The source, with the head that was read of it put back, counted."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source = source
        head = b""
        while len(head) < HEAD_BYTES and (data := source.read(HEAD_BYTES - len(head))):
            head += data
        self.head = self._again = head
        self.consumed = len(head)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        if self._again:
            data, self._again = self._again[:size], self._again[size:]
            return data
        data = self._source.read(size)
        self.consumed += len(data)
        return data

    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer)
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)


def _decoder(compression: Compression, source: _Input) -> Source:
    match compression:
        case Compression.GZIP:
            return igzip.IGzipFile(fileobj=source, mode="rb")
        case Compression.ZSTD:
            return zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES).stream_reader(
                FrameChecker(source),  # type: ignore[arg-type]  # it calls read and nothing else
                read_size=_READ_BYTES,
                read_across_frames=True,
            )
        case Compression.BZIP2:
            return _Streams(source, bz2.BZ2Decompressor)
        case Compression.XZ:
            return _Streams(
                source, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, _MAX_WINDOW_BYTES)
            )
        case Compression.NONE:
            return source


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Streams:
    """bzip2 or xz, one stream after the other, with NULs between and after them."""

    def __init__(self, source: _Input, begin: Callable[[], _Decompressor]) -> None:
        self._source, self._begin = source, begin
        self._decompressor = begin()

    def read(self, size: int, /) -> bytes:
        while True:
            data = b""
            if self._decompressor.eof:
                data = self._next()
                if not data:
                    return b""
                self._decompressor = self._begin()
            elif self._decompressor.needs_input:
                data = self._source.read(_SMALL_READ_BYTES)
                if not data:
                    raise EOFError("it ends before its last block")
            try:
                found = self._decompressor.decompress(data, size)
            except OSError as error:  # bz2's word for damage; nothing is read from a file here
                raise lzma.LZMAError(str(error)) from error
            if found:
                return found

    def _next(self) -> bytes:
        data = self._decompressor.unused_data
        while True:
            if begins := data.lstrip(b"\0"):
                return begins
            data = self._source.read(_SMALL_READ_BYTES)
            if not data:
                return b""


# --- writing -----------------------------------------------------------------------------------


class Compressor(Protocol):
    """Compresses what is written, and hands it to the sink in the calling thread."""

    def write(self, data: Buffer, /) -> None:
        """Take *data*, which may change after the call."""

    def finish(self) -> None:
        """Hand out the rest. A compressor that is not finished has written half a stream."""


def open_writer(
    compression: Compression,
    sink: Callable[[bytes], object],
    *,
    level: int | None = None,
    threads: int | None = None,
) -> Compressor:
    """Compress into *sink*.

    Args:
        compression: Not bzip2 nor xz.
        sink: Called with each piece of the compressed stream, in the thread that writes.
        level: isal's, 0 to 3, or zstd's; a middle one by default.
        threads: How many compress, at least 1; the output is the same for any number.

    Raises:
        UnsupportedCompressionError: the compression is one that is only read.
    """
    workers = threads or min(_MOST_THREADS, len(os.sched_getaffinity(0)))
    match compression:
        case Compression.NONE:
            return _Plain(sink)
        case Compression.GZIP:
            return _Gzip(sink, _GZIP_LEVEL if level is None else level, workers)
        case Compression.ZSTD:
            return _Zstd(sink, _ZSTD_LEVEL if level is None else level, workers)
        case _:
            raise _never_written(compression)


class _Plain:
    def __init__(self, sink: Callable[[bytes], object]) -> None:
        self._sink = sink

    def write(self, data: Buffer, /) -> None:
        self._sink(bytes(data))

    def finish(self) -> None:
        pass


class _Zstd:
    def __init__(self, sink: Callable[[bytes], object], level: int, threads: int) -> None:
        self._sink = sink
        # Without threads libzstd cuts the input otherwise, and other bytes come out.
        self._frame = zstandard.ZstdCompressor(level=level, threads=threads).compressobj()

    def write(self, data: Buffer, /) -> None:
        if compressed := self._frame.compress(data):
            self._sink(compressed)

    def finish(self) -> None:
        self._sink(self._frame.flush())


class _Gzip:
    """One gzip member, deflated in blocks that several threads take in turn.

    Each block begins with the window that the block before it leaves, and ends on a byte, so that
    they add up to one deflate stream. At most two blocks a thread are held.
    """

    def __init__(self, sink: Callable[[bytes], object], level: int, threads: int) -> None:
        self._sink, self._level, self._threads = sink, level, threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="deflate")
        self._blocks: deque[Future[bytes]] = deque()
        self._pending = bytearray()
        self._window = b""
        self._crc = self._size = 0
        self._sink(_GZIP_HEADER)

    def write(self, data: Buffer, /) -> None:
        self._pending += memoryview(data)
        while len(self._pending) >= _BLOCK_BYTES:
            block = bytes(self._pending[:_BLOCK_BYTES])
            del self._pending[:_BLOCK_BYTES]
            self._submit(block)

    def finish(self) -> None:
        self._submit(bytes(self._pending))
        self._pending.clear()
        while self._blocks:
            self._sink(self._blocks.popleft().result())
        self._pool.shutdown()
        trailer = self._crc.to_bytes(4, "little") + (self._size % 2**32).to_bytes(4, "little")
        self._sink(_GZIP_LAST_BLOCK + trailer)

    def _submit(self, block: bytes) -> None:
        if len(self._blocks) >= 2 * self._threads:
            self._sink(self._blocks.popleft().result())
        self._crc = isal_zlib.crc32(block, self._crc)
        self._size += len(block)
        self._blocks.append(self._pool.submit(_deflate, block, self._window, self._level))
        self._window = block[-_DEFLATE_WINDOW_BYTES:]


def _deflate(block: bytes, window: bytes, level: int) -> bytes:
    deflater = isal_zlib.compressobj(level, isal_zlib.DEFLATED, -15, zdict=window or None)
    compressed: bytes = deflater.compress(block)
    rest: bytes = deflater.flush(isal_zlib.Z_SYNC_FLUSH)
    return compressed + rest
