"""What the store keeps, and for how long: retention, the size cap, the floor of free space."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, select, text

from transship.store.catalog.db.schema import JOB_TOP
from transship.store.catalog.db.schema import jobs as jobs_table
from transship.store.catalog.scheduling import jobs
from transship.store.catalog.scheduling.jobs import NewJob
from transship.store.settings import Settings
from transship.workers.runtime.ids import new_id
from transship.workers.specs import GcSpec, as_json

REQUESTED_BY = "transship"
URGENT_SECONDS = 30.0  # between two collections while the store is too full
HEADROOM = 0.1  # of the cap, or of the floor: freed in addition, so that it does not start at once


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenancePolicy:
    """How the store is kept. Seconds and bytes."""

    keep_jobs: float = 30 * 86400.0
    keep_partial: float = 7 * 86400.0
    gc_interval: float = 3600.0
    max_bytes: int | None = None
    min_free_bytes: int = 2**30

    @classmethod
    def of(cls, settings: Settings) -> MaintenancePolicy:
        """As the settings say."""
        return cls(
            keep_jobs=settings.keep_jobs,
            keep_partial=settings.keep_partial,
            gc_interval=settings.gc_interval,
            max_bytes=settings.store_max_bytes,
            min_free_bytes=settings.store_min_free_bytes,
        )

    def excess_bytes(self, *, held: int, free: int) -> int:
        """How much a store of *held* bytes on a disk with *free* bytes has too much; 0 or less.

        Above the cap or below the floor it is a little more than that, lest it be there again soon.
        """
        excess = 0
        if self.max_bytes is not None and held > self.max_bytes:
            excess = held - round(self.max_bytes * (1 - HEADROOM))
        if free < self.min_free_bytes:
            excess = max(excess, round(self.min_free_bytes * (1 + HEADROOM)) - free)
        return excess


def start_collection(
    connection: Connection, maintenance_policy: MaintenancePolicy, now: float, *, urgent: bool
) -> bool:
    """Make a job for the automatic collection if it is time for one; say whether it was."""
    mine = (jobs_table.c.kind == "gc") & (jobs_table.c.requested_by == REQUESTED_BY)
    active = select(jobs_table.c.id).where(mine, jobs_table.c.state.in_(jobs.ACTIVE)).limit(1)
    if connection.execute(active).first() is not None:
        return False
    last = connection.execute(select(func.max(jobs_table.c.created_at)).where(mine)).scalar()
    if last is None and not urgent:  # a new store has nothing to collect yet
        first = (
            select(jobs_table.c.created_at).where(text(JOB_TOP)).order_by(jobs_table.c.seq).limit(1)
        )
        last = connection.execute(first).scalar() or now
    interval = (
        min(maintenance_policy.gc_interval, URGENT_SECONDS)
        if urgent
        else maintenance_policy.gc_interval
    )
    # A time in the future: the clock was set back.
    if last is not None and 0 <= now - last < interval:
        return False
    spec = GcSpec(automatic=True, priority=100 if urgent else -100)
    made = NewJob(
        id=new_id(),
        kind=spec.kind,
        queue=spec.queue,
        spec=as_json(spec),
        label=spec.label,
        registry="",
        priority=spec.priority,
        requested_by=REQUESTED_BY,
    )
    jobs.create(connection, [made], now)
    return True
