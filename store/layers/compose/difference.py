"""What layers change in the tree below them."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from transship.store.layers.compose.assemble import Named
from transship.store.layers.compose.tree import Directory, Inode


class ChangeKind(StrEnum):
    """Docker's letters for what happened to a path."""

    CHANGED = "C"
    ADDED = "A"
    DELETED = "D"


class Changed(NamedTuple):
    """A path that layers changed; *inode* is None where it was deleted."""

    path: str
    change: ChangeKind
    inode: Inode | None


class _Step(NamedTuple):
    path: str
    inode: Inode | None
    before: Inode | None


def changes(top: Directory, below: Directory, first_layer: int) -> Iterator[Changed]:
    """Compare a tree with what was *below* before its layers from *first_layer* on were applied.

    Sorted, directories before what is in them. Whatever those layers wrote counts as changed, and
    so do the directories on the way to a change and the other names of an inode that got a new
    one, for a layer can only link to what it holds itself. Of a deleted directory only its own path
    is named.
    """
    relinked = _relinked(top, below, first_layer) if first_layer else set()
    way: list[_Step] = []  # directories that may not be changed, down to where we are
    for step in _walk(top, below):
        while way and not _is_below(step.path, way[-1].path):
            way.pop()
        if not _is_changed(step, first_layer, relinked):
            # A root that no entry describes has no attributes to pass on.
            if isinstance(step.inode, Directory) and (step.path != "." or step.inode.described):
                way.append(step)
            continue
        yield from map(_describe, way)
        way.clear()
        yield _describe(step)


def difference(top: Directory, below: Directory, first_layer: int) -> Iterator[Named]:
    """The same as entries of a layer."""
    for changed in changes(top, below, first_layer):
        yield Named(changed.path, changed.inode)


def _relinked(top: Directory, below: Directory, first_layer: int) -> set[int]:
    """The inodes of the layers below that got a new name."""
    return {
        id(step.inode)
        for step in _walk(top, below)
        if step.inode is not None
        and not isinstance(step.inode, Directory)
        and step.inode is not step.before
        and step.inode.layer < first_layer
    }


def _is_changed(step: _Step, first_layer: int, relinked: set[int]) -> bool:
    if step.inode is None:
        return True
    if isinstance(step.inode, Directory):
        return step.inode.layer >= first_layer
    return step.inode is not step.before or id(step.inode) in relinked


def _describe(step: _Step) -> Changed:
    if step.inode is None:
        return Changed(step.path, ChangeKind.DELETED, None)
    change = ChangeKind.ADDED if step.before is None else ChangeKind.CHANGED
    return Changed(step.path, change, step.inode)


def _is_below(path: str, directory: str) -> bool:
    return directory == "." or path.startswith(f"{directory}/")


def _walk(top: Directory, below: Directory) -> Iterator[_Step]:
    """Every path of either tree, sorted within its directory; not below what is in *top* no more.

    A directory that replaces something else has nothing before it but itself.
    """
    yield _Step(".", top, below)
    unfinished = [_children("", top, below)]
    while unfinished:
        step = next(unfinished[-1], None)
        if step is None:
            unfinished.pop()
            continue
        yield step
        if isinstance(step.inode, Directory):
            before = step.before if isinstance(step.before, Directory) else None
            unfinished.append(_children(f"{step.path}/", step.inode, before))


def _children(prefix: str, directory: Directory, before: Directory | None) -> Iterator[_Step]:
    earlier = before.children if before is not None else {}
    for name in sorted(directory.children.keys() | earlier.keys()):
        yield _Step(f"{prefix}{name}", directory.children.get(name), earlier.get(name))
