"""What may be collected, as far as the catalog knows: snapshots to mark in, rows to sweep.

Each collection has a number. Who leases a blob, or brings it in, stamps its row with the number of
the newest collection; a sweep deletes only rows without its own number on them. Leasing and
sweeping both lock a blob's row first and look in a second statement.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, exists, func, or_, select, text, union, update

from store.catalog.schema import (
    JOB_ACTIVE,
    TRANSFER_ACTIVE,
    blobs,
    cluster,
    edges,
    images,
    jobs,
    layers,
    leases,
    references,
    transfers,
    workspace_layers,
    workspaces,
)


@dataclass(frozen=True, slots=True)
class Held:
    """A blob in the store, and when it was last of use."""

    size: int
    used_at: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The store at one moment: what is asked for, what holds on to what, what is there."""

    roots: frozenset[str]
    edges: Mapping[str, Sequence[str]]
    held: Mapping[str, Held]


def begin(connection: Connection) -> int:
    """Open a collection and return its number; whatever is leased from now on is spared by it."""
    _drop_stale_leases(connection)
    number = connection.execute(
        update(cluster).values(collection=cluster.c.collection + 1).returning(cluster.c.collection)
    ).scalar_one()
    return int(number)


def snapshot(connection: Connection) -> Snapshot:
    """Read all that marking needs, in one consistent view; after `begin` has been committed.

    Roots are what names stand for, images that are held, what jobs and exports lease, and what
    workspaces are made of.
    """
    roots = union(
        select(references.c.digest),
        select(images.c.digest),
        select(leases.c.digest),
        select(workspaces.c.base).where(workspaces.c.base.is_not(None)),
        select(workspace_layers.c.digest),
    )
    below: dict[str, list[str]] = {}
    for parent, child in connection.execute(select(edges.c.parent, edges.c.child)):
        below.setdefault(parent, []).append(child)
    held = connection.execute(select(blobs.c.digest, blobs.c.size, blobs.c.used_at))
    return Snapshot(
        roots=frozenset(connection.execute(roots).scalars()),
        edges=below,
        held={digest: Held(size, used_at) for digest, size, used_at in held},
    )


def sweep(connection: Connection, digests: Collection[str], number: int) -> dict[str, int]:
    """Delete the rows of those *digests* that nobody has leased since collection *number* began.

    Returns what was deleted, with sizes. The caller moves the files after the commit: no row
    means absent, whatever lies on the disk.
    """
    ordered = sorted(digests)
    connection.execute(
        select(blobs.c.digest)
        .where(blobs.c.digest.in_(ordered))
        .order_by(blobs.c.digest)
        .with_for_update()
    )
    leased = exists().where(leases.c.digest == blobs.c.digest)
    swept = {
        row.digest: row.size
        for row in connection.execute(
            delete(blobs)
            .where(blobs.c.digest.in_(ordered), blobs.c.collection < number, ~leased)
            .returning(blobs.c.digest, blobs.c.size)
        )
    }
    connection.execute(delete(edges).where(edges.c.parent.in_(swept)))
    connection.execute(delete(layers).where(layers.c.digest.in_(swept)))
    return swept


def wanted(connection: Connection, digests: Collection[str]) -> set[str]:
    """Those of *digests* that have a row, a lease, or a transfer that is under way."""
    found: set[str] = set()
    for query in (
        select(blobs.c.digest).where(blobs.c.digest.in_(digests)),
        select(leases.c.digest).where(leases.c.digest.in_(digests)),
        select(transfers.c.digest).where(text(TRANSFER_ACTIVE), transfers.c.digest.in_(digests)),
    ):
        found.update(connection.execute(query).scalars())
    return found


def held(connection: Connection, digests: Collection[str]) -> set[str]:
    """Those of *digests* that have a row."""
    return set(
        connection.execute(select(blobs.c.digest).where(blobs.c.digest.in_(digests))).scalars()
    )


def held_after(connection: Connection, digest: str, *, limit: int) -> Sequence[Any]:
    """The next *limit* blobs in the order of their digests, with their sizes."""
    return connection.execute(
        select(blobs.c.digest, blobs.c.size)
        .where(blobs.c.digest > digest)
        .order_by(blobs.c.digest)
        .limit(limit)
    ).all()


def only_leased(connection: Connection, digests: Collection[str]) -> set[str]:
    """Those of *digests* that a job waits for, and that nothing in the store holds on to yet."""
    found = set(
        connection.execute(select(leases.c.digest).where(leases.c.digest.in_(digests))).scalars()
    )
    for column in (edges.c.child, references.c.digest, images.c.digest, workspace_layers.c.digest):
        found -= set(connection.execute(select(column).where(column.in_(digests))).scalars())
    return found


def total_bytes(connection: Connection) -> int:
    """How many bytes of blobs are held."""
    return int(connection.execute(select(func.coalesce(func.sum(blobs.c.size), 0))).scalar_one())


def short_of_space(connection: Connection) -> bool:
    """Whether the store is below its floor of free space, as its workers have seen."""
    return bool(connection.execute(SHORT_OF_SPACE).scalar_one())


SHORT_OF_SPACE = select(cluster.c.short_of_space)


def note_space(connection: Connection, *, short: bool) -> bool:
    """Write down whether the store is short of space; True if that is news."""
    changed = connection.execute(
        update(cluster).where(cluster.c.short_of_space != short).values(short_of_space=short)
    )
    return changed.rowcount > 0


def _drop_stale_leases(connection: Connection) -> None:
    """Leases of jobs that have ended, or are not on record any more.

    An owner that was declared dead may have leased once more after its job had ended. Holders
    that are no jobs have a colon in their names.
    """
    active = exists().where(jobs.c.id == leases.c.holder, text(JOB_ACTIVE))
    connection.execute(delete(leases).where(~or_(active, leases.c.holder.contains(":"))))
