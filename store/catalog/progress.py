"""How far jobs are, from what they have found in place and what their transfers have moved.

While a job runs its figures are counted from its waits; when it ends they are written down, for
transfers go on for others. A parent's figures are the sums of its children's.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from sqlalchemy import BigInteger, Connection, case, func, select, text, update

from store.catalog.schema import jobs, transfers, waits
from store.catalog.sql import least


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
    if not ids:
        return {}
    total = {id_: Progress() for id_ in ids}
    for group in (jobs.c.id, jobs.c.parent):
        for row in connection.execute(select(group, *_SUMS).where(group.in_(ids)).group_by(group)):
            total[row[0]] += Progress(
                bytes_total=row.bytes_total,
                bytes_done=row.bytes_spared + row.bytes_moved,
                bytes_moved=row.bytes_moved,
                bytes_spared=row.bytes_spared,
                blobs_total=row.blobs_total,
                blobs_done=row.blobs_spared + row.blobs_moved,
            )
    running = connection.execute(
        select(jobs.c.id, jobs.c.parent).where(
            jobs.c.id.in_(ids) | jobs.c.parent.in_(ids), jobs.c.state == "running"
        )
    ).all()
    live = _live(connection, [row.id for row in running])
    for row in running:
        moved, joined, blobs_moved = live.get(row.id, (0, 0, 0))
        for id_ in {row.id, row.parent} & total.keys():
            total[id_] += Progress(
                bytes_done=moved + joined,
                bytes_moved=moved,
                bytes_spared=joined,
                blobs_done=blobs_moved,
            )
    return {
        id_: replace(p, bytes_done=min(p.bytes_done, p.bytes_total)) for id_, p in total.items()
    }


def settle(connection: Connection, ids: Collection[str]) -> None:
    """Write down the figures of jobs that end now."""
    for id_, (moved, joined, blobs) in _live(connection, ids).items():
        connection.execute(
            update(jobs)
            .where(jobs.c.id == id_)
            .values(
                bytes_moved=moved,
                bytes_spared=jobs.c.bytes_spared + joined,
                blobs_moved=blobs,
            )
        )


def _live(connection: Connection, ids: Collection[str]) -> dict[str, tuple[int, int, int]]:
    """For each job: bytes moved for it, bytes of transfers it joined or resumed, blobs done."""
    if not ids:
        return {}
    moved = least(transfers.c.bytes_moved, transfers.c.bytes_done)
    rows = connection.execute(
        select(
            waits.c.job,
            func.sum(case((waits.c.joined, 0), else_=moved)),
            func.sum(
                case(
                    (waits.c.joined, transfers.c.bytes_done),
                    else_=transfers.c.bytes_done - moved,
                )
            ),
            func.sum(case((transfers.c.state == text("'done'"), 1), else_=0)),
        )
        .join(transfers, transfers.c.id == waits.c.transfer)
        .where(waits.c.job.in_(ids), text("waits.counted"))
        .group_by(waits.c.job)
    )
    return {job: (int(m), int(j), int(b)) for job, m, j, b in rows}
