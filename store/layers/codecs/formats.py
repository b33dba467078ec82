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
from collections.abc import Callable
from enum import StrEnum
from types import TracebackType
from typing import Any, Final, Protocol, Self, cast

import zstandard
from isal import igzip, isal_zlib

from transship.store.errors import DecompressionError, ExpansionError, UnsupportedCompressionError
from transship.store.layers.codecs.deflate import GzipCompressor
from transship.store.layers.codecs.frames import FrameChecker
from transship.store.layers.codecs.streams import StreamReader
from transship.store.sizes import human_bytes

HEAD_BYTES: Final = 8  # what `detect` needs

# Below what each format can reach: deflate makes 1032 bytes of one at most, the others far more. A
# tar of less than the free bytes may be all zeros.
MAX_RATIO: Final = 1000
RATIO_FREE_BYTES: Final = 1024**3

_MAX_WINDOW_BYTES: Final = 128 * 1024**2  # of zstd and xz; what their command lines allow
_READ_BYTES: Final = 128 * 1024

_GZIP_LEVEL: Final = 2  # isal's of 0 to 3: half again as fast as 3 for 2 % more bytes
_ZSTD_LEVEL: Final = 3
_ZSTD_JOB_BYTES: Final = 1024**2  # what one thread takes at a time; by itself libzstd takes 8
_MAX_THREADS: Final = 4


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


Buffer = bytes | bytearray | memoryview


class Readable(Protocol):
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


_DAMAGE: Final[tuple[type[Exception], ...]] = (
    cast("type[Exception]", isal_zlib.IsalError),  # declared as a value
    gzip.BadGzipFile,
    zstandard.ZstdError,
    lzma.LZMAError,
    EOFError,
    OverflowError,  # isal: a header longer than its buffer
)


# --- reading -----------------------------------------------------------------------------------


class Reader:
    """Decompressed bytes of a source; a context manager. It leaves the source open.

    *compression* is what the stream turned out to be, *consumed* how many bytes were read of the
    source so far, and *produced* how many were given out.
    """

    def __init__(
        self,
        source: Readable,
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
        except _DAMAGE as error:
            self.close()  # or the next read might pass for the end
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
        """Let go of the decoder's memory; reading is an error from now on."""
        self._decoder = closed = io.BytesIO()
        closed.close()

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
    source: Readable,
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

    def __init__(self, source: Readable) -> None:
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

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer)
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)


def _decoder(compression: Compression, source: _Input) -> Readable:
    match compression:
        case Compression.GZIP:
            return igzip.IGzipFile(fileobj=source, mode="rb")  # type: ignore[no-untyped-call]
        case Compression.ZSTD:
            return zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES).stream_reader(
                FrameChecker(source),  # type: ignore[arg-type]  # it calls read and nothing else
                read_size=_READ_BYTES,
                read_across_frames=True,
            )
        case Compression.BZIP2:
            return StreamReader(source, bz2.BZ2Decompressor)
        case Compression.XZ:
            return StreamReader(
                source, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, _MAX_WINDOW_BYTES)
            )
        case Compression.NONE:
            return source


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
    workers = threads or min(_MAX_THREADS, len(os.sched_getaffinity(0)))
    match compression:
        case Compression.NONE:
            return _Plain(sink)
        case Compression.GZIP:
            return GzipCompressor(sink, _GZIP_LEVEL if level is None else level, workers)
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
        parameters = zstandard.ZstdCompressionParameters.from_level(
            level, threads=threads, job_size=_ZSTD_JOB_BYTES
        )
        self._frame = zstandard.ZstdCompressor(compression_params=parameters).compressobj()

    def write(self, data: Buffer, /) -> None:
        if compressed := self._frame.compress(data):
            self._sink(compressed)

    def finish(self) -> None:
        self._sink(self._frame.flush())
