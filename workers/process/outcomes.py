"""What comes of advances, written down: jobs end, are let go, or are tried again later."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from transship.store.catalog.scheduling import events, jobs, waits
from transship.store.catalog.scheduling.admission import limits, silence
from transship.store.catalog.scheduling.admission.job_admission import QUEUES
from transship.store.catalog.scheduling.admission.lanes import DIRECTIONS
from transship.store.catalog.scheduling.jobs import End, JobLease
from transship.store.errors import (
    CancelledError,
    DeadlineExceededError,
    HandedBackError,
    Interruption,
    RegistryError,
    ReportedError,
    TransshipError,
)
from transship.workers.jobs.stopping import stop_children
from transship.workers.runtime import task_events
from transship.workers.runtime.context import Change, WorkerContext
from transship.workers.steps.outcome import Done, Later, Outcome
from transship.workers.transfers.retry import Again, Attempt, decide


def settle(change: Change, outcomes: Sequence[tuple[JobLease, Outcome]]) -> None:
    """Write down how some jobs stand that are held; all of them are let go.

    Raises:
        LeaseLostError: one is held no more; what was written is to be rolled back.
    """
    connection, now = change.connection, change.now
    heard = [lease for lease, _ in outcomes if lease.listening]
    for lease in heard:
        silence.heard_by_job(connection, lease)
    change.queues = QUEUES  # their thread is free soon, and a parent may be due
    if heard:
        change.directions = DIRECTIONS
    done = [(lease, outcome) for lease, outcome in outcomes if isinstance(outcome, Done)]
    _end(
        change,
        [
            End(lease, "succeeded", outcome.result, superseded_by=outcome.superseded_by)
            for lease, outcome in done
        ],
    )
    waiting: list[JobLease] = []
    for lease, outcome in outcomes:
        if isinstance(outcome, Later):
            jobs.release(connection, lease, now=now, again_in=outcome.seconds)
        elif not isinstance(outcome, Done):
            waiting.append(lease)
    jobs.release_all(connection, waiting)


def settle_error(lease: JobLease, context: WorkerContext, error: TransshipError) -> None:
    """Write down what follows from a failure: another try later, or the end.

    Raises:
        LeaseLostError: the job is held no more; nothing was written.
    """
    again = _retry(lease, error, context)
    if again is None:
        late = isinstance(error, DeadlineExceededError)
        stop_children(lease, context, jobs.DEADLINE_EXCEEDED if late else "cancelled")
    with context.change() as change:
        if lease.listening:  # and has heard something
            silence.heard_by_job(change.connection, lease)
        else:  # its thread is free, and its parent may be due
            change.directions = ()
        if isinstance(error, HandedBackError):
            jobs.release(change.connection, lease, now=change.now, again_in=0)
        elif again is not None:
            _delay(lease, error, again, change.connection, change.now)
        elif isinstance(error, CancelledError):
            _end(change, [End(lease, "cancelled")])
        else:
            report = error.report if isinstance(error, ReportedError) else None
            _end(change, [End(lease, "failed", report, error)])


def _end(change: Change, ends: Sequence[End]) -> None:
    if not ends:
        return
    for end in ends:
        change.jobs.update(one for one in (end.lease.id, end.lease.parent) if one is not None)
    if waits.abandon(change.connection, [end.lease.id for end in ends], change.now):
        change.directions = DIRECTIONS
    jobs.finish(change.connection, ends, change.now)
    change.events += task_events.ended(ends, change.now)


def _retry(lease: JobLease, error: TransshipError, context: WorkerContext) -> Again | None:
    """When to try again, or None: the job ends.

    Control work keeps to the same table as transfers, counted on the job.
    """
    if isinstance(error, HandedBackError):
        return Again(seconds=0, counts=False)
    if isinstance(error, Interruption):
        return None
    with context.catalog.read() as connection:
        most = limits.effective(connection)["max_download_attempts"].value
    decision = decide(error, Attempt(lease.attempts, lease.attempts + 1, 0), most=most)
    return decision if isinstance(decision, Again) else None


def _delay(
    lease: JobLease, error: TransshipError, again: Again, connection: Connection, now: float
) -> None:
    if isinstance(error, RegistryError):
        again.park(connection, error.registry, dict(lease.asks).get(error.registry, ""), now)
    jobs.save(connection, lease, attempts=lease.attempts + 1)
    jobs.release(connection, lease, now=now, again_in=again.seconds)
    events.record(
        connection, lease.id, "retrying", now, seconds=again.seconds, error=error.as_json()
    )
