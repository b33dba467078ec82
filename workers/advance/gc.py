"""gc: collect what nothing needs, and tidy up."""

from __future__ import annotations

from store import gc
from store.catalog import collection, targets
from store.catalog.jobs import JobLease
from workers.advance.outcome import Done, Later, Outcome
from workers.leases import Held
from workers.specs import GcSpec
from workers.world import World

TURN = "the store's upkeep"  # one job at a time collects or checks
TURN_SECONDS = 2.0


def advance(lease: JobLease, world: World, held: Held) -> Outcome:
    """Sweep what is not in use: all of it, or, when automatic, as much as the limits ask for."""
    if not upkeep_turn(lease, world):
        return Later(TURN_SECONDS)
    spec = GcSpec.model_validate(lease.spec)
    with world.catalog.read() as connection:
        total = collection.total_bytes(connection)
    excess = world.upkeep.excess_bytes(held=total, free=world.content.free_bytes())
    held.unbounded()
    # A collection that was killed, this one before perhaps, may have left there what is wanted.
    gc.take_back(world.catalog, world.content, held.check)
    report = gc.Swept(kept_bytes=total)
    if not spec.automatic or excess > 0:
        report = gc.sweep(
            world.catalog,
            world.content,
            check=held.check,
            enough=(lambda freed: freed >= excess) if spec.automatic else (lambda _: False),
        )
    # A download that is not on record any more is begun anew, and does not take over what is left.
    keep = min(world.upkeep.keep_partial, world.upkeep.keep_jobs)
    gc.tidy(
        world.catalog,
        world.content,
        report,
        partials_before=world.now() - keep,
        urgent=excess > 0,
        check=held.check,
    )
    return Done(report.as_json())


def upkeep_turn(lease: JobLease, world: World) -> bool:
    """Become the one job that looks after the store; False while another is at it."""
    with world.catalog.write() as connection:
        return targets.hold(connection, TURN, lease) is None
