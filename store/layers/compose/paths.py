"""Names of entries as paths below the root of an image."""

from __future__ import annotations

from transship.store.errors import InvalidLayerError

Path = tuple[str, ...]  # from the root, which is ()


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
