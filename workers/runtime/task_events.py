"""What Celery's monitors are told of jobs, so that Flower shows those and not the messages.

A job is one task: its id is the task's, its label the task's arguments. Each event says both, for
a monitor may have come after the first. A job that is claimed again, after it has waited, is told
of once; one that was up to date when it was made, never.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select

from transship.store.catalog.db.schema import jobs as job_rows
from transship.store.catalog.db.sql import chunks
from transship.store.catalog.scheduling import jobs
from transship.store.catalog.scheduling.jobs import End, JobLease
from transship.workers.runtime.wire import TaskEvent

LONGEST = 500  # characters of a result, or of a failure


def claimed(leases: Iterable[JobLease]) -> list[TaskEvent]:
    """That jobs have begun; nothing of those that were claimed before."""
    at = time.time()
    return [
        TaskEvent(type_, lease.id, lease.kind, lease.label, at, {})
        for lease in leases
        if lease.fence == 1
        for type_ in ("task-received", "task-started")
    ]


def ended(ends: Iterable[End], now: float) -> list[TaskEvent]:
    """How jobs have ended that were held; *now* is when, by the database's clock."""
    at = time.time()
    events: list[TaskEvent] = []
    for end in ends:
        lease, error = end.lease, None if end.error is None else end.error.as_json()
        seconds = max(0.0, now - lease.started_at)
        type_, fields = _end(end.state, end.result, error, seconds)
        events.append(TaskEvent(type_, lease.id, lease.kind, lease.label, at, fields, seconds))
    return events


def stopped(connection: Connection, ids: Sequence[str], reason: str) -> list[TaskEvent]:
    """How jobs have ended that were stopped for *reason* while nobody held them."""
    at = time.time()
    error = jobs.stop_error(reason)
    type_, fields = _end("cancelled" if error is None else "failed", None, error, 0.0)
    columns = (job_rows.c.id, job_rows.c.kind, job_rows.c.label)
    return [
        TaskEvent(type_, row.id, row.kind, row.label, at, fields)
        for some in chunks(ids)
        for row in connection.execute(select(*columns).where(job_rows.c.id.in_(some)))
    ]


def _end(
    state: str, result: Mapping[str, Any] | None, error: Mapping[str, Any] | None, runtime: float
) -> tuple[str, dict[str, Any]]:
    """The type of an end's event, and what it says."""
    if state == "succeeded":
        return "task-succeeded", {"result": _short(result or {}), "runtime": runtime}
    if state == "cancelled":
        return "task-revoked", {"terminated": False, "signum": None, "expired": False}
    return "task-failed", {"exception": _cause(error or {})}


def _short(result: Mapping[str, Any]) -> str:
    """The facts of a result, without what it lists."""
    facts = (
        f"{name}={value}"
        for name, value in result.items()
        if value is not None and not isinstance(value, list | dict)
    )
    return _line(", ".join(facts))


def _cause(error: Mapping[str, Any]) -> str:
    """Side and cause: `source: manifest-not-found: here.test/app:1: image not found`."""
    parts = (error.get(name) for name in ("side", "code", "subject", "detail"))
    return _line(": ".join(str(one) for one in parts if one))


def _line(text: str) -> str:
    """*text* in one line that is not too long for a table."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
