"""Tars, written: the same bytes for the same entries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from transship.store.layers.tar import pax
from transship.store.layers.tar.pax import NANOSECONDS
from transship.store.layers.tar.reader import BLOCK_BYTES, CHECKSUM, HEADER, XATTR, Entry, Kind

_NAME_BYTES: Final = 100
_PREFIX_BYTES: Final = 155
_MOST_7_DIGITS: Final = 8**7 - 1
_MOST_11_DIGITS: Final = 8**11 - 1
_EXTENDED_NAME: Final = b"././@PaxHeader"
_ZERO_BLOCKS: Final = bytes(2 * BLOCK_BYTES)


class TarWriter:
    """Writes a tar to *write*.

    Headers are USTAR; an extended header goes before an entry that needs one, its records sorted.
    There are no times but the entries' own, no names of users, and no padding at the end beyond
    its two blocks.
    """

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self.content_left = 0  # of the entry begun last
        self._padding = 0
        self.size = 0  # of what was written

    def add(self, entry: Entry) -> None:
        """Begin *entry*. A file's content follows by `content`, exactly as long as it says.

        Raises:
            ValueError: the entry before has less content than it said.
        """
        self._end_entry()
        self._put(header(entry))
        if entry.kind is Kind.FILE:
            self.content_left, self._padding = entry.size, -entry.size % BLOCK_BYTES

    def content(self, data: bytes) -> None:
        """Go on with the content of the entry.

        Raises:
            ValueError: it is longer than the entry said.
        """
        if len(data) > self.content_left:
            raise ValueError("more content than the entry's size")
        self.content_left -= len(data)
        self._put(data)

    def finish(self) -> None:
        """Write the end.

        Raises:
            ValueError: the last entry has less content than it said.
        """
        self._end_entry()
        self._put(_ZERO_BLOCKS)

    def _end_entry(self) -> None:
        if self.content_left:
            raise ValueError("less content than the entry's size")
        if self._padding:
            self._put(_ZERO_BLOCKS[: self._padding])
            self._padding = 0

    def _put(self, data: bytes) -> None:
        self._write(data)
        self.size += len(data)


def header(entry: Entry) -> bytes:
    """The blocks that begin *entry*: its header, after an extended one where it takes that."""
    name = _raw(entry.name)
    if entry.kind is Kind.DIRECTORY and not name.endswith(b"/"):
        name += b"/"
    link = _raw(entry.link)
    size = entry.size if entry.kind is Kind.FILE else 0
    seconds, fraction = divmod(entry.mtime, NANOSECONDS)
    records = {f"{XATTR}{key}": value for key, value in entry.xattrs.items()}
    records.update(entry.extra)
    split = _split(name)
    if split is None:
        records["path"] = name
        split = b"", _placeholder(name)
    if len(link) > _NAME_BYTES or not link.isascii():
        records["linkpath"] = link
        link = _placeholder(link)
    if fraction or not 0 <= seconds <= _MOST_11_DIGITS:
        records["mtime"] = pax.format_time(entry.mtime)
    for keyword, value, most in (
        ("uid", entry.uid, _MOST_7_DIGITS),
        ("gid", entry.gid, _MOST_7_DIGITS),
        ("size", size, _MOST_11_DIGITS),
    ):
        if value > most:
            records[keyword] = b"%d" % value
    block = _block(split, entry.kind.value.encode(), entry, size, seconds, link)
    if not records:
        return block
    data = pax.format_records(records)
    extension = _block((b"", _EXTENDED_NAME), b"x", _EXTENDED_ENTRY, len(data), 0, b"")
    return extension + data + bytes(-len(data) % BLOCK_BYTES) + block


_EXTENDED_ENTRY: Final = Entry("", mode=0o644)


def _block(
    name: tuple[bytes, bytes], flag: bytes, entry: Entry, size: int, seconds: int, link: bytes
) -> bytes:
    """One header; a number that does not fit is 0 here, and right in the extended one."""
    block = HEADER.pack(
        name[1],
        b"%07o\0" % entry.mode,
        b"%07o\0" % _fitting(entry.uid, _MOST_7_DIGITS),
        b"%07o\0" % _fitting(entry.gid, _MOST_7_DIGITS),
        b"%011o\0" % _fitting(size, _MOST_11_DIGITS),
        b"%011o\0" % _fitting(seconds, _MOST_11_DIGITS),
        b" " * 8,
        flag,
        link,
        b"ustar\x0000",
        b"%07o\0" % entry.major,
        b"%07o\0" % entry.minor,
        name[0],
    )
    return block[: CHECKSUM.start] + b"%06o\0 " % sum(block) + block[CHECKSUM.stop :]


def _fitting(number: int, most: int) -> int:
    return number if 0 <= number <= most else 0


def _raw(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _split(name: bytes) -> tuple[bytes, bytes] | None:
    """*name* as prefix and rest, at a slash; None where USTAR cannot hold it."""
    if not name.isascii():
        return None
    if len(name) <= _NAME_BYTES:
        return b"", name
    slash = name.rfind(b"/", 0, min(len(name) - 1, _PREFIX_BYTES + 1))
    if slash <= 0 or len(name) - slash - 1 > _NAME_BYTES:
        return None
    return name[:slash], name[slash + 1 :]


def _placeholder(name: bytes) -> bytes:
    """What a reader shows that does not know extended headers."""
    return name[-_NAME_BYTES:].decode("ascii", "replace").replace("\ufffd", "?").encode()
