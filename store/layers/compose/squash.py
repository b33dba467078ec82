"""Many layers into one, tar to tar."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from transship.store.layers.compose.assemble import Assembled, assemble
from transship.store.layers.compose.difference import Changed, changes, difference
from transship.store.layers.compose.tree import Directory, Tree, apply_layers
from transship.store.layers.sources import Check, LayerSource, never


def squash(
    layers: Sequence[LayerSource],
    write: Callable[[bytes], object],
    *,
    onto: Sequence[LayerSource] = (),
    clamp: int | None = None,
    check: Check = never,
) -> Assembled:
    """Write one layer that does what *layers* do, the lowest first.

    With *onto*, the layer put on top of those makes the same file system as all of them. What was
    created and removed in between is not in it; what is gone is hidden by explicit whiteouts, each
    for the whole of what was below it. An entry that was written again counts as changed, though
    it may be the same as before.

    Every layer is read to its end once, and those whose files are still there a second time.
    Memory goes with the number of entries, not with their size. The tar is the same every time;
    it differs from Docker's in its order, and in the time of whiteouts, which is the clamp or 0.

    Args:
        layers: What to squash.
        write: Called with each piece of the uncompressed tar.
        onto: What stays below.
        clamp: The latest modification time that an entry may have, in seconds since the epoch:
            SOURCE_DATE_EPOCH.
        check: Called often; what it raises ends the work and is passed on.

    Raises:
        InvalidLayerError, DecompressionError, ExpansionError: a layer cannot be understood, or
            is out of bounds; the subject says which and where.
    """
    every = (*onto, *layers)
    top, below = _trees(every, len(onto), check)
    names = difference(top, below, len(onto))
    return assemble(names, every, write, clamp=clamp, check=check)


def changes_of(
    layers: Sequence[LayerSource], *, onto: Sequence[LayerSource] = (), check: Check = never
) -> list[Changed]:
    """What *layers* change in what is below them; see `difference.changes`."""
    top, below = _trees((*onto, *layers), len(onto), check)
    return list(changes(top, below, len(onto)))


def _trees(
    layers: Sequence[LayerSource], below_count: int, check: Check
) -> tuple[Directory, Directory]:
    """The tree of *layers*, and what it was before those from *below_count* on."""
    tree = Tree()
    apply_layers(tree, layers[:below_count], check)
    below = tree.snapshot()
    apply_layers(tree, layers, check, first=below_count)
    return tree.root, below
