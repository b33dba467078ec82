"""Single paths of the file system that layers add up to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from transship.store.errors import NotFoundError
from transship.store.layers.compose.assemble import Assembled, Named, assemble
from transship.store.layers.compose.paths import Path, join, parse_path
from transship.store.layers.compose.tree import Directory, Inode, Tree, apply_layers
from transship.store.layers.sources import Check, LayerSource, never
from transship.store.layers.tar.reader import Entry


class MergedTree:
    """The file system of some layers, read once; a value that threads may share."""

    def __init__(self, layers: Sequence[LayerSource], *, check: Check = never) -> None:
        """Read *layers*, the lowest first, each to its end.

        Raises:
            InvalidLayerError, DecompressionError, ExpansionError: a layer cannot be understood.
        """
        self._layers = layers
        self._tree = Tree()
        apply_layers(self._tree, layers, check)

    def stat(self, path: str) -> Entry:
        """What is at *path*; the answer's name is *path* again.

        Symbolic links are followed within the image, but for the last component; that too where a
        slash or `/.` comes after it.

        Raises:
            NotFoundError: nothing is there, or no directory where there has to be one.
        """
        wanted, found = self._find(path)
        return found.entry._replace(name=join(wanted))

    def list(self, path: str = "/") -> Iterator[Entry]:
        """Yield what is at *path* and all below it, sorted, directories before what is in them.

        Of the names of one inode each has its entry as the inode has it.

        Raises:
            NotFoundError: see `stat`.
        """
        wanted, found = self._find(path)
        for named in _below(join(wanted), found):
            assert named.inode is not None
            yield named.inode.entry._replace(name=named.path)

    def export(
        self, path: str, write: Callable[[bytes], object], *, check: Check = never
    ) -> Assembled:
        """Write what is at *path*, with all below it, as a tar.

        Its names begin with the last component of *path*, as those of `docker cp` do; with `.`
        for the root, and where *path* ends in `/.`. The layers that hold its content are read
        again.

        Raises:
            NotFoundError: see `stat`; nothing is written.
        """
        wanted, found = self._find(path)
        if path.endswith("/."):
            names = _below(".", found, prefix="./")
        else:
            names = _below(wanted[-1] if wanted else ".", found)
        return assemble(names, self._layers, write, clamp=None, check=check)

    def _find(self, path: str) -> tuple[Path, Inode]:
        wanted = parse_path(path)
        found: Inode | None
        if path.endswith(("/", "/.")):
            found, what = self._tree.directory(wanted), "directory"
        else:
            found, what = self._tree.find(wanted), "path"
        if found is None:
            raise NotFoundError(f"no such {what} in the image", subject=f"/{'/'.join(wanted)}")
        return wanted, found


def _below(name: str, inode: Inode, *, prefix: str = "") -> Iterator[Named]:
    """Yield *inode* and all below it; those below `.` have names that begin with *prefix*."""
    below_root = prefix
    unfinished = [(name, inode)]
    while unfinished:
        name, inode = unfinished.pop()
        yield Named(name, inode)
        if isinstance(inode, Directory):
            prefix = below_root if name == "." else f"{name}/"
            unfinished += [
                (f"{prefix}{child}", inode.children[child])
                for child in sorted(inode.children, reverse=True)
            ]
