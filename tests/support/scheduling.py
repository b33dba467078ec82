"""A scheduler of a process in which nothing runs by itself: the test says when it looks."""

from __future__ import annotations

import threading

from transship.workers.process.maintenance import Maintenance
from transship.workers.process.scheduler import Scheduler
from transship.workers.runtime.context import WorkerContext
from transship.workers.runtime.leases import LeaseRenewer


def scheduler_of(
    context: WorkerContext, worker: str = "w", lease_seconds: float = 20.0
) -> Scheduler:
    """The scheduler of *worker*; the first one that looks does the maintenance as well."""
    renewer = LeaseRenewer(
        context.catalog, worker=worker, lease_seconds=lease_seconds, stopping=threading.Event()
    )
    maintenance = Maintenance(context, worker, lease_seconds)
    return Scheduler(context, renewer, maintenance, lease_seconds)
