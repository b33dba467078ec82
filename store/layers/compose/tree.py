"""The file system that layers add up to, as metadata alone.

Layers are applied as `umoci unpack` does it, and as Docker does where it has no overlay: in an
entry's name symbolic links are followed, within the root, but for the last component; a missing
directory is made; a directory over a directory takes its attributes, and anything else replaces
what is there with all that is below it. A hard link shares the inode that its target has at that
moment, whatever becomes of the target later. Of repeated entries the last counts.

Two things do not depend on order, as layer.md has it: whiteouts act on the layers below, never
on their own, and AUFS's link targets may come after the links.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from transship.store.errors import ExpansionError, InvalidLayerError
from transship.store.layers.compose.paths import Path, follow, parse_path, refuse_unless_free
from transship.store.layers.compose.whiteouts import (
    PREFIX,
    Meaning,
    aufs_link_target,
    parse_whiteout,
)
from transship.store.layers.sources import Check, LayerSource, in_layer, read_layers
from transship.store.layers.tar.reader import Entry, Kind
from transship.store.sizes import human_bytes

MAX_METADATA_BYTES: Final = 2 * 1024**3  # about four million entries

_IMPLIED: Final = Entry("", Kind.DIRECTORY, 0o755)


@dataclass(slots=True, eq=False)
class Inode:
    """What names in the tree stand for; hard links are names of one inode.

    *entry* is what was written of it last, by *layer*; a file's content is that of the entry at
    *position* there.
    """

    entry: Entry
    layer: int
    position: int


@dataclass(slots=True, eq=False)
class Directory(Inode):
    """An inode with names in it."""

    children: dict[str, Inode]

    @property
    def described(self) -> bool:
        """Whether an entry was written of it, or only of something below it."""
        return self.position >= 0


class Tree:
    """A file system made of layers, the lowest first."""

    def __init__(self, *, max_metadata_bytes: int = MAX_METADATA_BYTES) -> None:
        self.root = _implied(layer=-1)
        self._applied = 0
        self._metadata_bytes_left = self._max_metadata_bytes = max_metadata_bytes

    def apply(self, entries: Iterable[Entry], *, as_unpacked: bool = False) -> None:
        """Put a layer on top; *as_unpacked*, if whoever unpacks it there would not stop at it.

        Without that a file in the way of a directory gives place, and what a symbolic link leads to
        is made.

        Raises:
            InvalidLayerError: it cannot be applied; the tree is then of no use.
            ExpansionError: the layers hold more entries than memory is for.
        """
        layer = _Layer(self.root, self._applied, as_unpacked=as_unpacked)
        for position, entry in enumerate(entries):
            self._account(entry)
            layer.add(entry, position)
        layer.apply()
        self._applied += 1

    def _account(self, entry: Entry) -> None:
        self._metadata_bytes_left -= entry.footprint
        if self._metadata_bytes_left < 0:
            raise ExpansionError(
                f"the layers' entries take more than {human_bytes(self._max_metadata_bytes)}"
            )

    def find(self, path: Path) -> Inode | None:
        """What is at *path*; symbolic links on the way are followed, one at its end is not."""
        return _find(self.root, path)

    def directory(self, path: Path) -> Directory | None:
        """The directory at *path*, also where a symbolic link at its end leads to one."""
        return _walk(self.root, path)

    def snapshot(self) -> Directory:
        """The root as it is now; layers applied later leave it as it is."""
        root = _copy(self.root)
        unfinished = [root]
        while unfinished:
            children = unfinished.pop().children
            for name, child in children.items():
                if isinstance(child, Directory):
                    children[name] = copy = _copy(child)
                    unfinished.append(copy)
        return root


def apply_layers(
    tree: Tree, layers: Sequence[LayerSource], check: Check, *, first: int = 0
) -> None:
    """Put those of *layers* from *first* on on top of *tree*; each is read to its end."""
    with read_layers(layers[first:], check) as each:
        for number, entries in enumerate(each, first):
            with in_layer(number):
                tree.apply(entries)


class _Layer:
    """One layer on its way onto a tree: its whiteouts first, then its entries in order."""

    def __init__(self, root: Directory, number: int, *, as_unpacked: bool) -> None:
        self._root, self._number, self._as_unpacked = root, number, as_unpacked
        self._entries: list[tuple[Path, Entry, int]] = []
        self._hides: set[tuple[Path, Meaning]] = set()
        self._hidden: dict[Path, Inode] = {}
        self._aufs_links: dict[str, Inode] = {}

    def add(self, entry: Entry, position: int) -> None:
        path = parse_path(entry.name)
        whiteout = parse_whiteout(path) if PREFIX in entry.name else None
        if whiteout is None:
            self._entries.append((path, entry, position))
        elif whiteout.meaning is Meaning.AUFS_LINK:
            if entry.kind is Kind.FILE:
                self._aufs_links[path[-1]] = Inode(entry, self._number, position)
        elif whiteout.meaning is not Meaning.NOTHING:
            self._hides.add((whiteout.path, whiteout.meaning))

    def apply(self) -> None:
        self._hide()
        for path, entry, position in self._entries:
            try:
                self._put(path, entry, position)
            except InvalidLayerError as error:
                error.subject = entry.name
                raise

    def _hide(self) -> None:
        own = {path for path, _, _ in self._entries} if self._hides else set()
        # What lies below something hidden is hidden with it, so parents come first.
        for path, meaning in sorted(self._hides, key=lambda hides: (len(hides[0]), hides[0])):
            directory = path if meaning is Meaning.HIDES_CHILDREN else path[:-1]
            found = self._below(directory, own)
            if found is None:
                continue
            names = list(found.children) if meaning is Meaning.HIDES_CHILDREN else [path[-1]]
            for name in names:
                hidden = found.children.pop(name, None)
                if hidden is not None:
                    self._hidden[(*directory, name)] = hidden

    def _below(self, path: Path, own: set[Path]) -> Directory | None:
        """The directory that the layers below have at *path*.

        None where they have none, or where this layer puts something in the place of a symbolic
        link that leads there: what is behind the link is not meant then.
        """
        node = self._root
        for depth, name in enumerate(path, 1):
            child = node.children.get(name)
            if isinstance(child, Directory):
                node = child
            elif child is not None and _is_symlink(child) and path[:depth] not in own:
                return _walk(self._root, path)
            else:
                return None
        return node

    def _put(self, path: Path, entry: Entry, position: int) -> None:
        if not path:
            if entry.kind is not Kind.DIRECTORY:
                raise InvalidLayerError("the root of an image that is no directory")
            self._set(self._root, entry, position)
            return
        parent = self._walk_or_make(path[:-1])
        before = parent.children.get(path[-1])
        if entry.kind is Kind.DIRECTORY:
            if isinstance(before, Directory):
                self._set(before, entry, position)
                return
            inode: Inode = Directory(entry, self._number, position, {})
        elif entry.kind is Kind.HARDLINK:
            inode = self._target(entry)
        else:
            inode = Inode(entry, self._number, position)
        parent.children[path[-1]] = inode

    def _walk_or_make(self, path: Path) -> Directory:
        """The directory at *path*; what is missing is made."""
        node = self._root
        for name in path:
            child = node.children.get(name)
            if not isinstance(child, Directory):
                made = follow(self._root, path, _look, self._make)
                assert made is not None
                return made
            node = child
        return node

    def _make(self, directory: Directory, name: str, behind_link: bool) -> Directory:
        if self._as_unpacked:
            refuse_unless_free(name in directory.children, behind_link)
        made = directory.children[name] = _implied(self._number)
        return made

    def _set(self, directory: Directory, entry: Entry, position: int) -> None:
        directory.entry, directory.layer, directory.position = entry, self._number, position

    def _target(self, link: Entry) -> Inode:
        path = parse_path(link.link)
        aufs_name = aufs_link_target(path)
        if aufs_name is not None:
            found = self._aufs_links.get(aufs_name)
        else:
            # A layer may link to what it hides, if the whiteout comes after the link.
            found = _find(self._root, path) or self._find_hidden(path)
        if found is None:
            raise InvalidLayerError(f"a hard link to what is not there: {link.link}")
        if isinstance(found, Directory):
            raise InvalidLayerError(f"a hard link to a directory: {link.link}")
        return found

    def _find_hidden(self, path: Path) -> Inode | None:
        for depth in range(1, len(path) + 1):
            hidden = self._hidden.get(path[:depth])
            if depth == len(path):
                return hidden
            if isinstance(hidden, Directory):
                return _find(hidden, path[depth:])
        return None


def _implied(layer: int) -> Directory:
    """A directory that entries lie in, and none describes."""
    return Directory(_IMPLIED, layer, -1, {})


def _copy(directory: Directory) -> Directory:
    return Directory(directory.entry, directory.layer, directory.position, dict(directory.children))


def _is_symlink(inode: Inode) -> bool:
    return inode.entry.kind is Kind.SYMLINK


def _find(root: Directory, path: Path) -> Inode | None:
    if not path:
        return root
    parent = _walk(root, path[:-1])
    return None if parent is None else parent.children.get(path[-1])


def _walk(root: Directory, path: Path) -> Directory | None:
    """The directory at *path*, following symbolic links; None where there is none."""
    return follow(root, path, _look)


def _look(directory: Directory, name: str) -> Directory | str | None:
    child = directory.children.get(name)
    if isinstance(child, Directory):
        return child
    return child.entry.link if child is not None and _is_symlink(child) else None
