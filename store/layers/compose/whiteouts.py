"""Whiteouts: how a layer says what it removes (image-spec, layer.md, "Whiteouts").

`.wh.NAME` hides NAME of the layers below, `.wh..wh..opq` hides all they have in its directory.
Other names that begin with `.wh..wh.` are what AUFS left behind, and mean nothing, but for the
files in `.wh..wh.plnk`, to which hard links may point.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final, NamedTuple

from transship.store.errors import InvalidLayerError
from transship.store.layers.compose.paths import Path, join

PREFIX: Final = ".wh."

_AUFS_PREFIX: Final = ".wh..wh."
OPAQUE: Final = ".wh..wh..opq"
_AUFS_LINKS: Final = ".wh..wh.plnk"


class Meaning(Enum):
    """What an entry with such a name says."""

    HIDES = auto()  # the path
    HIDES_CHILDREN = auto()  # those of the path
    AUFS_LINK = auto()  # the path's last component names a target of hard links
    NOTHING = auto()


class Whiteout(NamedTuple):
    """An entry that stands for no file."""

    meaning: Meaning
    path: Path


def parse_whiteout(path: Path) -> Whiteout | None:
    """What an entry at *path* says about the layers below; None for an entry like any other.

    Raises:
        InvalidLayerError: it hides nothing that could be, or lies in a directory with such a name.
    """
    if not path:
        return None
    *directories, name = path
    if directories and directories[0].startswith(_AUFS_PREFIX):
        is_link = directories == [_AUFS_LINKS]
        return Whiteout(Meaning.AUFS_LINK if is_link else Meaning.NOTHING, path)
    if any(directory.startswith(PREFIX) for directory in directories):
        raise InvalidLayerError("an entry below a whiteout", subject=join(path))
    if not name.startswith(PREFIX):
        return None
    if name == OPAQUE:
        return Whiteout(Meaning.HIDES_CHILDREN, path[:-1])
    if name.startswith(_AUFS_PREFIX):
        return Whiteout(Meaning.NOTHING, path)
    hidden = name.removeprefix(PREFIX)
    if hidden in ("", ".", ".."):
        raise InvalidLayerError("a whiteout of nothing that could be", subject=join(path))
    return Whiteout(Meaning.HIDES, (*path[:-1], hidden))


def whiteout_name(path: str) -> str:
    """The name of an entry that hides *path*."""
    directory, slash, name = path.rpartition("/")
    return f"{directory}{slash}{PREFIX}{name}"


def aufs_link_target(path: Path) -> str | None:
    """Which of AUFS's link targets *path* names; None where it is a path like any other."""
    return path[-1] if len(path) > 1 and path[0] == _AUFS_LINKS else None
