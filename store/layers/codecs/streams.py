"""bzip2 and xz by the standard library, whose decompressors each read one stream."""

from __future__ import annotations

import lzma
from collections.abc import Callable
from typing import Final, Protocol

_READ_BYTES: Final = 16 * 1024  # small, for what follows a stream is copied once for each


class _Source(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class StreamReader:
    """bzip2 or xz, one stream after the other, with NULs between and after them."""

    def __init__(self, source: _Source, begin: Callable[[], _Decompressor]) -> None:
        self._source, self._begin = source, begin
        self._decompressor = begin()

    def read(self, size: int, /) -> bytes:
        """At most *size* bytes; none at the end of the last stream."""
        while True:
            data = b""
            if self._decompressor.eof:
                data = self._next()
                if not data:
                    return b""
                self._decompressor = self._begin()
            elif self._decompressor.needs_input:
                data = self._source.read(_READ_BYTES)
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
            data = self._source.read(_READ_BYTES)
            if not data:
                return b""
