"""Policies of what is to be mirrored, as the server keeps them, and their runs.

A run is a job. Whoever starts one reads the policy, and makes what it can of it, while others may
write; then it locks the policy's row, sees that it is as it was read, and looks in a second
statement whether a run is going on, so that no two workers, and no schedule and person, start one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Row, delete, insert, select, update

from transship.store.catalog.db.due import due
from transship.store.catalog.db.schema import jobs, mirror_runs
from transship.store.catalog.db.schema import mirrors as table
from transship.store.catalog.db.sql import upsert
from transship.store.catalog.scheduling.jobs import ACTIVE
from transship.store.errors import ConflictError, NotFoundError, Side

_LATEST = 3  # of the runs of a policy


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMirror:
    """A policy as it was when read.

    Attributes:
        spec: Of the job that a run is.
        enabled: Whether its interval counts.
        interval: Seconds between the beginnings of two runs; None: it runs when it is asked for.
        next_run: When the next one is due, if it is enabled and has an interval.
    """

    name: str
    spec: Mapping[str, Any]
    enabled: bool
    interval: float | None
    next_run: float
    created_at: float
    updated_at: float


def put(
    connection: Connection,
    name: str,
    *,
    spec: Mapping[str, Any],
    interval: float | None,
    enabled: bool,
    now: float,
) -> bool:
    """Keep a policy, in place of the one of that name; say whether it is new.

    With another interval than before it is due at once; with the same, when it was. A run that is
    going on stays as it is.
    """
    values: dict[str, Any] = {
        "spec": dict(spec),
        "enabled": enabled,
        "interval": interval,
        "updated_at": now,
    }
    at_once = {"next_run": now, "next_run_delay": 0.0}
    before = _locked(connection, name)
    if before is not None:
        values |= {} if before.interval == interval else at_once
        connection.execute(update(table).where(table.c.name == name).values(**values))
        return False
    values |= at_once
    connection.execute(
        upsert(table)
        .values(name=name, created_at=now, **values)
        .on_conflict_do_update(index_elements=["name"], set_=values)
    )
    return True


def get(connection: Connection, name: str) -> StoredMirror:
    """The policy *name*.

    Raises:
        NotFoundError: there is none.
    """
    row = connection.execute(select(table).where(table.c.name == name)).one_or_none()
    if row is None:
        raise _missing(name)
    return _read(row)


def listed(connection: Connection) -> list[StoredMirror]:
    """Every policy, by name."""
    return [_read(row) for row in connection.execute(select(table).order_by(table.c.name))]


def enable(connection: Connection, name: str, enabled: bool, now: float) -> None:
    """Let the interval of a policy count, or not.

    Raises:
        NotFoundError: there is none of that name.
    """
    changed = update(table).where(table.c.name == name).values(enabled=enabled, updated_at=now)
    if connection.execute(changed).rowcount != 1:
        raise _missing(name)


def remove(connection: Connection, name: str) -> None:
    """Forget a policy and which jobs were its runs; the jobs stay, and one under way goes on.

    Raises:
        NotFoundError: there is none of that name.
    """
    if connection.execute(delete(table).where(table.c.name == name)).rowcount != 1:
        raise _missing(name)
    connection.execute(delete(mirror_runs).where(mirror_runs.c.mirror == name))


def due_now(connection: Connection, now: float) -> list[StoredMirror]:
    """The policies whose time has come, but for those of which a run is going on still."""
    # The names first: a policy may be long, and is due each second while its run outlasts it.
    names = connection.execute(select(table.c.name).where(_is_due(now)).order_by(table.c.name))
    idle = [name for name in names.scalars().all() if running(connection, name) is None]
    return [get(connection, name) for name in idle]


def start_due(connection: Connection, seen: StoredMirror, now: float) -> bool:
    """Take the run of *seen* that is due; False where somebody else was first.

    Also False where the policy has been changed since, and while a run is going on: the next one
    starts when that has ended. The caller makes the job in the same transaction, and tells of it
    by `record_run`.
    """
    row = _locked(connection, seen.name)
    if row is None or row.updated_at != seen.updated_at or running(connection, seen.name):
        return False
    return _started(connection, row, now, _is_due(now))


def start(connection: Connection, seen: StoredMirror, now: float, *, puts_off: bool = True) -> bool:
    """Begin a run that was asked for; the caller makes the job, likewise.

    It *puts off* the next one by an interval. False where the policy has been changed since it was
    *seen*.

    Raises:
        NotFoundError: there is no such policy any more.
        ConflictError: a run is going on.
    """
    row = hold_idle(connection, seen.name)
    if row.updated_at != seen.updated_at:
        return False
    return not puts_off or _started(connection, row, now, table.c.name == seen.name)


def hold_idle(connection: Connection, name: str) -> Any:
    """Keep everybody else from starting a run until this transaction has ended.

    Raises:
        NotFoundError: there is no such policy.
        ConflictError: a run is going on.
    """
    row = _locked(connection, name)
    if row is None:
        raise _missing(name)
    if (other := running(connection, name)) is not None:
        raise ConflictError(
            "a run of this mirror is under way",
            subject=name,
            hint=f"see `transship jobs show {other}`",
        )
    return row


def record_run(
    connection: Connection, name: str, policy: Mapping[str, Any], job: str, now: float
) -> None:
    """Write down that *job* is a run of the mirror, whose policy is *policy* now."""
    row = {"job": job, "mirror": name, "policy": _hashed(policy), "started_at": now}
    connection.execute(insert(mirror_runs).values(row))


def of_run(connection: Connection, job: str) -> str | None:
    """The policy that *job* was a run of, if it was one."""
    return connection.execute(select(mirror_runs.c.mirror).where(mirror_runs.c.job == job)).scalar()


def check_in_force(connection: Connection, name: str, job: str) -> StoredMirror:
    """The policy *name*, which says what it said when *job* was a run of it.

    Raises:
        NotFoundError: there is no such policy any more.
        ConflictError: it has been changed since.
    """
    stored = get(connection, name)
    then = connection.execute(select(mirror_runs.c.policy).where(mirror_runs.c.job == job)).scalar()
    if then != _hashed(stored.spec):
        raise ConflictError(
            "the mirror has been changed since this run",
            subject=name,
            hint=f"start a new one by `transship mirrors run {name}`",
        )
    return stored


def running(connection: Connection, name: str) -> str | None:
    """The job of the run that is going on, if there is one: none starts before the last has ended.

    A few are looked at, for a clock that was set back confuses their order.
    """
    latest = (
        select(mirror_runs.c.job)
        .where(mirror_runs.c.mirror == name)
        .order_by(mirror_runs.c.started_at.desc())
        .limit(_LATEST)
    )
    for job in connection.execute(latest).scalars().all():
        state = connection.execute(select(jobs.c.state).where(jobs.c.id == job)).scalar()
        if state in ACTIVE:
            return str(job)
    return None


def runs(
    connection: Connection,
    name: str,
    which: ColumnElement[bool],
    *columns: Column[Any],
    limit: int,
) -> list[Row[Any]]:
    """Those *columns* of the jobs that were runs of a policy and meet *which*, the newest first."""
    return list(
        connection.execute(
            select(*columns)
            .join(mirror_runs, mirror_runs.c.job == jobs.c.id)
            .where(mirror_runs.c.mirror == name, which)
            .order_by(jobs.c.seq.desc())
            .limit(limit)
        ).all()
    )


def last_run(connection: Connection, name: str) -> Any:
    """Of the newest run: id, state, created_at and finished_at of its job; None before any."""
    return connection.execute(
        select(jobs.c.id, jobs.c.state, jobs.c.created_at, jobs.c.finished_at)
        .join(mirror_runs, mirror_runs.c.job == jobs.c.id)
        .where(mirror_runs.c.mirror == name)
        .order_by(jobs.c.seq.desc())
        .limit(1)
    ).one_or_none()


def last_success(connection: Connection, name: str) -> float | None:
    """When the newest run began that has mirrored everything; None before any."""
    return connection.execute(
        select(mirror_runs.c.started_at)
        .join(jobs, mirror_runs.c.job == jobs.c.id)
        .where(mirror_runs.c.mirror == name, jobs.c.state == "succeeded")
        .order_by(mirror_runs.c.started_at.desc())
        .limit(1)
    ).scalar()


def _hashed(policy: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(policy, sort_keys=True).encode()).hexdigest()


def _is_due(now: float) -> Any:
    on_schedule = table.c.enabled & table.c.interval.is_not(None)
    return on_schedule & due(table.c.next_run, table.c.next_run_delay, now)


def _locked(connection: Connection, name: str) -> Any:
    columns = (table.c.name, table.c.interval, table.c.updated_at)  # not what may be long
    return connection.execute(
        select(*columns).where(table.c.name == name).with_for_update()
    ).one_or_none()


def _started(connection: Connection, row: Row[Any], now: float, condition: Any) -> bool:
    delay = row.interval if row.interval is not None else 0.0
    claimed = connection.execute(
        update(table)
        .where(table.c.name == row.name, condition)
        .values(next_run=now + delay, next_run_delay=delay)
    )
    return claimed.rowcount == 1


def _read(row: Row[Any]) -> StoredMirror:
    return StoredMirror(
        name=row.name,
        spec=row.spec,
        enabled=row.enabled,
        interval=row.interval,
        next_run=row.next_run,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _missing(name: str) -> NotFoundError:
    return NotFoundError(
        "no such mirror", subject=name, hint="see `transship mirrors ls`", side=Side.REQUEST
    )
