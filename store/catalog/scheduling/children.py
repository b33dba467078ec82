"""What the children of a job come to: how many are in which state, and the sums of their figures.

This is kept in a row of its own for each parent, and changed in the transaction that changes a
child, so that to look at a mirror of 100,000 images reads one row. It says which children the job
has had: those of an ended job are deleted in pages, and the row stays as it is until the job goes.

Whatever changes the state or the figures of a job must call `add`. The comparison of these rows
with the sums is in `tests/contract/catalog/test_children.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    bindparam,
    exists,
    literal_column,
    select,
)

from transship.store.catalog.db.schema import job_children, jobs
from transship.store.catalog.db.sql import chunks, upsert

STATES: Final = ("queued", "running", "succeeded", "failed", "cancelled")
FIGURES: Final = (
    *("bytes_total", "bytes_skipped", "bytes_moved"),
    *("blobs_total", "blobs_skipped", "blobs_moved"),
)

EXPECTED: Final = "expected"

_NOTHING: Final = dict.fromkeys((*STATES, *FIGURES, EXPECTED), 0)
_NEW = upsert(job_children)
_ADD = _NEW.on_conflict_do_update(
    index_elements=["job"],
    set_={name: job_children.c[name] + _NEW.excluded[name] for name in _NOTHING},
).returning(job_children.c.job, (job_children.c.queued + job_children.c.running).label("active"))
_FIGURES_OF = select(jobs.c.id, *(jobs.c[name] for name in FIGURES)).where(
    jobs.c.id.in_(bindparam("ids", expanding=True))
)
# The condition that no child of a job is queued or running.
NONE_ACTIVE: Final[ColumnElement[bool]] = ~exists().where(
    job_children.c.job == jobs.c.id,
    job_children.c.queued + job_children.c.running > literal_column("0"),
)
_COUNTS = select(
    job_children.c.job, job_children.c.expected, *(job_children.c[name] for name in STATES)
).where(job_children.c.job.in_(bindparam("ids", expanding=True)))


@dataclass(frozen=True, slots=True)
class Counts:
    """How many children a job has in each state, and how many it will have, as far as is known."""

    by_state: Mapping[str, int] = field(default_factory=dict)
    expected: int = 0

    @property
    def total(self) -> int:
        """How many there will be, by what is known now."""
        return max(self.expected, sum(self.by_state.values()))


def add(
    connection: Connection, changes: Iterable[tuple[str | None, Mapping[str, int]]]
) -> set[str]:
    """Add to the rows of parents: for each changed child its parent, and what there is more of.

    What is named is a state, of which there is one child more or less, or a figure. Changes of
    jobs without a parent are left out; those of one parent are written together. Returns the
    parents of which no child is active now.
    """
    sums: dict[str, Counter[str]] = {}
    for parent, change in changes:
        if parent is not None:
            mine = sums.setdefault(parent, Counter())
            for name, number in change.items():
                mine[name] += number
    rows = [
        {**_NOTHING, **change, "job": parent}
        for parent, change in sorted(sums.items())
        if any(change.values())
    ]
    # One by one: a batch of rows that are returned is compiled anew for each number of them.
    return {row.job for one in rows for row in connection.execute(_ADD, one) if row.active == 0}


def figures_of(connection: Connection, jobs_: Collection[str]) -> dict[str, dict[str, int]]:
    """The figures in the rows of jobs, to tell by how much they are about to change."""
    found = {id_: dict.fromkeys(FIGURES, 0) for id_ in jobs_}
    for some in chunks(jobs_):
        for id_, *figures in connection.execute(_FIGURES_OF, {"ids": some}):
            found[id_] = dict(zip(FIGURES, figures, strict=True))
    return found


def expect(connection: Connection, job: str, number: int) -> None:
    """Say once of a job how many children it will have."""
    add(connection, [(job, {EXPECTED: number})])


def counts(connection: Connection, ids: Collection[str]) -> dict[str, Counts]:
    """How many children each job has in each state, without those of which there are none."""
    found = {id_: Counts() for id_ in ids}
    for some in chunks(ids):
        for row in connection.execute(_COUNTS, {"ids": some}):
            states = zip(STATES, row[2:], strict=True)
            found[row.job] = Counts({s: number for s, number in states if number}, row.expected)
    return found


def by_state(connection: Connection, job: str) -> Mapping[str, int]:
    """The same of one job, by state alone."""
    return counts(connection, [job])[job].by_state
