"""What happened to a job, in order: the source of logs and of event streams."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select

from store.catalog.schema import events, jobs

_INSERT = insert(events)


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened; *id* grows and is never given twice."""

    id: int
    job: str
    time: float
    type: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class NewEvent:
    """Something that has happened to *job*."""

    job: str
    type: str
    data: dict[str, Any]


def record(connection: Connection, job: str, type_: str, now: float, /, **data: Any) -> None:
    """Add an event to the job's history."""
    record_all(connection, [NewEvent(job, type_, data)], now)


def record_all(connection: Connection, new: Iterable[NewEvent], now: float) -> None:
    """Add events, in their order."""
    rows = [{"job": one.job, "time": now, "type": one.type, "data": one.data} for one in new]
    if rows:
        connection.execute(_INSERT, rows)


def of_job(
    connection: Connection, job: str, *, children: bool = False, after: int = 0, limit: int = 1000
) -> list[Event]:
    """The events of a job, and of its *children*, with an id above *after*; oldest first."""
    mine = events.c.job == job
    if children:
        mine |= events.c.job.in_(select(jobs.c.id).where(jobs.c.parent == job))
    rows = connection.execute(
        select(events.c.id, events.c.job, events.c.time, events.c.type, events.c.data)
        .where(mine, events.c.id > after)
        .order_by(events.c.id)
        .limit(limit)
    )
    return [Event(*row) for row in rows]
