"""Sparse files in tars, in GNU's four formats: where their data lie, and the holes between.

Layers should have none (image-spec, layer.md), and some have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from transship.store.layers.tar.pax import Records, number

MAX_MAP_BYTES: Final = 1024**2  # of a map as it is written

_OLD_MAP: Final = 386  # where an old header keeps its map
_OLD_MAP_SLOTS: Final = 4
_OLD_EXTENDED: Final = 482
_OLD_REAL_SIZE: Final = slice(483, 495)
_EXTENSION_SLOTS: Final = 21
_EXTENSION_EXTENDED: Final = 504
_BLOCK: Final = 512
_ZEROS: Final = bytes(64 * 1024)


class Segment(NamedTuple):
    """A run of data in a file."""

    offset: int
    size: int


class Sparse(NamedTuple):
    """What a sparse file looks like when its holes are filled, and where its data lie."""

    size: int
    segments: tuple[Segment, ...]
    map_bytes: int = 0  # how much of the stored content was its map


def checked(size: int, segments: list[Segment], stored: int, map_bytes: int = 0) -> Sparse:
    """The map, if it is one that could be.

    Raises:
        ValueError: segments overlap, are out of order or out of the file, or are not as long in
            all as what is stored.
    """
    end = 0
    for segment in segments:
        if segment.offset < end or segment.size < 0:
            raise ValueError("a sparse map whose segments overlap")
        end = segment.offset + segment.size
    if end > size:
        raise ValueError("a sparse map that reaches beyond the file's end")
    if map_bytes + sum(segment.size for segment in segments) != stored:
        raise ValueError("a sparse map that does not fit what is stored")
    return Sparse(size, tuple(segment for segment in segments if segment.size), map_bytes)


def old_map(
    header: bytes, stored: int, read_number: Callable[[bytes], int], take: Callable[[], bytes]
) -> Sparse:
    """The map of an old GNU header, type S, and of the blocks that follow it.

    Args:
        header: The header's block.
        stored: The size that it states.
        read_number: Reads a numeric field.
        take: Reads the next block.
    """
    segments = _slots(header[_OLD_MAP:], _OLD_MAP_SLOTS, read_number)
    extended = header[_OLD_EXTENDED]
    read = 0
    while extended:
        read += _BLOCK
        if read > MAX_MAP_BYTES:
            raise ValueError("a sparse map that is too long")
        block = take()
        segments += _slots(block, _EXTENSION_SLOTS, read_number)
        extended = block[_EXTENSION_EXTENDED]
    return checked(read_number(header[_OLD_REAL_SIZE]), segments, stored)


def _slots(block: bytes, count: int, read_number: Callable[[bytes], int]) -> list[Segment]:
    found = []
    for at in range(0, count * 24, 24):
        if not block[at]:
            break  # the first unused slot
        found.append(
            Segment(read_number(block[at : at + 12]), read_number(block[at + 12 : at + 24]))
        )
    return found


def pax_map(
    records: Records, latest: Mapping[str, bytes], stored: int, take: Callable[[], bytes]
) -> Sparse | None:
    """The map that extended headers describe; None where they describe none.

    Args:
        records: The records in order, for format 0.0 repeats its keywords.
        latest: The same by keyword.
        stored: How long the stored content is.
        take: Reads the next block of it; format 1.0 keeps its map there.
    """
    if latest.get("GNU.sparse.major") == b"1" and latest.get("GNU.sparse.minor") == b"0":
        return _leading_map(number(latest.get("GNU.sparse.realsize", b"")), stored, take)
    if "GNU.sparse.major" in latest:
        raise ValueError("a sparse file of an unknown format")
    if "GNU.sparse.size" not in latest:
        return None
    if "GNU.sparse.map" in latest:
        text = latest["GNU.sparse.map"]
        numbers = [number(part) for part in text.split(b",")] if text else []
    else:
        numbers = [
            number(value)
            for keyword, value in records
            if keyword in ("GNU.sparse.offset", "GNU.sparse.numbytes")
        ]
    return checked(number(latest["GNU.sparse.size"]), _pairs(numbers), stored)


def _leading_map(size: int, stored: int, take: Callable[[], bytes]) -> Sparse:
    """Format 1.0: decimal numbers, each on a line, padded to a block: their count, then pairs."""
    text = bytearray()
    lines, wanted = 0, 1
    while lines < wanted:
        if len(text) + _BLOCK > min(MAX_MAP_BYTES, stored):
            raise ValueError("a sparse map that is too long")
        block = take()
        text += block
        lines += block.count(b"\n")
        if wanted == 1 and lines:
            wanted += 2 * number(bytes(text[: text.index(b"\n")]))
    numbers = [number(line) for line in bytes(text).split(b"\n", wanted)[1:wanted]]
    return checked(size, _pairs(numbers), stored, len(text))


def _pairs(numbers: list[int]) -> list[Segment]:
    if len(numbers) % 2:
        raise ValueError("a sparse map with half a segment")
    return [Segment(offset, size) for offset, size in zip(numbers[::2], numbers[1::2], strict=True)]


class Expander:
    """Reads a sparse file with its holes filled."""

    def __init__(self, found: Sparse, stored: Callable[[int], bytes]) -> None:
        self._size, self._stored = found.size, stored
        self._segments = iter(found.segments)
        self._position = 0
        self._advance()

    def _advance(self) -> None:
        self._segment = next(self._segments, Segment(self._size, 0))

    def read(self, size: int) -> bytes:
        """At most *size* bytes; none at the end."""
        hole = self._segment.offset - self._position
        if hole > 0:
            data = _ZEROS[: min(size, hole)]
        else:
            data = self._stored(min(size, self._segment.size + hole))
        self._position += len(data)
        if self._segment.size and self._position == self._segment.offset + self._segment.size:
            self._advance()
        return data
