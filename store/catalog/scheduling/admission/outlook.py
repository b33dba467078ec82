"""What there is for schedulers and maintenance, asked without writing anything.

A few statements of probes, each of which reads the head of an index; so an idle cluster is cheap to
look at, and a write transaction begins only where there is something to write.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Column, Connection, Select, func, select, text

from transship.store.catalog.db.due import SKEW_SECONDS
from transship.store.catalog.db.schema import (
    JOB_DELAYED,
    JOB_WITH_DEADLINE,
    TRANSFER_ADMITTED,
    TRANSFER_DELAYED,
    cluster,
    jobs,
    mirrors,
    transfers,
)
from transship.store.catalog.db.sql import ONE
from transship.store.catalog.scheduling.admission import admission, job_admission, lanes
from transship.store.catalog.scheduling.admission.lanes import DIRECTIONS


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


def _of_delayed(until: Column[float], delay: Column[float], where: str) -> list[Select[float]]:
    """When the first of what is delayed is due; when the last was put off, for clocks set back."""
    waiting = text(where)
    return [
        select(until).where(waiting).order_by(until),
        select(until - delay).where(waiting).order_by(until.desc()),
    ]


# Each in the order of its index, or PostgreSQL reads the table until it finds one; and without
# parameters, so that it is planned once: what is due is told of the times.
_TRANSFERS = _of_delayed(transfers.c.not_before, transfers.c.not_before_delay, TRANSFER_DELAYED)
_JOBS = _of_delayed(jobs.c.not_before, jobs.c.not_before_delay, JOB_DELAYED)
_DEADLINE = select(jobs.c.deadline).where(text(JOB_WITH_DEADLINE)).order_by(jobs.c.deadline)
_TELLING = select(transfers.c.id).where(text("telling")).order_by(transfers.c.id)
# As many as there are slots.
_UNSTARTED = [
    select(which(transfers.c.dispatched_until)).where(text(TRANSFER_ADMITTED))
    for which in (func.min, func.max)
]
_NEXT_RUN = select(func.min(mirrors.c.next_run)).where(
    mirrors.c.enabled, mirrors.c.interval.is_not(None)
)
_LOOK = select(
    *(
        probe.limit(ONE).scalar_subquery().label(name)
        for name, probe in (
            ("next_transfer", _TRANSFERS[0]),
            ("transfer_put_off", _TRANSFERS[1]),
            ("next_job", _JOBS[0]),
            ("job_put_off", _JOBS[1]),
            ("next_deadline", _DEADLINE),
            ("telling", _TELLING),
            ("next_lost", _UNSTARTED[0]),
            ("last_sent", _UNSTARTED[1]),
            ("next_run", _NEXT_RUN),
        )
    ),
    select(cluster.c.short_of_space).scalar_subquery().label("short_of_space"),
)


def look(connection: Connection, now: float) -> Outlook:
    """Look once. What has to be done is looked at again by who does it: this reads only."""
    row = connection.execute(_LOOK).one()
    state = lanes.state(connection, now)
    slots = [admission.Free.of(connection, one) for one in DIRECTIONS]
    queues = job_admission.QueueState.of_all(connection).values()
    times = [row.next_transfer, row.next_job, row.next_deadline, row.next_run, state.next_at]
    sent_at = None if row.last_sent is None else row.last_sent - admission.RESEND_SECONDS
    late = (
        any(one is not None and one <= now for one in (row.next_transfer, row.next_job))
        or (row.next_lost is not None and row.next_lost <= now)
        or any(
            one is not None and one > now + SKEW_SECONDS
            for one in (row.transfer_put_off, row.job_put_off, sent_at)
        )
    )
    return Outlook(
        to_dispatch=late
        or any(admission.possible(connection, one, now) for one in slots)
        or any(job_admission.possible(connection, one, state, now) for one in queues),
        busy=any(one.busy for one in slots) or any(one.out for one in queues),
        next_at=min((one for one in times if one is not None and one > now), default=None),
        overdue=row.next_deadline is not None and row.next_deadline <= now,
        telling=row.telling is not None,
        short_of_space=row.short_of_space,
    )
