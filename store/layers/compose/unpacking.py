"""Whether a layer can be unpacked: what a daemon would find when it writes one to a disk.

Docker, podman and containerd unpack a layer into a directory of its own and stop at the first entry
that the file system refuses. This does the same with names alone, so that such a layer is refused
when it comes in, and not by whoever it is sent to. The rules are those of Docker 20.10's
`archive.Unpack` on overlay2, inside its chroot, and of tar-split, which keeps each path once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, cast

from transship.store.errors import InvalidLayerError
from transship.store.layers.compose.paths import follow, parse_path, refuse_unless_free
from transship.store.layers.compose.whiteouts import OPAQUE, PREFIX
from transship.store.layers.tar.reader import Entry, Kind

_MAX_COMPONENT_BYTES: Final = 255  # NAME_MAX

# A directory is what it holds, a symbolic link its target, and anything else None.
_Node = dict[str, "_Node"] | str | None
_Directory = dict[str, _Node]


class Unpacking:
    """The directory that one layer is unpacked into, which is empty at first."""

    def __init__(self) -> None:
        self._root: _Directory = {}
        self._names: set[str] = set()

    def add(self, entry: Entry) -> None:
        """Unpack the next entry.

        Raises:
            InvalidLayerError: it cannot be; the subject is its name.
        """
        try:
            self._add(entry)
        except InvalidLayerError as error:
            error.subject = entry.name
            raise

    def _add(self, entry: Entry) -> None:
        path = parse_path(entry.name)
        cleaned = "/" * entry.name.startswith("/") + "/".join(path)
        if cleaned in self._names:
            raise InvalidLayerError("a path that the layer has twice")
        self._names.add(cleaned)
        if not path:
            if entry.kind is not Kind.DIRECTORY:
                raise InvalidLayerError("the root of an image that is no directory")
            return
        *parents, name = path
        if len(name) > _MAX_COMPONENT_BYTES // 4 and _too_long(name):
            raise InvalidLayerError(f"a name of more than {_MAX_COMPONENT_BYTES} bytes")
        parent = self._made(parents)
        if name.startswith(PREFIX):
            self._hide(parent, name)
        elif entry.kind is Kind.DIRECTORY:
            if not isinstance(parent.get(name), dict):
                parent[name] = {}
        else:
            parent.pop(name, None)  # before a link is looked for, which may be to itself
            parent[name] = self._node(entry)

    def _hide(self, parent: _Directory, name: str) -> None:
        """A whiteout becomes a device of the hidden name, but for that of a whole directory."""
        if name == OPAQUE:
            return
        hidden = name.removeprefix(PREFIX)
        if hidden in ("", ".", ".."):
            raise InvalidLayerError("a whiteout of nothing that could be")
        if hidden in parent:
            raise InvalidLayerError("a whiteout of what the layer itself has")
        parent[hidden] = None

    def _node(self, entry: Entry) -> _Node:
        if entry.kind is Kind.SYMLINK:
            if not entry.link:
                raise InvalidLayerError("a symbolic link to nothing")
            return entry.link
        if entry.kind is not Kind.HARDLINK:
            return None
        *parents, name = parse_path(entry.link) or ("",)
        found = self._walk(parents, make=False)
        if found is None or name not in found:
            raise InvalidLayerError(f"a hard link to what the layer does not have: {entry.link}")
        target = found[name]
        if isinstance(target, dict):
            raise InvalidLayerError(f"a hard link to a directory: {entry.link}")
        return target

    def _made(self, path: Iterable[str]) -> _Directory:
        """The directory at *path*, made where it is missing."""
        node = self._root
        for name in path:
            child = node.get(name)
            if not isinstance(child, dict):  # the common case is that all are there
                return cast("_Directory", self._walk(path, make=True))
            node = child
        return node

    def _walk(self, path: Iterable[str], *, make: bool) -> _Directory | None:
        """The directory at *path*; where it is not there and is not to be made, None."""
        return follow(self._root, path, _look, _made if make else None)


def _look(directory: _Directory, name: str) -> _Directory | str | None:
    return directory.get(name)


def _made(directory: _Directory, name: str, behind_link: bool) -> _Directory:
    refuse_unless_free(name in directory, behind_link)
    made: _Directory = {}
    directory[name] = made
    return made


def _too_long(name: str) -> bool:
    return len(name.encode("utf-8", "surrogateescape")) > _MAX_COMPONENT_BYTES
