"""How long ended jobs, and what was seen and done, stay on record.

Each call deletes a page, by an index that leads to what is old: more would hold the write lock too
long, and a table must not be read for what there is nothing of.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    ColumnClause,
    Connection,
    Table,
    and_,
    bindparam,
    delete,
    exists,
    func,
    literal_column,
    select,
    text,
    tuple_,
)

from transship.store.catalog.db.schema import (
    JOB_ENDED_AT,
    JOB_TOP_ENDED,
    TRANSFER_ACTIVE,
    blob_sources,
    derivations,
    events,
    image_events,
    job_children,
    jobs,
    mirror_runs,
    targets,
    transfers,
    waits,
)
from transship.store.catalog.db.sql import chunks
from transship.store.catalog.scheduling.jobs import ACTIVE, active

MAX_AT_ONCE = 200  # jobs
RECORDS_AT_ONCE = 2000  # rows of each table


def forget(connection: Connection, before: float) -> int:
    """Delete jobs that ended before *before*, as their root did, with all that belongs to them.

    At most `MAX_AT_ONCE` at a time, children before parents, and none of a tree that is active;
    returns how many went. The newest job stays, whatever its age: SQLite would give its number to
    the next one, which would then look older than what has written the names that it is to write.
    """
    tree = jobs.alias("tree")
    busy = exists().where(tree.c.root == jobs.c.root, active(tree))
    newest = connection.execute(
        select(jobs.c.id, jobs.c.root).where(
            jobs.c.seq == select(func.max(jobs.c.seq)).scalar_subquery()
        )
    ).one_or_none()
    if newest is None:
        return 0
    roots = connection.execute(
        select(jobs.c.id, jobs.c.kind)
        .where(text(JOB_TOP_ENDED), text(f"{JOB_ENDED_AT} > 0"), before > _ENDED_AT, ~busy)
        .order_by(_ENDED_AT)
        .limit(MAX_AT_ONCE)
        .with_for_update(skip_locked=True)
    ).all()
    gone: list[str] = []
    runs: list[str] = []
    for root in roots:
        left = MAX_AT_ONCE - len(gone)
        if left <= 0:
            break
        below = select(jobs.c.id).where(jobs.c.parent == root.id, jobs.c.id != newest.id)
        children = list(connection.execute(below.limit(left)).scalars())
        gone += children
        if len(children) < left and root.id != newest.root:
            gone.append(root.id)
            if root.kind == "mirror":
                runs.append(root.id)
    if gone:
        _forget_jobs(connection, gone, runs)
    return len(gone)


def forget_records(connection: Connection, before: float) -> int:
    """Delete a page of what happened to images, was seen or was derived, *before*.

    Of names in registries those go that no active job could write any more than a newer one has.
    Returns how many rows went from the table that had the most: less than a page, and all is done.
    """
    oldest = [connection.execute(_OLDEST, {"state": state}).scalar() for state in ACTIVE]
    first = min((seq for seq in oldest if seq is not None), default=_NO_JOB_IS_OLDER)
    return max(
        _forget_page(connection, image_events, image_events.c.time < before, image_events.c.time),
        _forget_page(
            connection,
            blob_sources,
            blob_sources.c.confirmed_at < before,
            blob_sources.c.confirmed_at,
        ),
        _forget_page(
            connection, derivations, derivations.c.used_at < before, derivations.c.used_at
        ),
        _forget_page(
            connection,
            targets,
            and_(
                text("holder IS NULL"),
                targets.c.written_seq < first,
            ),
            targets.c.written_seq,
        ),
    )


_ENDED_AT: ColumnClause[float] = literal_column(JOB_ENDED_AT)
_NO_JOB_IS_OLDER = 2**62
# Between two bounds that are the same, so that PostgreSQL takes the index that begins with the
# state: for a single state it would look at one job after the other in the order of their numbers.
_OLDEST = (
    select(jobs.c.seq)
    .where(jobs.c.state >= bindparam("state"), jobs.c.state <= bindparam("state"))
    .order_by(jobs.c.state, jobs.c.seq)
    .limit(1)
)


def _forget_page(connection: Connection, table: Table, old: Any, order: Any) -> int:
    key = list(table.primary_key.columns)
    some = select(*key).where(old).order_by(order).limit(RECORDS_AT_ONCE)
    rows = connection.execute(delete(table).where(tuple_(*key).in_(some)))
    return rows.rowcount


def _forget_jobs(connection: Connection, gone: list[str], runs: list[str]) -> None:
    connection.execute(delete(events).where(events.c.job.in_(gone)))
    left = set(
        connection.execute(
            delete(waits).where(waits.c.job.in_(gone)).returning(waits.c.transfer)
        ).scalars()
    )
    waited_for = exists().where(waits.c.transfer == transfers.c.id)
    for ids in chunks(left):
        connection.execute(
            delete(transfers).where(
                transfers.c.id.in_(ids), text(f"NOT ({TRANSFER_ACTIVE})"), ~waited_for
            )
        )
    if runs:
        connection.execute(delete(mirror_runs).where(mirror_runs.c.job.in_(runs)))
    connection.execute(delete(job_children).where(job_children.c.job.in_(gone)))
    connection.execute(delete(jobs).where(jobs.c.id.in_(gone)))
