"""Tars, read as streams.

The reader is ours because Python's is not safe on hostile input in every version that we run on
(CVE-2025-8194 and others), and keeps every header it saw. It reads what Docker and umoci read in
layers: USTAR and older, GNU's long names and numbers, extended headers, sparse files in each of
their formats. Where readers differ it does as Go's `archive/tar` does, which all of them use; what
two of them would read differently is refused where no honest archive has it.

Nothing here touches the file system; names are as they are written, and may be anything.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

from transship.store.errors import ExpansionError, InvalidLayerError
from transship.store.layers.codecs.formats import Readable
from transship.store.layers.tar import pax, sparse
from transship.store.layers.tar.pax import NANOSECONDS
from transship.store.sizes import human_bytes

BLOCK_BYTES: Final = 512
HEADER: Final = struct.Struct(
    # name, mode, uid, gid, size, mtime, checksum, type, link, magic, major, minor, prefix
    "100s8s8s8s12s12s8sc100s8s64x8s8s155s12x"
)
CHECKSUM: Final = slice(148, 156)
XATTR: Final = "SCHILY.xattr."
MAX_NAME_LENGTH: Final = 4096  # Linux's PATH_MAX; of link targets, too
MAX_EXTENDED_BYTES: Final = 1024**2  # of the headers that go before an entry
MAX_HOLE_BYTES: Final = 8 * 1024**3  # of zeros that an archive's sparse files may stand for

_READ_BYTES: Final = 256 * 1024
_ENTRY_BYTES: Final = 500  # of memory, besides what varies
_MAX_SIZE: Final = 2**63 - 1
_MAX_DEVICE: Final = 2**20 - 1  # what Linux knows of minors; of majors it knows fewer
_ZERO_BLOCK: Final = bytes(BLOCK_BYTES)
_NOTHING: Final[Mapping[str, bytes]] = MappingProxyType({})
_KEPT: Final = "MSWINDOWS."  # what Windows layers cannot do without
# In a global header these would change what the archive holds for some readers and not for others.
_NEVER_GLOBAL: Final = ("path", "linkpath", "size", "GNU.sparse.")


class Kind(StrEnum):
    """What an entry is; the values are tar's type flags."""

    FILE = "0"
    HARDLINK = "1"
    SYMLINK = "2"
    CHARACTER = "3"
    BLOCK = "4"
    DIRECTORY = "5"
    FIFO = "6"


_KINDS: Final = {kind.value.encode(): kind for kind in Kind} | {
    b"7": Kind.FILE,  # contiguous
    b"S": Kind.FILE,  # GNU sparse
}


class Entry(NamedTuple):
    """One entry. A tuple, since an image may have a million.

    Names are as written; bytes that are no UTF-8 are kept as surrogates. *size* is that of the
    content, holes included. Extended attributes are bytes by their full names.
    """

    name: str
    kind: Kind = Kind.FILE
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0  # in nanoseconds since the epoch
    link: str = ""
    major: int = 0
    minor: int = 0
    xattrs: Mapping[str, bytes] = _NOTHING
    extra: Mapping[str, bytes] = _NOTHING  # extended header records kept as they are

    @property
    def footprint(self) -> int:
        """About how many bytes of memory it takes, in a tree or by itself."""
        size = _ENTRY_BYTES + len(self.name) + len(self.link)
        for records in (self.xattrs, self.extra):
            if records:
                size += sum(len(key) + len(value) for key, value in records.items())
        return size


