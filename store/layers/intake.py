"""A tar that comes as a stream becomes a layer: checked, hashed and compressed in one pass."""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

from transship.store.layers.codecs.formats import (
    Buffer,
    Compression,
    Readable,
    open_reader,
    open_writer,
)
from transship.store.layers.codecs.hashing import HashingReader
from transship.store.layers.compose.unpacking import Unpacking
from transship.store.layers.sources import Check, never
from transship.store.layers.tar.reader import BLOCK_BYTES, TarReader
from transship.store.oci.digest import Digest

_EMPTY_TAR: Final = bytes(2 * BLOCK_BYTES)
_MAX_TAR_BYTES: Final = 1024**4  # an hour's hashing, and far beyond any file system


class Taken(NamedTuple):
    """What was taken in: the stream's diffID and length, and how it is stored."""

    diff_id: Digest
    diff_size: int
    compression: Compression


class Sink(Protocol):
    """Takes the bytes of the layer as it is stored; a draft of the content store is one."""

    def write(self, data: Buffer, /) -> object:
        """Append *data*."""


def take_in(source: Readable, sink: Sink, *, subject: str = "", check: Check = never) -> Taken:
    """Read a tar to its end, and write it to *sink* as a layer.

    A tar that is compressed by gzip stays as it is; any other becomes gzip. What follows the end
    of a tar belongs to it, as with Docker. An empty stream becomes an empty tar, which not every
    reader takes it for.

    Args:
        source: Plain or compressed in any way that `codecs` reads; stays open.
        sink: Holds half a layer where an error is raised.
        subject: What errors call the stream.
        check: Called before each piece; what it raises is passed on.

    Raises:
        InvalidLayerError, DecompressionError, ExpansionError: it is no tar, is cut or damaged, or
            cannot be unpacked.
    """
    copied = _Copied(source)
    with open_reader(copied, max_bytes=_MAX_TAR_BYTES, subject=subject) as reader:
        if reader.compression is Compression.GZIP:
            copied.copy_to(sink)
            plain = HashingReader(reader, also=lambda _: check())
            _read(plain)
        else:
            copied.copy_to(None)
            compressor = open_writer(Compression.GZIP, sink.write)

            def compress(data: bytes) -> None:
                check()
                compressor.write(data)

            plain = HashingReader(reader, also=compress)
            _read(plain)
            if not plain.size:
                plain.take(_EMPTY_TAR)
            compressor.finish()
    return Taken(plain.digest, plain.size, Compression.GZIP)


def _read(plain: Readable) -> None:
    unpacking = Unpacking()
    for entry in TarReader(plain):
        unpacking.add(entry)


class _Copied:
    """Passes a source on, and a copy of it to a sink, which is named after the first bytes."""

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._sink: Sink | None = None
        self._early: bytearray | None = bytearray()

    def copy_to(self, sink: Sink | None) -> None:
        """Give the copy to *sink*, from the beginning on."""
        self._sink = sink
        if sink is not None and self._early:
            sink.write(bytes(self._early))
        self._early = None

    def read(self, size: int, /) -> bytes:
        data = self._source.read(size)
        if self._early is not None:
            self._early += data
        elif self._sink is not None:
            self._sink.write(data)
        return data
