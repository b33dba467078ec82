"""Names of entries as paths below the root of an image."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from transship.store.errors import InvalidLayerError

Path = tuple[str, ...]  # from the root, which is ()

_MAX_LINKS: Final = 40  # symbolic ones in one name, as in Linux
_MAX_COMPONENTS: Final = 2048  # of a name after following them; PATH_MAX allows no more

D = TypeVar("D")


def parse_path(name: str) -> Path:
    """The components of *name*, cleaned by words alone, as Docker and umoci do it.

    An absolute name counts from the image's root. Symbolic links are not looked at; whoever walks
    the path meets them.

    Raises:
        InvalidLayerError: it leads out of the root.
    """
    parts = [part for part in name.split("/") if part and part != "."]
    if ".." not in parts:
        return tuple(parts)
    clean: list[str] = []
    for part in parts:
        if part != "..":
            clean.append(part)
        elif clean:
            clean.pop()
        else:
            raise InvalidLayerError("a name that leads out of the image", subject=name)
    return tuple(clean)


def join(path: Path) -> str:
    """*path* as text, without a slash at its beginning; the root is `.`."""
    return "/".join(path) or "."


def follow(
    root: D,
    path: Iterable[str],
    look: Callable[[D, str], D | str | None],
    lacking: Callable[[D, str, bool], D] | None = None,
) -> D | None:
    """The directory at *path*, as the kernel finds it in a process whose root is *root*.

    Args:
        root: Where absolute links lead, and `..` ends.
        path: Its components.
        look: What a directory has under a name: a directory, the target of a symbolic link, or
            None for a file and for nothing.
        lacking: Makes the directory that is not there, or raises; its last argument says whether
            the name comes from a link's target. Without it the answer is None.

    Raises:
        InvalidLayerError: too many links, or a way that is too long.
    """
    way = [root]
    rest = list(reversed(tuple(path)))
    named = len(rest)  # of the names left, how many are the path's own
    links = 0
    while rest:
        behind_link = len(rest) > named
        name = rest.pop()
        named = min(named, len(rest))
        if name in ("", "."):
            continue
        if name == "..":
            if len(way) > 1:  # above the root is the root
                way.pop()
            continue
        child = look(way[-1], name)
        if isinstance(child, str):
            links += 1
            if links > _MAX_LINKS:
                raise InvalidLayerError("a name with too many symbolic links in it")
            if child.startswith("/"):
                del way[1:]
            rest += reversed(child.split("/"))
            continue
        if child is None:
            if lacking is None:
                return None
            child = lacking(way[-1], name, behind_link)
        way.append(child)
        if len(way) > _MAX_COMPONENTS:
            raise InvalidLayerError("a name that is too long once its links are followed")
    return way[-1]


def refuse_unless_free(taken: bool, behind_link: bool) -> None:
    """Have a directory be made only where whoever unpacks a layer would make it.

    Raises:
        InvalidLayerError: something is there that is no directory, or the name is in the target of
            a symbolic link, which then leads nowhere.
    """
    if taken:
        raise InvalidLayerError("a file where a directory has to be")
    if behind_link:
        raise InvalidLayerError("a name behind a symbolic link that leads nowhere")