class TarReader:
    """Yields the entries of a tar, and reads the content of the one yielded last.

    The end is two blocks of zeros, or the end of the stream after a whole entry; whatever follows
    is read and ignored, as Docker does, so that the source is read to its end.

    Iterating and reading raise:
        InvalidLayerError: the archive is malformed or cut; the subject is the entry's name.
        ExpansionError: sparse files stand for too many zeros.
    """

    def __init__(self, source: Readable, *, max_hole_bytes: int = MAX_HOLE_BYTES) -> None:
        self._source = source
        self._buffer = b""
        self._at = 0  # what was used of the buffer
        self._fetched = 0
        self._name = ""
        self._stored_left = 0  # of the entry's content as it is stored
        self._padding = 0
        self._map: sparse.Expander | None = None
        self._hole_bytes_left = max_hole_bytes

    @property
    def offset(self) -> int:
        """How many bytes of the archive were used."""
        return self._fetched - len(self._buffer) + self._at

    def __iter__(self) -> Iterator[Entry]:
        yield from self.entries()
        self._drain()

    def entries(self) -> Iterator[Entry]:
        """The entries alone; what follows the end is left to be read."""
        while (entry := self._next()) is not None:
            yield entry

    def read(self, size: int = _READ_BYTES, /) -> bytes:
        """At most *size* bytes of the entry's content; none at its end. Holes read as zeros."""
        if self._map is not None:
            return self._map.read(size)
        return self._stored(size)

    # --- bytes ---------------------------------------------------------------------------------

    def _fetch(self) -> bool:
        self._buffer = self._source.read(_READ_BYTES)
        self._at = 0
        self._fetched += len(self._buffer)
        return bool(self._buffer)

    def _take(self, size: int) -> bytes:
        """Exactly *size* bytes, or fewer where the stream ends."""
        end = self._at + size
        data = self._buffer[self._at : end]
        self._at = min(end, len(self._buffer))
        if len(data) < size:
            parts = [data]
            missing = size - len(data)
            while missing and self._fetch():
                parts.append(self._buffer[:missing])
                self._at = len(parts[-1])
                missing -= self._at
            data = b"".join(parts)
        return data

    def _skip(self, size: int) -> None:
        while size:
            here = len(self._buffer) - self._at
            if here >= size:
                self._at += size
                return
            size -= here
            if not self._fetch():
                raise self._cut()

    def _stored(self, size: int) -> bytes:
        if not self._stored_left:
            return b""
        if self._at == len(self._buffer) and not self._fetch():
            raise self._cut()
        data = self._buffer[self._at : self._at + min(size, self._stored_left)]
        self._at += len(data)
        self._stored_left -= len(data)
        return data

    def _stored_block(self) -> bytes:
        """A block of the content, where the content begins with its own map."""
        block = self._take(BLOCK_BYTES)
        if len(block) < BLOCK_BYTES:
            raise self._cut()
        return block

    def _drain(self) -> None:
        while self._fetch():
            pass
        self._at = len(self._buffer)

    def _cut(self) -> InvalidLayerError:
        return InvalidLayerError("the archive is cut", subject=self._name)

    def _wrong(self, detail: str) -> InvalidLayerError:
        return InvalidLayerError(f"{detail}, before byte {self.offset}", subject=self._name)

    # --- headers -------------------------------------------------------------------------------

    def _next(self) -> Entry | None:
        self._skip(self._stored_left)
        self._take(self._padding)  # the last entry of an archive may lack it
        self._stored_left = self._padding = 0
        self._map, self._name = None, ""
        extended: bytes | None = None
        long_name = long_link = None
        while True:
            block = self._take(BLOCK_BYTES)
            begun = extended is not None or long_name is not None or long_link is not None
            if not block and not begun:
                return None
            if len(block) < BLOCK_BYTES:
                raise self._cut()
            if block == _ZERO_BLOCK:
                if begun:
                    raise self._wrong("an extended header without an entry")
                if self._take(BLOCK_BYTES).strip(b"\0"):
                    raise self._wrong("a block of zeros that is not the end")
                return None
            self._check(block)
            match block[156:157]:
                case b"x":
                    extended = self._special(block, extended)
                case b"L":
                    long_name = self._special(block, long_name)
                case b"K":
                    long_link = self._special(block, long_link)
                case b"g":
                    self._check_global(self._special(block, None))
                case _:
                    return self._entry(block, extended, long_name, long_link)

    def _check(self, block: bytes) -> None:
        stated = _number(block[CHECKSUM])
        # The checksum counts its own field as spaces.
        if stated == sum(block) - sum(block[CHECKSUM]) + 8 * 0x20:
            return
        signed = sum(byte - 256 if byte > 127 else byte for byte in block)
        if stated != signed - sum(block[CHECKSUM]) + 8 * 0x20:  # as some old tars have it
            raise self._wrong("a header whose checksum is wrong")

    def _special(self, block: bytes, before: bytes | None) -> bytes:
        if before is not None:
            raise self._wrong("two headers of one kind for one entry")
        size = self._numeric(block[124:136], "size")
        if size > MAX_EXTENDED_BYTES:
            raise self._wrong(f"an extended header of {human_bytes(size)}")
        data = self._take(size + -size % BLOCK_BYTES)
        if len(data) < size:
            raise self._cut()
        return data[:size]

    def _records(self, data: bytes) -> pax.Records:
        try:
            return pax.parse_records(data)
        except ValueError as error:
            raise self._wrong(str(error)) from error

    def _check_global(self, data: bytes) -> None:
        """Ignore a global header, as Go does; it is a comment in every honest layer."""
        for keyword, _ in self._records(data):
            if keyword.startswith(_NEVER_GLOBAL):
                raise self._wrong(f"a global header that sets {keyword[:64]}")

    def _numeric(self, field: bytes, name: str, most: int = _MAX_SIZE) -> int:
        value = _number(field)
        if value is None or not 0 <= value <= most:
            raise self._wrong(f"a {name} that is none")
        return value

    def _entry(
        self, block: bytes, extended: bytes | None, long_name: bytes | None, long_link: bytes | None
    ) -> Entry:
        (name, mode, uid, gid, size, mtime, _, flag, link, magic, major, minor, prefix) = (
            HEADER.unpack(block)
        )
        name = name.partition(b"\0")[0]
        if prefix[0] and magic == b"ustar\x0000":
            name = prefix.partition(b"\0")[0] + b"/" + name
        if long_name is not None:
            name = long_name.partition(b"\0")[0]
        link = (link if long_link is None else long_link).partition(b"\0")[0]
        self._name = _text(name)
        kind = _KINDS.get(flag)
        if kind is None:
            if flag != b"\0":
                raise self._wrong(f"an entry of the unknown type {flag!r}")
            # Before POSIX directories were files whose name ends in a slash.
            kind = Kind.DIRECTORY if name.endswith(b"/") else Kind.FILE
        seconds = _number(mtime)
        if seconds is None or abs(seconds) > _MAX_SIZE:
            raise self._wrong("a time that is none")
        entry = Entry(
            self._name,
            kind,
            self._numeric(mode, "mode") & 0o7777,
            self._numeric(uid, "uid"),
            self._numeric(gid, "gid"),
            # Whatever size others state, no content follows (archive/tar, isHeaderOnly).
            self._numeric(size, "size") if kind is Kind.FILE else 0,
            seconds * NANOSECONDS,
            _text(link),
        )
        if kind is Kind.CHARACTER or kind is Kind.BLOCK:
            entry = entry._replace(
                major=self._numeric(major, "device number", _MAX_DEVICE),
                minor=self._numeric(minor, "device number", _MAX_DEVICE),
            )
        records: pax.Records = []
        if extended is not None:
            records = self._records(extended)
            # GNU's long names count more (archive/tar, Reader.next).
            known = {"path"} if long_name is not None else set()
            known |= {"linkpath"} if long_link is not None else set()
            entry = self._extend(entry, records, known)
        if len(entry.name) > MAX_NAME_LENGTH or len(entry.link) > MAX_NAME_LENGTH:
            self._name = f"{entry.name[:64]}…"
            raise self._wrong(f"a name of more than {MAX_NAME_LENGTH} characters")
        if kind is not Kind.FILE:
            return entry
        self._stored_left, self._padding = entry.size, -entry.size % BLOCK_BYTES
        return self._fill(entry, block if flag == b"S" else None, records)

    def _extend(self, entry: Entry, records: pax.Records, known: set[str]) -> Entry:
        """Let extended headers say what the plain one cannot; an empty value says nothing.

        Keywords that are *known* already are passed over.
        """
        changes: dict[str, object] = {}
        xattrs: dict[str, bytes] = {}
        extra: dict[str, bytes] = {}
        try:
            for keyword, value in records:
                if keyword.startswith(XATTR):
                    xattrs[keyword[len(XATTR) :]] = value
                elif keyword.startswith(_KEPT):
                    extra[keyword] = value
                elif not value or keyword in known:
                    continue
                elif keyword == "GNU.sparse.name":
                    changes["name"] = _record_text(value)
                    known.add("path")
                elif keyword == "path":
                    changes["name"] = _record_text(value)
                elif keyword == "linkpath":
                    changes["link"] = _record_text(value)
                elif keyword in ("uid", "gid") or (keyword == "size" and entry.kind is Kind.FILE):
                    changes[keyword] = pax.number(value)
                elif keyword == "mtime":
                    changes["mtime"] = pax.parse_time(value)
        except ValueError as error:
            raise self._wrong(str(error)) from error
        if xattrs:
            changes["xattrs"] = xattrs
        if extra:
            changes["extra"] = extra
        entry = entry._replace(**changes)  # type: ignore[arg-type]
        self._name = entry.name
        if max(entry.size, entry.uid, entry.gid) > _MAX_SIZE:
            raise self._wrong("a number beyond 63 bits")
        return entry

    def _fill(self, entry: Entry, old: bytes | None, records: pax.Records) -> Entry:
        """Prepare to read the content of a file, which may be sparse."""
        found: sparse.Sparse | None
        try:
            if old is not None:
                found = sparse.old_map(old, entry.size, self._size_field, self._stored_block)
            elif any(keyword.startswith("GNU.sparse.") for keyword, _ in records):
                found = sparse.pax_map(records, dict(records), entry.size, self._stored_block)
            else:
                return entry
        except ValueError as error:
            raise self._wrong(str(error)) from error
        if found is None:
            return entry
        self._stored_left -= found.map_bytes
        self._hole_bytes_left -= found.size - self._stored_left
        if self._hole_bytes_left < 0:
            raise ExpansionError("its holes stand for too many zeros", subject=entry.name)
        self._map = sparse.Expander(found, self._stored)
        return entry._replace(size=found.size)

    def _size_field(self, field: bytes) -> int:
        return self._numeric(field, "sparse map")


@lru_cache(maxsize=4096)
def _number(field: bytes) -> int | None:
    """A numeric field: octal, or in base 256 where its first bit is set; None where it is none."""
    if field[0] & 0x80:
        # The second bit is the sign (GNU tar).
        value = int.from_bytes(field, "big")
        bits = 8 * len(field)
        negative = field[0] & 0x40
        return value - (1 << bits) if negative else value - (1 << bits - 1)
    digits = field.strip(b" \0").partition(b"\0")[0]
    if not digits:
        return 0
    if digits.translate(None, b"01234567"):
        return None
    return int(digits, 8)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _record_text(value: bytes) -> str:
    if b"\0" in value:
        raise ValueError("a name with a NUL")
    return _text(value)
