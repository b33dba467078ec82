"""Prune: remove images that nobody needs. Their bytes are left to the collection."""

from __future__ import annotations

from typing import Any

from transship.store.catalog.scheduling import jobs
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.errors import ConflictError
from transship.store.images.edit import prune
from transship.workers.runtime.context import WorkerContext
from transship.workers.runtime.leases import LeaseMonitor
from transship.workers.specs import PruneSpec
from transship.workers.steps.outcome import Done, Outcome

TOGETHER = 32  # images a transaction: others want to write as well


def advance(lease: JobLease, context: WorkerContext, monitor: LeaseMonitor) -> Outcome:
    """Delete what the filters choose, some images a transaction, and write down each with them.

    A worker that takes over chooses again among what is left, and goes on with the same report.

    Raises:
        ConflictError: another prune, that was asked for before, has not ended.
    """
    spec = PruneSpec.model_validate(lease.spec)
    choice = prune.Choice(spec.wanted, now=lease.created_at)
    with context.catalog.read() as connection:
        other = jobs.active_of_kind(connection, lease.kind, before=lease.seq)
        chosen = prune.candidates(connection, choice)
    if other is not None:
        raise ConflictError(
            "another prune is under way", subject=other, hint="wait until it has ended"
        )
    report: list[dict[str, Any]] = lease.checkpoint.setdefault("deleted", [])
    reclaimed: int = lease.checkpoint.setdefault("reclaimed", 0)
    for start in range(0, len(chosen), TOGETHER):
        monitor.check()
        with context.catalog.write() as connection:
            now = context.now()
            for image_id in chosen[start : start + TOGETHER]:
                removed = prune.prune_one(connection, context.content, image_id, choice, now=now)
                report += [one.as_json() for one in removed]
                reclaimed += sum(one.size for one in removed)
            lease.learn(reclaimed=reclaimed)
            jobs.save(connection, lease)
    with context.catalog.write() as connection:
        jobs.save(connection, lease)
        prune.record(connection, reclaimed, context.now())
    return Done({"deleted": report, "space_reclaimed": reclaimed})
