"""The first half of reading: each file of the stream becomes a blob, as it comes.

Nothing is unpacked, and nothing is held: names are only remembered. What a file decompresses to is
hashed in the same pass.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from transship.store.archives.limits import ArchiveLimits
from transship.store.archives.members import Member, Members, link_target, member_path, shown
from transship.store.errors import (
    DecompressionError,
    DigestMismatchError,
    ExpansionError,
    InvalidArchiveError,
    InvalidDigestError,
    InvalidLayerError,
)
from transship.store.layers.codecs.formats import Compression, Readable, open_reader
from transship.store.layers.codecs.hashing import HashingReader
from transship.store.layers.compose.unpacking import Unpacking
from transship.store.layers.tar.reader import Entry, Kind, TarReader
from transship.store.oci.digest import Digest

_READ_BYTES: Final = 1024 * 1024
_VERSION: Final = re.compile(r"[^/]+/VERSION")  # of a layer's directory; always 1.0
_BLOB: Final = re.compile(r"blobs/([^/]+)/([^/]+)")
_MAX_SILENT_BYTES: Final = 64 * 1024 * 1024  # of input from which nothing comes
_MAX_LAYER_BYTES: Final = 1024**4  # an hour's hashing, and far beyond any layer


class BlobSink(Protocol):
    """Takes the blobs of an archive.

    The caller of the reader sees to it that what was received is leased, or dropped if the archive
    turns out to be wrong.
    """

    def receive(self, pieces: Iterator[bytes], *, size: int, expected: Digest | None) -> Digest:
        """Store what *pieces* yield, *size* bytes in all, and return its digest.

        All of *pieces* is taken, though the blob may be there already: who names a blob need not
        have it. On return it can be read. With *expected* it has that digest; otherwise its
        digest is its sha256.

        Raises:
            DigestMismatchError: the bytes are not those of *expected*; nothing is kept.
            DiskFullError: there is no space left.
        """


def receive_archive(
    stream: Readable,
    sink: BlobSink,
    *,
    limits: ArchiveLimits,
    check: Callable[[], None] = lambda: None,
) -> Members:
    """Read an archive to its end, and return what files it has.

    Args:
        stream: Read forward only, plain or compressed; stays open.
        sink: Takes each regular file, whatever its name.
        limits: How much to read.
        check: Called before each piece; what it raises is passed on.

    Raises:
        InvalidArchiveError: it is no tar, is cut, has too many files, one of them twice, a name
            that leads out of it, or a blob that is not what its name says.
        DecompressionError: it is compressed, and damaged or cut.
        ExpansionError: it is longer than it may be.
    """
    members = Members()
    with open_reader(stream, max_bytes=limits.max_bytes, subject="the archive") as plain:
        tar = TarReader(plain)
        try:
            for number, entry in enumerate(tar):
                if number >= limits.max_members:
                    raise InvalidArchiveError(f"has more than {limits.max_members} files")
                check()
                _take(entry, _Tee(tar, check), sink, members)
        except InvalidLayerError as error:
            raise InvalidArchiveError(error.detail, subject=shown(error.subject)) from error
        if not tar.offset:
            raise InvalidArchiveError("the archive is empty")
    return members


def _take(entry: Entry, tee: _Tee, sink: BlobSink, members: Members) -> None:
    """Remember *entry*, and hand what it holds to *sink*."""
    path = member_path(entry.name)
    match entry.kind:
        case Kind.FILE if path and not _VERSION.fullmatch(path):
            member = _receive(path, entry.size, tee, sink)
            same = path not in members.links and members.files.setdefault(path, member) == member
        case Kind.SYMLINK | Kind.HARDLINK:
            hard = entry.kind is Kind.HARDLINK
            target = member_path(entry.link) if hard else link_target(path, entry.link)
            same = path not in members.files and members.links.setdefault(path, target) == target
        case _:
            return
    if not same:  # programs differ in which of the two they take
        raise InvalidArchiveError("is there twice, and not the same", subject=shown(path))


def _receive(path: str, size: int, tee: _Tee, sink: BlobSink) -> Member:
    expected = _named_digest(path)
    found = _Found()
    algorithm = "sha256" if expected is None else expected.algorithm
    pieces = _pieces(tee, found, hash_plain=algorithm != "sha256")
    try:
        digest = sink.receive(pieces, size=size, expected=expected)
    except DigestMismatchError as error:
        raise InvalidArchiveError(error.detail, subject=shown(path)) from error
    assert next(pieces, None) is None, "a sink takes the whole of a blob"
    plain = found.compression is Compression.NONE and algorithm == "sha256"
    diff_id = digest if plain else found.diff_id
    return Member(digest, size, found.compression, diff_id, found.fault)


def _named_digest(path: str) -> Digest | None:
    """The digest that a file in a layout's place for blobs must have."""
    named = _BLOB.fullmatch(path)
    if named is None:
        return None
    try:
        return Digest.parse(f"{named[1]}:{named[2]}")
    except InvalidDigestError:
        return None  # of an algorithm that is unknown here; nothing can name it


def _pieces(tee: _Tee, found: _Found, *, hash_plain: bool) -> Iterator[bytes]:
    """Yield what *tee* reads; at the end *found* says what it decompresses to.

    The decompressor leads: it reads what it needs for its next piece, and that is passed on.
    """
    try:
        with open_reader(tee, max_bytes=_MAX_LAYER_BYTES) as reader:
            found.compression = reader.compression
            plain = (
                HashingReader(reader)
                if hash_plain or reader.compression is not Compression.NONE
                else reader
            )
            yield from _unpacked(plain, tee, found)
            while plain.read(_READ_BYTES):
                yield from tee.take()
            if isinstance(plain, HashingReader):
                found.diff_id = plain.digest
    except (DecompressionError, ExpansionError) as error:
        if tee.failure is not None:  # it is the archive that is damaged, not the file in it
            raise
        found.fault = error.detail
    yield from tee.take()
    while tee.read(_READ_BYTES):
        yield from tee.take()


def _unpacked(plain: Readable, tee: _Tee, found: _Found) -> Iterator[bytes]:
    """Yield what is read of a tar; *found* has the fault for which it cannot be unpacked."""
    tar, unpacking = TarReader(plain), Unpacking()
    try:
        for entry in tar.entries():
            unpacking.add(entry)
            while tar.read():
                yield from tee.take()
    except InvalidLayerError as error:
        at = f" ({shown(error.subject)})" if error.subject else ""
        found.fault = f"cannot be unpacked: {error.detail}{at}"


@dataclass(slots=True)
class _Found:
    """What the bytes of a file turned out to be."""

    compression: Compression = Compression.NONE
    diff_id: Digest | None = None
    fault: str = ""


class _Tee:
    """Reads on, and remembers what was read until it is taken."""

    def __init__(self, source: Readable, check: Callable[[], None]) -> None:
        self._source, self._check = source, check
        self._read: list[bytes] = []
        self._bytes = 0
        self.failure: Exception | None = None  # of the source itself

    def read(self, size: int, /) -> bytes:
        self._check()
        if self._bytes > _MAX_SILENT_BYTES:
            raise DecompressionError("too much of it decompresses to nothing")
        try:
            data = self._source.read(size)
        except Exception as error:
            self.failure = error
            raise
        if data:
            self._read.append(data)
            self._bytes += len(data)
        return data

    def take(self) -> list[bytes]:
        """What was read since the last time."""
        taken, self._read, self._bytes = self._read, [], 0
        return taken
