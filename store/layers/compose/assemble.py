"""Writes part of a tree as one tar, with the content taken from its layers.

Layers are compressed streams, so content comes in the order in which it lies there, and each
layer that has some is read once more. The tar holds first all that has no content (directories,
links, devices, empty files, whiteouts), each directory before what is in it, then the files, by
layer and by their place in it. So the same layers make the same tar, and only metadata is held in
memory.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from transship.store.errors import StoreError
from transship.store.layers.ahead import side_by_side
from transship.store.layers.compose.tree import Inode
from transship.store.layers.compose.whiteouts import whiteout_name
from transship.store.layers.sources import Check, LayerSource, open_layer
from transship.store.layers.tar.pax import NANOSECONDS
from transship.store.layers.tar.reader import Entry, Kind
from transship.store.layers.tar.writer import TarWriter
from transship.store.oci.digest import Digest

_CHECK_EVERY: Final = 1024  # entries
_BATCH_BYTES: Final = 256 * 1024  # of content that passes from a thread to another at once
_BATCHES_AHEAD: Final = 2  # of a layer


class Named(NamedTuple):
    """An inode under one of its names; without an inode, a path to hide."""

    path: str
    inode: Inode | None


class Assembled(NamedTuple):
    """What was written: *diff_id* and *size* are those of the uncompressed tar."""

    diff_id: Digest
    size: int
    entries: int
    whiteouts: int


def assemble(
    names: Iterable[Named],
    layers: Sequence[LayerSource],
    write: Callable[[bytes], object],
    *,
    clamp: int | None,
    check: Check,
) -> Assembled:
    """Write *names* as a tar.

    An inode's first name carries it, and its other ones are hard links to that.

    Args:
        names: Directories before what is in them; every path once.
        layers: Those of which the tree was made.
        write: Called with each piece of the tar.
        clamp: The latest time that an entry may have, in seconds since the epoch; whiteouts have
            that time, or else 0.
        check: Called often; what it raises is passed on.

    Raises:
        StoreError: a layer is not what it was when the tree was made.
    """
    out = _Assembly(write, clamp)
    for number, named in enumerate(names):
        if number % _CHECK_EVERY == 0:
            check()
        out.add(named)
    each = (_contents(layers, layer, out.files[layer], check) for layer in sorted(out.files))
    with side_by_side(each, _BATCHES_AHEAD) as in_turn:
        for batches in in_turn:
            for batch in batches:
                for piece in batch:
                    out.copy(piece)
    return out.finish()


class _File(NamedTuple):
    """A file with content, and all its names."""

    inode: Inode
    names: list[str]


class _Piece(NamedTuple):
    """Some content of *file*; the first one brings its *entry*."""

    file: _File
    data: bytes
    entry: Entry | None


def _contents(
    layers: Sequence[LayerSource], number: int, files: Mapping[int, _File], check: Check
) -> Generator[list[_Piece]]:
    """Yield the content of the *files* of a layer, by their positions there, up to the last."""
    batch: list[_Piece] = []
    held = 0
    left = len(files)
    with open_layer(layers, number, check) as tar:
        for position, entry in enumerate(tar):
            if (file := files.get(position)) is None:
                continue
            if (entry.name, entry.size) != (file.inode.entry.name, file.inode.entry.size):
                break
            begins: Entry | None = entry
            while data := tar.read():
                batch.append(_Piece(file, data, begins))
                begins = None
                held += len(data)
                if held >= _BATCH_BYTES:
                    yield batch
                    batch, held = [], 0
            left -= 1
            if not left:
                yield batch
                return
    raise StoreError("a layer is not what it was a moment ago")


class _Assembly:
    def __init__(self, write: Callable[[bytes], object], clamp: int | None) -> None:
        self._write = write
        self._hash = hashlib.sha256()
        self._tar = TarWriter(self._put)
        self._clamp = clamp
        self._entries = self._whiteouts = 0
        self._first: dict[int, str] = {}  # the name that an inode was written under, by its id
        # Those whose content is still to come, by layer and position.
        self.files: defaultdict[int, dict[int, _File]] = defaultdict(dict)

    def add(self, named: Named) -> None:
        path, inode = named
        if inode is None:
            self._whiteouts += 1
            time = (self._clamp or 0) * NANOSECONDS
            self._emit(Entry(whiteout_name(path), mode=0, mtime=time))
        elif inode.entry.kind is Kind.FILE and inode.entry.size:
            files = self.files[inode.layer]
            files.setdefault(inode.position, _File(inode, [])).names.append(path)
        elif inode.entry.kind is Kind.DIRECTORY:
            self._emit(inode.entry._replace(name=path))
        elif (first := self._first.setdefault(id(inode), path)) != path:
            self._emit(_link(inode.entry, path, first))
        else:
            self._emit(inode.entry._replace(name=path))

    def copy(self, piece: _Piece) -> None:
        """Write a piece of a file; its other names follow the last one."""
        if piece.entry is not None:
            self._emit(piece.entry._replace(name=piece.file.names[0]))
        self._tar.content(piece.data)
        if not self._tar.content_left:
            first, *others = piece.file.names
            for name in others:
                self._emit(_link(piece.file.inode.entry, name, first))

    def finish(self) -> Assembled:
        self._tar.finish()
        return Assembled(
            Digest.from_hash(self._hash), self._tar.size, self._entries, self._whiteouts
        )

    def _emit(self, entry: Entry) -> None:
        if self._clamp is not None and entry.mtime > self._clamp * NANOSECONDS:
            entry = entry._replace(mtime=self._clamp * NANOSECONDS)
        self._tar.add(entry)
        self._entries += 1

    def _put(self, data: bytes) -> None:
        self._hash.update(data)
        self._write(data)


def _link(entry: Entry, name: str, first: str) -> Entry:
    """Another *name* of what was written as *first*; it repeats the attributes, as tar does."""
    return entry._replace(name=name, kind=Kind.HARDLINK, link=first, size=0, major=0, minor=0)
