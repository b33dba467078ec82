"""Where the frames of a zstd stream end (RFC 8878).

The zstandard package reads a stream that is cut in the middle of a frame to its end in silence,
and takes NULs after the last frame for damage. So the compressed bytes pass through here first,
from frame header to block header to the next.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final, Protocol

from zstandard import ZstdError

_READ_BYTES: Final = 64 * 1024
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
    """Passes the frames of *source* on, without skippable ones and padding.

    What is not whole frames raises `ZstdError`.
    """

    def __init__(self, source: _Source) -> None:
        self._source = source
        self._expect, self._need = _Expect.MAGIC, 4
        self._field = b""  # the part of the next field that is here
        self._skip = 0  # how many bytes lie before the next field
        self._passing = False  # whether they belong to a frame with data
        self._checksum_bytes = 0
        self._ended = False

    def read(self, size: int = -1, /) -> bytes:
        """At most *size* bytes, or a magic number more; none at the end of the last frame."""
        while not self._ended:
            data = self._source.read(size)
            if not data:
                self._end()
            elif frames := self._walk(data):
                return bytes(frames)
        return b""

    def _end(self) -> None:
        self._ended = True
        whole = self._expect is _Expect.MAGIC and not self._field.strip(b"\0") and not self._skip
        if not whole:
            raise ZstdError("it ends in the middle of a frame")

    def _walk(self, data: bytes) -> bytearray:
        frames = bytearray()
        position = 0
        while position < len(data):
            if self._skip:
                passed = data[position : position + self._skip]
                self._skip -= len(passed)
                if self._passing:
                    frames += passed
            else:
                passed = data[position : position + self._need - len(self._field)]
                self._field += passed
                if self._expect in (_Expect.DESCRIPTOR, _Expect.BLOCK):
                    frames += passed
                if len(self._field) == self._need:
                    field, self._field = self._field, b""
                    if self._expect is _Expect.MAGIC and not any(field):
                        self._check_padding(data[position + len(passed) :])
                        return frames
                    frames += self._understand(field)
            position += len(passed)
        return frames

    def _check_padding(self, data: bytes) -> None:
        self._ended = True
        while not data.strip(b"\0"):
            data = self._source.read(_READ_BYTES)
            if not data:
                return
        raise ZstdError("something else follows the last frame")

    def _understand(self, field: bytes) -> bytes:
        """Learn from *field* what comes next; return it if it begins a frame with data."""
        number = int.from_bytes(field, "little")
        match self._expect:
            case _Expect.MAGIC:
                if number == _MAGIC:
                    self._passing = True
                    self._expect, self._need = _Expect.DESCRIPTOR, 1
                    return field
                if number & ~0xF != _SKIPPABLE_MAGIC:
                    raise ZstdError("something else follows the last frame")
                self._passing = False
                self._expect, self._need = _Expect.SKIPPABLE_SIZE, 4
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
        return b""
