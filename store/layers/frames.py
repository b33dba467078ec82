"""Where the frames of a zstd stream end (RFC 8878).

The zstandard package reads a stream that is cut in the middle of a frame to its end in silence,
and takes NULs after the last frame for damage. So the compressed bytes pass through here first,
from frame header to block header to the next.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final, Protocol

from zstandard import ZstdError

_MAGIC: Final = 0xFD2FB528
_SKIPPABLE_MAGIC: Final = 0x184D2A50  # and the fifteen after it
_SIZE_FIELD_BYTES: Final = (0, 2, 4, 8)  # of the content size, by the two highest bits
_DICTIONARY_FIELD_BYTES: Final = (0, 1, 2, 4)  # by the two lowest
_BLOCK_HEADER_BYTES: Final = 3
_RLE, _RESERVED = 1, 3  # types of block


class _Source(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Expect(Enum):
    """Which field comes next."""

    MAGIC = auto()
    SKIPPABLE_SIZE = auto()
    DESCRIPTOR = auto()
    BLOCK = auto()


class FrameChecker:
    """Passes the bytes of *source* on, and raises `ZstdError` where they are no whole frames."""

    def __init__(self, source: _Source) -> None:
        self._source = source
        self._expect, self._need = _Expect.MAGIC, 4
        self._field = b""  # the part of the next field that is here
        self._skip = 0  # how many bytes lie before the next field
        self._checksum_bytes = 0
        self._ended = False

    def read(self, size: int = -1, /) -> bytes:
        """At most *size* bytes; none at the end, which is the end of a frame."""
        if self._ended:
            return b""
        data = self._source.read(size)
        if not data:
            self._end()
            return b""
        frames = self._walk(data)
        if self._ended:
            self._check_padding(data[frames:])
        return data[:frames]

    def _end(self) -> None:
        self._ended = True
        whole = self._expect is _Expect.MAGIC and not self._field.strip(b"\0") and not self._skip
        if not whole:
            raise ZstdError("it ends in the middle of a frame")

    def _check_padding(self, data: bytes) -> None:
        while data:
            if data.strip(b"\0"):
                raise ZstdError("something else follows the last frame")
            data = self._source.read(len(data))

    def _walk(self, data: bytes) -> int:
        """Follow the frames through *data*; return where they end in it."""
        position = 0
        while position < len(data):
            if self._skip:
                passed = min(self._skip, len(data) - position)
                self._skip -= passed
                position += passed
                continue
            taken = data[position : position + self._need - len(self._field)]
            self._field += taken
            position += len(taken)
            if len(self._field) == self._need:
                field, self._field = self._field, b""
                if self._expect is _Expect.MAGIC and not any(field):
                    self._ended = True
                    return max(0, position - len(field))
                self._understand(field)
        return position

    def _understand(self, field: bytes) -> None:
        number = int.from_bytes(field, "little")
        match self._expect:
            case _Expect.MAGIC:
                if number == _MAGIC:
                    self._expect, self._need = _Expect.DESCRIPTOR, 1
                elif number & ~0xF == _SKIPPABLE_MAGIC:
                    self._expect, self._need = _Expect.SKIPPABLE_SIZE, 4
                else:
                    raise ZstdError("something else follows the last frame")
            case _Expect.SKIPPABLE_SIZE:
                self._skip = number
                self._expect, self._need = _Expect.MAGIC, 4
            case _Expect.DESCRIPTOR:
                one_segment = number >> 5 & 1
                self._checksum_bytes = 4 * (number >> 2 & 1)
                size_bytes = _SIZE_FIELD_BYTES[number >> 6] or one_segment
                window_bytes = 1 - one_segment
                self._skip = window_bytes + _DICTIONARY_FIELD_BYTES[number & 3] + size_bytes
                self._expect, self._need = _Expect.BLOCK, _BLOCK_HEADER_BYTES
            case _Expect.BLOCK:
                last, kind, size = number & 1, number >> 1 & 3, number >> 3
                if kind == _RESERVED:
                    raise ZstdError("a block of no known type")
                self._skip = 1 if kind == _RLE else size
                if last:
                    self._skip += self._checksum_bytes
                    self._expect, self._need = _Expect.MAGIC, 4
