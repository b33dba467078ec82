"""How far jobs are, from what they have found in place and what their transfers have moved.

While a job runs its figures are counted from its waits; when it ends they are written down, for
transfers go on for others. A parent's figures are the sums of its children's.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from sqlalchemy import BigInteger, Column, Connection, bindparam, case, func, select, text, update

from store.catalog.schema import jobs, transfers, waits
from store.catalog.sql import chunks, least


@dataclass(frozen=True, slots=True)
class Progress:
    """Blobs and bytes: *spared* were in place, came with another job, or from an earlier try."""

    bytes_total: int = 0
    bytes_done: int = 0
    bytes_moved: int = 0
    bytes_spared: int = 0
    blobs_total: int = 0
    blobs_done: int = 0

    def __add__(self, other: Progress) -> Progress:
        """The sum, figure by figure."""
        return Progress(
            self.bytes_total + other.bytes_total,
            self.bytes_done + other.bytes_done,
            self.bytes_moved + other.bytes_moved,
            self.bytes_spared + other.bytes_spared,
            self.blobs_total + other.blobs_total,
            self.blobs_done + other.blobs_done,
        )


_SUMS = [
    func.sum(column).cast(BigInteger).label(column.name)  # PostgreSQL's sum is a decimal
    for column in (
        jobs.c.bytes_total,
        jobs.c.bytes_spared,
        jobs.c.bytes_moved,
        jobs.c.blobs_total,
        jobs.c.blobs_spared,
        jobs.c.blobs_moved,
    )
]


def of_jobs(connection: Connection, ids: Collection[str]) -> dict[str, Progress]:
    """The progress of each job, children included."""
    total = {id_: Progress() for id_ in ids}
    for some in chunks(ids):
        for group in (jobs.c.id, jobs.c.parent):
            sums = select(group, *_SUMS).where(group.in_(some)).group_by(group)
            for row in connection.execute(sums):
                total[row[0]] += Progress(
                    bytes_total=row.bytes_total,
                    bytes_done=row.bytes_spared + row.bytes_moved,
                    bytes_moved=row.bytes_moved,
                    bytes_spared=row.bytes_spared,
                    blobs_total=row.blobs_total,
                    blobs_done=row.blobs_spared + row.blobs_moved,
                )
            for id_, live in _live(connection, group, some, state="running").items():
                total[id_] += Progress(
                    bytes_done=live.moved + live.joined,
                    bytes_moved=live.moved,
                    bytes_spared=live.joined,
                    blobs_done=live.blobs,
                )
    return {
        id_: replace(p, bytes_done=min(p.bytes_done, p.bytes_total)) for id_, p in total.items()
    }


def settle(connection: Connection, ids: Collection[str]) -> None:
    """Write down the figures of jobs that end now."""
    for some in chunks(ids):
        rows = [
            {"ended": id_, "moved": live.moved, "joined": live.joined, "done": live.blobs}
            for id_, live in _live(connection, jobs.c.id, some).items()
        ]
        if rows:
            connection.execute(_SETTLE, rows)


@dataclass(frozen=True, slots=True)
class _Live:
    """Bytes moved for a job, bytes of transfers that it joined or resumed, blobs done."""

    moved: int
    joined: int
    blobs: int


_MOVED = least(transfers.c.bytes_moved, transfers.c.bytes_done)
_LIVE = [
    func.sum(case((waits.c.joined, 0), else_=_MOVED)),
    func.sum(
        case(
            (waits.c.joined, transfers.c.bytes_done),
            else_=transfers.c.bytes_done - _MOVED,
        )
    ),
    func.sum(case((transfers.c.state == text("'done'"), 1), else_=0)),
]
_SETTLE = (
    update(jobs)
    .where(jobs.c.id == bindparam("ended"))
    .values(
        bytes_moved=bindparam("moved"),
        bytes_spared=jobs.c.bytes_spared + bindparam("joined"),
        blobs_moved=bindparam("done"),
    )
)


def _live(
    connection: Connection, group: Column[str], ids: Collection[str], *, state: str | None = None
) -> dict[str, _Live]:
    """What waits and transfers say of the jobs whose *group*, id or parent, is among *ids*."""
    query = (
        select(group, *_LIVE)
        .join(waits, waits.c.job == jobs.c.id)
        .join(transfers, transfers.c.id == waits.c.transfer)
        .where(group.in_(ids), text("waits.counted"))
        .group_by(group)
    )
    if state is not None:
        query = query.where(jobs.c.state == state)
    return {
        id_: _Live(int(moved), int(joined), int(blobs))
        for id_, moved, joined, blobs in connection.execute(query)
    }
