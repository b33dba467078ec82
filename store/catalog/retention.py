"""How long ended jobs, and what happened to images, stay on record."""

from __future__ import annotations

from sqlalchemy import Connection, and_, delete, exists, func, select, text

from store.catalog.jobs import ACTIVE
from store.catalog.schema import (
    TRANSFER_ACTIVE,
    blob_sources,
    blobs,
    events,
    image_events,
    jobs,
    mirror_runs,
    transfers,
    waits,
)

MOST_AT_ONCE = 200  # more would hold the write lock too long


def forget(connection: Connection, before: float) -> int:
    """Delete jobs that ended before *before*, as their root did, with all that belongs to them.

    At most `MOST_AT_ONCE` at a time, children before parents, and none of a tree that is active;
    returns how many went. The newest job stays, whatever its age: SQLite would give its number to
    the next one, which would then look older than what has written the names that it is to write.
    """
    tree, child = jobs.alias("tree"), jobs.alias("child")
    active = exists().where(tree.c.root == jobs.c.root, tree.c.state.in_(ACTIVE))
    root_is_old = exists().where(tree.c.id == jobs.c.root, tree.c.finished_at < before)
    has_children = exists().where(child.c.parent == jobs.c.id)
    newest = select(func.max(jobs.c.seq)).scalar_subquery()
    gone = list(
        connection.execute(
            select(jobs.c.id)
            .where(jobs.c.finished_at < before, root_is_old, ~active, ~has_children)
            .where(jobs.c.seq < newest)
            .order_by(jobs.c.finished_at)
            .limit(MOST_AT_ONCE)
            .with_for_update(skip_locked=True)
        ).scalars()
    )
    if gone:
        connection.execute(delete(events).where(events.c.job.in_(gone)))
        left = set(
            connection.execute(
                delete(waits).where(waits.c.job.in_(gone)).returning(waits.c.transfer)
            ).scalars()
        )
        _forget_transfers(connection, left)
        connection.execute(delete(mirror_runs).where(mirror_runs.c.job.in_(gone)))
        connection.execute(delete(jobs).where(jobs.c.id.in_(gone)))
    return len(gone)


def forget_records(connection: Connection, before: float) -> None:
    """Delete what happened to images, and where blobs that are not held were seen, *before*."""
    connection.execute(delete(image_events).where(image_events.c.time < before))
    held = exists().where(blobs.c.digest == blob_sources.c.digest)
    connection.execute(
        delete(blob_sources).where(and_(blob_sources.c.confirmed_at < before, ~held))
    )


def _forget_transfers(connection: Connection, ids: set[int]) -> None:
    waited_for = exists().where(waits.c.transfer == transfers.c.id)
    connection.execute(
        delete(transfers).where(
            transfers.c.id.in_(ids), text(f"NOT ({TRANSFER_ACTIVE})"), ~waited_for
        )
    )
