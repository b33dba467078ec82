"""gc: collect what nothing needs, and tidy up."""

from __future__ import annotations

from transship.store import gc
from transship.store.catalog.content import collection
from transship.store.catalog.scheduling import targets
from transship.store.catalog.scheduling.jobs import JobLease
from transship.workers.runtime.context import WorkerContext
from transship.workers.runtime.leases import LeaseMonitor
from transship.workers.specs import GcSpec
from transship.workers.steps.outcome import Done, Later, Outcome

TURN = "the store's upkeep"  # one job at a time collects or checks
TURN_SECONDS = 2.0


def advance(lease: JobLease, context: WorkerContext, monitor: LeaseMonitor) -> Outcome:
    """Sweep what is not in use: all of it, or, when automatic, as much as the limits ask for."""
    if not upkeep_turn(lease, context):
        return Later(TURN_SECONDS)
    spec = GcSpec.model_validate(lease.spec)
    with context.catalog.read() as connection:
        total = collection.total_bytes(connection)
    excess = context.maintenance_policy.excess_bytes(held=total, free=context.content.free_bytes())
    monitor.unbounded()
    # A collection that was killed, this one before perhaps, may have left there what is wanted.
    gc.take_back(context.catalog, context.content, monitor.check)
    report = gc.Swept(kept_bytes=total)
    if not spec.automatic or excess > 0:
        report = gc.sweep(
            context.catalog,
            context.content,
            check=monitor.check,
            enough=(lambda freed: freed >= excess) if spec.automatic else (lambda _: False),
        )
    # A download that is not on record any more is begun anew, and does not take over what is left.
    keep = min(context.maintenance_policy.keep_partial, context.maintenance_policy.keep_jobs)
    gc.tidy(
        context.catalog,
        context.content,
        report,
        partials_before=context.now() - keep,
        urgent=excess > 0,
        check=monitor.check,
    )
    return Done(report.as_json())


def upkeep_turn(lease: JobLease, context: WorkerContext) -> bool:
    """Become the one job that looks after the store; False while another is at it."""
    with context.catalog.write() as connection:
        return targets.hold(connection, [(lease, TURN)]) == [None]
