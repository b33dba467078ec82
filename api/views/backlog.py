"""What waits for its turn, by registry and priority, counted up to a bound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, func, select, text, union_all

from transship.store.catalog.db.schema import JOB_DUE, TRANSFER_PENDING, jobs, transfers

MAX_COUNTED: Final = 10_000  # jobs, and blobs of a direction, that are counted

_DUE = select(jobs.c.lane, jobs.c.priority).where(text(JOB_DUE)).limit(MAX_COUNTED).subquery()
_JOBS = select(_DUE.c.lane, _DUE.c.priority, func.count().label("number")).group_by(
    _DUE.c.lane, _DUE.c.priority
)
_PENDING = [
    select(transfers.c.registry, transfers.c.priority)
    .where(text(TRANSFER_PENDING), transfers.c.direction == direction)
    .limit(MAX_COUNTED)
    .subquery()
    for direction in ("download", "upload")
]
_BLOBS = union_all(
    *(
        select(one.c.registry, one.c.priority, func.count().label("number")).group_by(
            one.c.registry, one.c.priority
        )
        for one in _PENDING
    )
)


@dataclass(frozen=True, slots=True, order=True)
class Waiting:
    """What waits at one registry, or at the pair that a copy asks, with one priority.

    A number of `MAX_COUNTED` may stand for more.
    """

    priority: int
    registry: str
    jobs: int = 0
    blobs: int = 0


def waiting(connection: Connection) -> list[Waiting]:
    """What nobody has taken up yet though it could begin, the most urgent first."""
    found: dict[tuple[str, int], list[int]] = {}
    read = (connection.execute(_JOBS).all(), connection.execute(_BLOBS).all())
    for which, rows in enumerate(read):
        for where, priority, number in rows:
            found.setdefault((where, priority), [0, 0])[which] += number
    each = [
        Waiting(priority, where, counts[0], counts[1])
        for (where, priority), counts in found.items()
    ]
    return sorted(each, key=lambda one: (-one.priority, one.registry))
