"""What happened to a job, in order: the source of logs and of event streams."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, text

from transship.store.catalog.db.schema import events, jobs, waits

_INSERT = insert(events)
_INSERT_ONE = insert(events).values(
    job=bindparam("job"),
    parent=select(jobs.c.parent).where(jobs.c.id == bindparam("job")).scalar_subquery(),
    time=bindparam("time"),
    type=bindparam("type"),
    data=bindparam("data"),
)
_INSERT_FOR_WAITING = insert(events).from_select(
    ["job", "parent", "time", "type", "data"],
    select(
        waits.c.job,
        jobs.c.parent,
        bindparam("now"),
        bindparam("what"),
        bindparam("facts", type_=events.c.data.type),
    )
    .join(jobs, jobs.c.id == waits.c.job)
    .where(waits.c.transfer == bindparam("waited_for"), text("NOT ended")),
)


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
    """Something that has happened to *job*, a child of *parent* or of nobody."""

    job: str
    parent: str | None
    type: str
    data: dict[str, Any]


def record(connection: Connection, job: str, type_: str, now: float, /, **data: Any) -> None:
    """Add an event to the job's history."""
    connection.execute(_INSERT_ONE, {"job": job, "time": now, "type": type_, "data": data})


def record_all(connection: Connection, new: Iterable[NewEvent], now: float) -> None:
    """Add events, in their order."""
    rows = [
        {"job": one.job, "parent": one.parent, "time": now, "type": one.type, "data": one.data}
        for one in new
    ]
    if rows:
        connection.execute(_INSERT, rows)


def record_for_waiting(
    connection: Connection, transfer: int, type_: str, now: float, /, **data: Any
) -> None:
    """Add an event to the history of every job that waits for a transfer, in one statement."""
    connection.execute(
        _INSERT_FOR_WAITING, {"waited_for": transfer, "what": type_, "now": now, "facts": data}
    )


def of_job(
    connection: Connection, job: str, *, children: bool = False, after: int = 0, limit: int = 1000
) -> list[Event]:
    """The events of a job, and of its *children*, with an id above *after*; oldest first."""
    columns = (events.c.id, events.c.job, events.c.time, events.c.type, events.c.data)
    found: list[Event] = []
    for whose in (events.c.job, events.c.parent) if children else (events.c.job,):
        rows = connection.execute(
            select(*columns)
            .where(whose == job, events.c.id > after)
            .order_by(events.c.id)
            .limit(limit)
        )
        found += [Event(*row) for row in rows]
    return sorted(found, key=lambda event: event.id)[:limit]
