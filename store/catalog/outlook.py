"""What there is for schedulers and maintenance, asked without writing anything.

A few statements of probes, each of which reads the head of an index; so an idle cluster is cheap to
look at, and a write transaction begins only where there is something to write.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, literal, select, text

from store.catalog import admission, rationing
from store.catalog.due import NOW, due
from store.catalog.lanes import DIRECTIONS
from store.catalog.schema import (
    JOB_DELAYED,
    JOB_WITH_DEADLINE,
    TRANSFER_ADMITTED,
    TRANSFER_DELAYED,
    cluster,
    jobs,
    lanes,
    mirrors,
    transfers,
)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What was seen in one look.

    Attributes:
        to_dispatch: A scheduler has something to promote, to admit, to dispatch, or to send again.
        busy: Something is dispatched or held: more may become due at any time.
        next_at: When the next thing is due that waits for its time, by the database's clock.
        overdue: A job has passed its deadline and was not asked to stop.
        telling: A transfer has ended, and not all who wait for it were told.
        short_of_space: The store is on record as short of space.
    """

    to_dispatch: bool
    busy: bool
    next_at: float | None
    overdue: bool
    telling: bool
    short_of_space: bool


# Each in the order of its index, or PostgreSQL reads the table until it finds one.
_LATE_TRANSFER = (
    select(transfers.c.id)
    .where(text(TRANSFER_DELAYED), due(transfers.c.not_before, transfers.c.not_before_delay, NOW))
    .order_by(transfers.c.not_before)
)
_LATE_JOB = (
    select(jobs.c.seq)
    .where(text(JOB_DELAYED), due(jobs.c.not_before, jobs.c.not_before_delay, NOW))
    .order_by(jobs.c.not_before)
)
_UNSTARTED = (
    select(transfers.c.id)
    .where(
        text(TRANSFER_ADMITTED),
        due(transfers.c.rung_until, literal(admission.RING_SECONDS), NOW),
    )
    .order_by(transfers.c.direction, transfers.c.registry)
)
_NEXT_TRANSFER = (
    select(transfers.c.not_before).where(text(TRANSFER_DELAYED)).order_by(transfers.c.not_before)
)
_NEXT_JOB = select(jobs.c.not_before).where(text(JOB_DELAYED)).order_by(jobs.c.not_before)
_DEADLINE = select(jobs.c.deadline).where(text(JOB_WITH_DEADLINE)).order_by(jobs.c.deadline)
_TELLING = select(transfers.c.id).where(text("telling")).order_by(transfers.c.id)
_PARKED = select(func.min(lanes.c.parked_until)).where(lanes.c.parked_until > NOW)
_SILENT = select(func.min(lanes.c.silent_until)).where(lanes.c.silent_until > NOW)
_NEXT_RUN = select(func.min(mirrors.c.next_run)).where(
    mirrors.c.enabled, mirrors.c.interval.is_not(None), mirrors.c.next_run > NOW
)
_LOOK = select(
    *(
        probe.limit(1).scalar_subquery().label(name)
        for name, probe in (
            ("late_transfer", _LATE_TRANSFER),
            ("late_job", _LATE_JOB),
            ("unstarted", _UNSTARTED),
            ("next_transfer", _NEXT_TRANSFER),
            ("next_job", _NEXT_JOB),
            ("next_deadline", _DEADLINE),
            ("telling", _TELLING),
        )
    ),
    _PARKED.scalar_subquery().label("next_unparked"),
    _SILENT.scalar_subquery().label("next_listening"),
    _NEXT_RUN.scalar_subquery().label("next_run"),
    select(cluster.c.short_of_space).scalar_subquery().label("short_of_space"),
)


def look(connection: Connection, now: float) -> Outlook:
    """Look once. What has to be done is looked at again by who does it: this reads only."""
    row = connection.execute(_LOOK, {"now": now}).one()
    late = any(one is not None for one in (row.late_transfer, row.late_job, row.unstarted))
    slots = [admission.Free.of(connection, one, now) for one in DIRECTIONS]
    queues = [rationing.Standing.of(connection, one) for one in rationing.QUEUES]
    times = [row.next_transfer, row.next_job, row.next_deadline, row.next_unparked]
    times += [row.next_listening, row.next_run]
    return Outlook(
        to_dispatch=late
        or any(admission.possible(connection, one, now) for one in slots)
        or any(rationing.possible(connection, one, now) for one in queues),
        busy=any(one.busy for one in slots) or any(one.out for one in queues),
        next_at=min((time for time in times if time is not None), default=None),
        overdue=row.next_deadline is not None and row.next_deadline <= now,
        telling=row.telling is not None,
        short_of_space=row.short_of_space,
    )
