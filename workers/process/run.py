"""One advance of one job, from its message to the row's next state."""

from __future__ import annotations

import logging

from sqlalchemy import Connection

from transship.store.catalog.scheduling import events, jobs, waits
from transship.store.catalog.scheduling.admission import lanes, limits, parking, silence
from transship.store.catalog.scheduling.admission.lanes import DIRECTIONS
from transship.store.catalog.scheduling.admission.parking import Probe
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.errors import (
    CancelledError,
    DeadlineExceededError,
    HandedBackError,
    InternalError,
    Interruption,
    LeaseLostError,
    RegistryError,
    ReportedError,
    TransshipError,
)
from transship.workers.handlers import HANDLERS
from transship.workers.jobs.stopping import stop_children
from transship.workers.registry.transport.transport import attentive
from transship.workers.runtime.context import WorkerContext
from transship.workers.runtime.leases import LeaseMonitor, LeaseRenewer, stop_exception
from transship.workers.runtime.missing import looked_again
from transship.workers.specs import KINDS
from transship.workers.steps.outcome import Done, Later, Outcome
from transship.workers.transfers.retry import Again, Attempt, decide

log = logging.getLogger(__name__)


def run_job(id_: str, worker: str, context: WorkerContext, renewer: LeaseRenewer) -> None:
    """Take up a due job and bring it as far as it gets. A repeated message does nothing."""
    lease, probes = _claim(id_, worker, context)
    if lease is None:
        return
    for probe in probes:
        context.registries.probe(probe.registry, probe.until)
    if lease.fence == 1:
        context.wire.announce([id_])
    with renewer.keep(lease) as monitor:
        try:
            outcome = _advance(lease, context, monitor)
            lease.listening &= monitor.has_heard
            if isinstance(outcome, TransshipError):
                outcome = looked_again(outcome, context)
            settle(lease, context, outcome)
        except LeaseLostError as lost:
            log.warning("job %s: %s", id_, lost)


def _claim(id_: str, worker: str, context: WorkerContext) -> tuple[JobLease | None, list[Probe]]:
    """Take up a due job, if its registries are open; with the leaves to go ahead at them.

    One that has been closed since the job was dispatched leaves it as it is: due, when that opens.
    """
    with context.catalog.write() as connection:
        now = context.now()
        row = jobs.due_row(connection, id_)
        if row is None:
            return None, []
        probes: list[Probe] = []
        state = lanes.state(connection, now)
        if row.stop_requested is None:
            asked = jobs.asked(row)
            if any(registry in state.closed for registry, _ in asked) or state.until(asked):
                jobs.undispatch(connection, id_)
                return None, []
            leaves = [
                parking.enter(connection, one, now) for one, _ in asked if one in state.half_open
            ]
            probes = [leave for leave in leaves if isinstance(leave, Probe)]
        lease = jobs.claim(connection, id_, worker, now)
        if lease is not None:
            lease.listening = any((lease.queue, one) in state.listening for one, _ in lease.asks)
        return lease, probes


def _advance(
    lease: JobLease, context: WorkerContext, monitor: LeaseMonitor
) -> Outcome | TransshipError:
    """Run the kind's advance; a failure comes back as a value."""
    try:
        if KINDS[lease.kind].leaves_drafts:  # its last owner may have died
            context.content.discard_drafts(lease.id)
        if lease.stop_requested is not None:
            raise stop_exception(lease.stop_requested)
        # One who is to stop need not wait for an answer first.
        with attentive(monitor.check, listener=monitor):
            return HANDLERS[lease.kind](lease, context, monitor)
    except LeaseLostError:
        raise
    except TransshipError as error:
        return error
    except Exception as error:
        log.exception("job %s failed", lease.id)
        return InternalError(f"{type(error).__name__}: {error}", subject=lease.label)


def settle(lease: JobLease, context: WorkerContext, outcome: Outcome | TransshipError) -> None:
    """Write down what came of an advance, and dispatch what that makes possible.

    Raises:
        LeaseLostError: the job is held no more; nothing was written.
    """
    again = _retry(lease, outcome, context) if isinstance(outcome, TransshipError) else None
    if isinstance(outcome, TransshipError) and again is None:
        late = isinstance(outcome, DeadlineExceededError)
        stop_children(lease, context, jobs.DEADLINE_EXCEEDED if late else "cancelled")
    with context.change() as change:
        connection, now = change.connection, change.now
        if lease.listening:  # and has heard something
            silence.heard_by_job(connection, lease)
        else:  # its thread is free, and its parent may be due
            change.directions = ()
            change.queues = {lease.queue} if lease.parent is None else change.queues

        def finish(state: str, error: TransshipError | None = None) -> None:
            change.jobs.update(one for one in (lease.id, lease.parent) if one is not None)
            if waits.abandon(connection, [lease.id], now):
                change.directions = DIRECTIONS
            result = outcome.result if isinstance(outcome, Done) else None
            if isinstance(outcome, ReportedError):
                result = outcome.report
            newer = outcome.superseded_by if isinstance(outcome, Done) else None
            jobs.finish(
                connection, lease, state, now, result=result, error=error, superseded_by=newer
            )

        match outcome:
            case Done():
                finish("succeeded")
            case Later(seconds=seconds):
                jobs.release(connection, lease, now=now, again_in=seconds)
            case HandedBackError():
                jobs.release(connection, lease, now=now, again_in=0)
            case CancelledError():
                finish("cancelled")
            case TransshipError() if again is None:
                finish("failed", outcome)
            case TransshipError():
                assert again is not None
                _delay(lease, outcome, again, connection, now)
            case _:
                jobs.release(connection, lease, now=now)


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
