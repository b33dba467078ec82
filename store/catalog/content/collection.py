"""What may be collected, as far as the catalog knows: snapshots to mark in, rows to sweep.

Each collection has a number. Who leases a blob, or brings it in, stamps its row with the number of
the newest collection; a sweep deletes only rows without its own number on them. Leasing and
sweeping both lock a blob's row first and look in a second statement.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    TextClause,
    delete,
    exists,
    func,
    select,
    text,
    union,
    update,
)

from transship.store.catalog.db.schema import (
    JOB_ACTIVE,
    TRANSFER_ACTIVE,
    blob_origins,
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
from transship.store.catalog.db.sql import chunks


@dataclass(frozen=True, slots=True)
class UsedBlob:
    """A blob in the store, and when it was last of use."""

    size: int
    used_at: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The store at one moment: what is asked for, what holds on to what, what is there."""

    roots: frozenset[str]
    edges: Mapping[str, Sequence[str]]
    held: Mapping[str, UsedBlob]


def begin(connection: Connection) -> int:
    """Open a collection and return its number; whatever is leased from now on is spared by it."""
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
        held={digest: UsedBlob(size, used_at) for digest, size, used_at in held},
    )


def sweep(connection: Connection, digests: Collection[str], number: int) -> dict[str, int]:
    """Delete the rows of those *digests* that nobody has leased since collection *number* began.

    Returns what was deleted, with sizes. The caller moves the files after the commit: no row
    means absent, whatever lies on the disk.
    """
    leased = exists().where(leases.c.digest == blobs.c.digest)
    swept: dict[str, int] = {}
    for some in chunks(sorted(digests)):
        connection.execute(
            select(blobs.c.digest)
            .where(blobs.c.digest.in_(some))
            .order_by(blobs.c.digest)
            .with_for_update()
        )
        gone = connection.execute(
            delete(blobs)
            .where(blobs.c.digest.in_(some), blobs.c.collection < number, ~leased)
            .returning(blobs.c.digest, blobs.c.size)
        )
        swept.update((row.digest, row.size) for row in gone)
    for some in chunks(swept):
        for column in (edges.c.parent, layers.c.digest, blob_origins.c.digest):
            connection.execute(delete(column.table).where(column.in_(some)))
    return swept


def wanted(connection: Connection, digests: Collection[str]) -> set[str]:
    """Those of *digests* that have a row, a lease, or a transfer that is under way."""
    return (
        held(connection, digests)
        | _among(connection, leases.c.digest, digests)
        | _among(connection, transfers.c.digest, digests, text(TRANSFER_ACTIVE))
    )


def held(connection: Connection, digests: Collection[str]) -> set[str]:
    """Those of *digests* that have a row."""
    return _among(connection, blobs.c.digest, digests)


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
    found = _among(connection, leases.c.digest, digests)
    for column in (edges.c.child, references.c.digest, images.c.digest, workspace_layers.c.digest):
        found -= _among(connection, column, digests)
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


def _among(
    connection: Connection,
    column: ColumnElement[str],
    digests: Collection[str],
    *conditions: ColumnElement[bool] | TextClause,
) -> set[str]:
    """Those of *digests* that *column* holds in a row that meets the *conditions*."""
    found: set[str] = set()
    for some in chunks(digests):
        query = select(column).where(column.in_(some), *conditions)
        found.update(connection.execute(query).scalars())
    return found


def stale_holders(connection: Connection) -> list[str]:
    """Holders of leases that are jobs which have ended, or are not on record any more.

    An owner that was declared dead may have leased once more after its job had ended. Holders
    that are no jobs have a colon in their names. Reads every lease: no transaction that writes
    should.
    """
    active = exists().where(jobs.c.id == leases.c.holder, text(JOB_ACTIVE))
    stale = select(leases.c.holder).where(~active, ~leases.c.holder.contains(":"))
    return list(connection.execute(stale.distinct()).scalars())


def drop_stale(connection: Connection, holders: Collection[str]) -> None:
    """Let go of what *holders* lease that are stale still."""
    active = exists().where(jobs.c.id == leases.c.holder, text(JOB_ACTIVE))
    for some in chunks(holders):
        connection.execute(delete(leases).where(leases.c.holder.in_(some), ~active))
