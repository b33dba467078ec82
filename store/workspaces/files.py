"""Files go into a workspace as tars: each put, and each removal, is one more layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from sqlalchemy import Connection

from transship.store.catalog.content import blobs, layers, workspaces
from transship.store.catalog.content.workspaces import Workspace
from transship.store.catalog.db.engine import Catalog
from transship.store.content.ports import ContentStore
from transship.store.content.present import ensure_present
from transship.store.errors import (
    ContentError,
    InvalidArchiveError,
    InvalidLayerError,
    NotFoundError,
    RequestError,
    Side,
)
from transship.store.images.build.new_layer import MadeLayer, NewLayer
from transship.store.layers.codecs.formats import Readable, open_reader
from transship.store.layers.compose.paths import Path, join, parse_path
from transship.store.layers.compose.tree import Directory, Tree, apply_layers
from transship.store.layers.compose.whiteouts import PREFIX, whiteout_name
from transship.store.layers.sources import LayerSource, never
from transship.store.layers.tar.reader import Entry, Kind, TarReader
from transship.store.layers.tar.writer import TarWriter
from transship.store.workspaces.workspaces import ground

MAX_METADATA_BYTES: Final = 512 * 1024**2  # of the files in a workspace; about a million of them
_MAX_LINKS: Final = 40  # symbolic ones in one path, as in Linux


def put(
    source: Readable,
    directory: str,
    below: Sequence[LayerSource],
    content: ContentStore,
    holder: str,
) -> MadeLayer:
    """Store the tar that *source* holds as a layer whose entries lie in *directory*.

    The tar is read as it comes, compressed or not, and written again: names count from
    *directory*, and so do the targets of hard links. Symbolic links that *directory* goes through
    are followed within the file system of *below*, as are those in names. What was there and has
    the same name is replaced; a directory over a directory takes its attributes.

    Args:
        source: Read to its end; stays open.
        directory: Where to put it; it has to be there.
        below: What the layer will lie on.
        content: Where the layer is stored. The caller leases it and writes its row.
        holder: Whose draft it is.

    Raises:
        NotFoundError: the directory is not there.
        RequestError: it is no directory.
        InvalidArchiveError: *source* holds no tar, or one that cannot be put there: a name leads
            out of the directory, begins with `.wh.`, or lies below a file or a symbolic link that
            leads nowhere, or a hard link's target is not there; or there are too many.
    """
    tree = Tree(max_metadata_bytes=MAX_METADATA_BYTES)
    apply_layers(tree, below, never)
    base = resolve_directory(tree, directory)
    with NewLayer(content, holder) as layer:
        try:
            with open_reader(source, subject="the tar") as plain:
                tree.apply(_placed(TarReader(plain), base, layer.write), as_unpacked=True)
        except ContentError as error:  # about the request's body, and not about an image
            raise InvalidArchiveError(
                error.detail, subject=error.subject, hint=error.hint, side=Side.REQUEST
            ) from error
        return layer.commit()


def remove(
    path: str, below: Sequence[LayerSource], content: ContentStore, holder: str
) -> MadeLayer:
    """Store a layer that removes *path*, and all that is below it; a link itself, not its target.

    Raises:
        NotFoundError: nothing is there.
        RequestError: it is the root.
    """
    tree = Tree(max_metadata_bytes=MAX_METADATA_BYTES)
    apply_layers(tree, below, never)
    *parents, name = request_path(path) or ("",)
    if not name:
        raise RequestError("the root cannot be removed", subject=path)
    place = (*resolve_directory(tree, join(tuple(parents))), name)
    if tree.find(place) is None:
        raise _nothing(path)
    with NewLayer(content, holder) as layer:
        tar = TarWriter(layer.write)
        tar.add(Entry(whiteout_name(join(place)), mode=0))
        tar.finish()
        return layer.commit()


def add(
    catalog: Catalog,
    content: ContentStore,
    seen: Workspace,
    made: MadeLayer,
    clock: Callable[[], float],
) -> None:
    """Let *made* be the topmost layer of a workspace that was *seen* when the layer was begun.

    Where others have changed the workspace meanwhile, it is seen to that it still fits.

    Raises:
        NotFoundError: there is no such workspace any more.
        InvalidArchiveError: it does not fit what was put there meanwhile.
    """
    before = seen
    while True:
        with catalog.write() as connection:
            now = workspaces.get(connection, seen.tenant, seen.name, lock=True)
            if now.created_at != seen.created_at:  # another one of that name
                raise NotFoundError("the workspace was removed meanwhile", subject=seen.name)
            if now.layers == before.layers:
                _record(connection, seen, made, clock())
                break
        before = now
        stack = ground(now.base, (*now.layers, str(made.digest)), content)
        _check_applies(stack.whole(content))
    ensure_present(content, [made.digest])


def _record(connection: Connection, seen: Workspace, made: MadeLayer, now: float) -> None:
    workspaces.add_layer(connection, seen.tenant, seen.name, str(made.digest), now)
    blobs.add(connection, {str(made.digest): made.size}, now)
    layers.record(connection, [made.pair], verified=True)


def _check_applies(stack: Sequence[LayerSource]) -> None:
    """Read *stack* as a file system.

    Raises:
        InvalidArchiveError: its layers do not fit each other; the topmost is the one to blame.
    """
    try:
        apply_layers(Tree(), stack, never)
    except InvalidLayerError as error:
        raise InvalidArchiveError(error.detail, subject=error.subject, side=Side.REQUEST) from error


def resolve_directory(tree: Tree, path: str) -> Path:
    """Where *path* leads, through symbolic links within *tree*, its last component too.

    Raises:
        NotFoundError: nothing is there.
        RequestError: what is there is no directory, or too many links lead to it.
    """
    way: list[str] = []
    rest = list(reversed(request_path(path)))
    links = 0
    while rest:
        name = rest.pop()
        if name in ("", "."):
            continue
        if name == "..":
            del way[-1:]
            continue
        inode = tree.find((*way, name))
        if inode is None:
            raise _nothing(path)
        if inode.entry.kind is Kind.SYMLINK:
            links += 1
            if links > _MAX_LINKS:
                raise RequestError("too many symbolic links lead there", subject=path)
            if inode.entry.link.startswith("/"):
                way.clear()
            rest += reversed(inode.entry.link.split("/"))
            continue
        if not isinstance(inode, Directory):
            raise RequestError("it is not a directory", subject=path)
        way.append(name)
    return tuple(way)


def request_path(path: str) -> Path:
    """Read a path that somebody asks for.

    Raises:
        RequestError: it leads out of the root.
    """
    try:
        return parse_path(path)
    except InvalidLayerError as error:
        raise RequestError(error.detail, subject=path) from None


def _nothing(path: str) -> NotFoundError:
    return NotFoundError("no such path in the workspace", subject=path)


def _placed(tar: TarReader, base: Path, write: Callable[[bytes], object]) -> Iterator[Entry]:
    """Write the entries of *tar* below *base*, and yield each as it was written."""
    out = TarWriter(write)
    for entry in tar:
        path = parse_path(entry.name)
        if any(part.startswith(PREFIX) for part in path):
            raise InvalidArchiveError(
                f"a name that begins with {PREFIX} stands for a removal, and not for a file",
                subject=entry.name,
                hint="remove the path itself",
            )
        if not path and entry.kind is not Kind.DIRECTORY:
            raise InvalidArchiveError("a file in the place of the directory", subject=entry.name)
        placed = entry._replace(name=join((*base, *path)))
        if entry.kind is Kind.HARDLINK:
            placed = placed._replace(link=join((*base, *parse_path(entry.link))))
        out.add(placed)
        while data := tar.read():
            out.content(data)
        yield placed
    out.finish()
