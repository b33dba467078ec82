"""How far jobs are: what is in their rows, and what is in flight for them.

A job's row has what the job found in place, and what each of its waits came to when it ended; the
row of its children has the sums of theirs. In flight is what running transfers have carried so
far, and of those there are as many as the limits allow: nothing here walks over waits or children.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, select, text, update

from transship.store.catalog.db.schema import TRANSFER_RUNNING, job_children, jobs, transfers, waits
from transship.store.catalog.db.sql import chunks
from transship.store.catalog.scheduling import children


@dataclass(frozen=True, slots=True)
class Progress:
    """Blobs and bytes: *skipped* were in place, came with another job, or from an earlier try."""

    bytes_total: int = 0
    bytes_done: int = 0
    bytes_moved: int = 0
    bytes_skipped: int = 0
    blobs_total: int = 0
    blobs_done: int = 0

    def __add__(self, other: Progress) -> Progress:
        """The sum, figure by figure."""
        return Progress(
            self.bytes_total + other.bytes_total,
            self.bytes_done + other.bytes_done,
            self.bytes_moved + other.bytes_moved,
            self.bytes_skipped + other.bytes_skipped,
            self.blobs_total + other.blobs_total,
            self.blobs_done + other.blobs_done,
        )


@dataclass(frozen=True, slots=True)
class Carried:
    """What a transfer has come to: bytes of the blob that are there, and bytes over the wire."""

    done: int = 0
    moved: int = 0
    whole: bool = False

    def for_wait(self, *, joined: bool) -> Counter[str]:
        """What that is worth to a job that waits for it; one that *joined* has moved nothing."""
        moved = 0 if joined else min(self.moved, self.done)
        return Counter(
            bytes_moved=moved, bytes_skipped=self.done - moved, blobs_moved=int(self.whole)
        )


@dataclass(frozen=True, slots=True)
class EndedWait:
    """A wait that ends now and counts for the progress of its job; what there is of the blob."""

    job: str
    parent: str | None  # of the job
    joined: bool
    carried: Carried


_IDS: BindParameter[Sequence[str]] = bindparam("ids", expanding=True)
_CREDITED = ("bytes_moved", "bytes_skipped", "blobs_moved", "blobs_skipped")
_CREDIT = (
    update(jobs)
    .where(jobs.c.id == bindparam("gaining"))
    .values({name: jobs.c[name] + bindparam(f"more_{name}") for name in _CREDITED})
)
# Two statements: for a join of many PostgreSQL reads the whole of the smaller table.
_OWN = select(jobs.c.id, jobs.c.state, *(jobs.c[name] for name in children.FIGURES)).where(
    jobs.c.id.in_(_IDS)
)
_OF_CHILDREN = select(
    *(job_children.c.job, job_children.c.running),
    *(job_children.c[name] for name in children.FIGURES),
).where(job_children.c.job.in_(_IDS))
_RUNNING = select(
    *(transfers.c.id, transfers.c.root, transfers.c.counted),
    *(transfers.c.bytes_done, transfers.c.bytes_moved),
).where(text(TRANSFER_RUNNING))
_WAITING = select(waits.c.job, waits.c.transfer, waits.c.joined).where(
    waits.c.transfer.in_(bindparam("moving", expanding=True)),
    waits.c.job.in_(_IDS),
    text("NOT waits.ended AND waits.counted"),
)


def credit(connection: Connection, ended: Iterable[EndedWait]) -> None:
    """Write down in the rows of jobs, and of their parents, what their waits came to."""
    gains: defaultdict[str, Counter[str]] = defaultdict(Counter)
    parents: dict[str, str | None] = {}
    for wait in ended:
        gains[wait.job].update(wait.carried.for_wait(joined=wait.joined))
        parents[wait.job] = wait.parent
    add(connection, gains, parents)


def add(
    connection: Connection, gains: Mapping[str, Counter[str]], parents: Mapping[str, str | None]
) -> None:
    """Add to what was moved and skipped in the rows of jobs, and of their *parents*.

    However many they are, it takes one statement, and one for each parent.
    """
    gaining = {job: gain for job, gain in sorted(gains.items()) if any(gain.values())}
    if not gaining:
        return
    connection.execute(
        _CREDIT,
        [
            {"gaining": job, **{f"more_{name}": gain[name] for name in _CREDITED}}
            for job, gain in gaining.items()
        ],
    )
    children.add(connection, [(parents[job], gain) for job, gain in gaining.items()])


def of_jobs(connection: Connection, ids: Collection[str]) -> dict[str, Progress]:
    """The progress of each job, children included."""
    total = {id_: Progress() for id_ in ids}
    alone: set[str] = set()
    parents: set[str] = set()
    for some in chunks(ids):
        for row in connection.execute(_OWN, {"ids": some}):
            total[row.id] = _of_row(row)
            if row.state == "running":
                alone.add(row.id)
        for row in connection.execute(_OF_CHILDREN, {"ids": some}):
            total[row.job] += _of_row(row)
            alone.discard(row.job)
            if row.running:
                parents.add(row.job)
    for id_, gain in _in_flight(connection, alone, parents):
        moved, skipped = gain["bytes_moved"], gain["bytes_skipped"]
        total[id_] += Progress(bytes_done=moved + skipped, bytes_moved=moved, bytes_skipped=skipped)
    for id_, found in total.items():
        if found.bytes_done > found.bytes_total:
            total[id_] = replace(found, bytes_done=found.bytes_total)
    return total


def _of_row(row: Any) -> Progress:
    return Progress(
        bytes_total=row.bytes_total,
        bytes_done=row.bytes_skipped + row.bytes_moved,
        bytes_moved=row.bytes_moved,
        bytes_skipped=row.bytes_skipped,
        blobs_total=row.blobs_total,
        blobs_done=row.blobs_skipped + row.blobs_moved,
    )


def _in_flight(
    connection: Connection, alone: Collection[str], parents: Collection[str]
) -> Iterable[tuple[str, Counter[str]]]:
    """What running transfers have carried, for jobs that wait and for parents of such jobs.

    For a parent a transfer counts once, with the child that wanted it first, however many wait.
    """
    if not alone and not parents:
        return
    carried: dict[int, Carried] = {}
    for row in connection.execute(_RUNNING):
        carried[row.id] = Carried(row.bytes_done, row.bytes_moved)
        if row.counted and row.root in parents:
            yield row.root, carried[row.id].for_wait(joined=False)
    for moving in chunks(carried):
        for some in chunks(alone):
            for wait in connection.execute(_WAITING, {"moving": moving, "ids": some}):
                yield wait.job, carried[wait.transfer].for_wait(joined=wait.joined)
