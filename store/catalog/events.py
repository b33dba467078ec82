"""What happened to a job, in order: the source of logs and of event streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select

from store.catalog.schema import events


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened; *id* grows and is never given twice."""

    id: int
    job: str
    time: float
    type: str
    data: dict[str, Any]


def record(connection: Connection, job: str, type_: str, now: float, /, **data: Any) -> None:
    """Add an event to the job's history."""
    connection.execute(insert(events).values(job=job, time=now, type=type_, data=data))


def of_jobs(
    connection: Connection, jobs: Sequence[str], *, after: int = 0, limit: int = 1000
) -> list[Event]:
    """The events of *jobs* with an id above *after*, oldest first."""
    rows = connection.execute(
        select(events.c.id, events.c.job, events.c.time, events.c.type, events.c.data)
        .where(events.c.job.in_(jobs), events.c.id > after)
        .order_by(events.c.id)
        .limit(limit)
    )
    return [Event(*row) for row in rows]
