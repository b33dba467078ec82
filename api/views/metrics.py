"""What /metrics says: the whole cluster, read from SQL when it is asked for.

Any API process tells the same, so that one of them is enough to ask. All figures are gauges: they
count what is on record now, and ended jobs leave the record after TRANSSHIP_KEEP_JOBS. A scrape
costs some indexed counts, however many jobs there are; the files of the store are looked at less
often.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import BigInteger, Connection, bindparam, func, select, text

from transship import __version__
from transship.api.views.liveness import Liveness, degraded, in_all
from transship.store.catalog.content import collection
from transship.store.catalog.db.engine import SCHEMA_VERSION
from transship.store.catalog.db.schema import (
    JOB_DUE,
    TRANSFER_BLOCKED,
    TRANSFER_BUSY,
    TRANSFER_DELAYED,
    TRANSFER_PENDING,
    job_children,
    jobs,
    transfers,
)
from transship.store.catalog.scheduling import rejections
from transship.store.catalog.scheduling.admission import lanes, limits, parking
from transship.store.images.view import usage
from transship.store.images.view.usage import OnDisk
from transship.workers.runtime.context import WorkerContext

FRESH_SECONDS = 1.0  # so old a scrape may be: several who ask at once are told the same
STORE_FRESH_SECONDS = 15.0  # ... and what is counted file by file
RECENT_SECONDS = 300.0
NEXT_JOBS = 100  # how many of those that are next are looked at for the one that waits longest

Labels = Mapping[str, str]
Samples = list[tuple[Labels, float]]

_JOBS = select(jobs.c.kind, jobs.c.state, func.count().label("number")).group_by(
    jobs.c.kind, jobs.c.state
)
# The limit, beyond all that can be, is for SQLite: it would group by an index first, and look at
# every row.
_ENDED = (
    select(
        *(jobs.c.kind, jobs.c.state),
        *(
            (jobs.c[name] + func.coalesce(job_children.c[name], 0)).label(name)
            for name in ("bytes_moved", "bytes_skipped")
        ),
    )
    .join(job_children, job_children.c.job == jobs.c.id, isouter=True)
    .where(jobs.c.finished_at > bindparam("since"), jobs.c.finished_at <= bindparam("now"))
    .order_by(jobs.c.finished_at)
    .limit(1_000_000)
    .subquery()
)
_RECENT = (
    select(
        _ENDED.c.kind,
        _ENDED.c.state,
        func.count().label("number"),
        func.sum(_ENDED.c.bytes_moved).cast(BigInteger).label("moved"),
        func.sum(_ENDED.c.bytes_skipped).cast(BigInteger).label("skipped"),
    )
    .group_by(_ENDED.c.kind, _ENDED.c.state)
    .order_by(_ENDED.c.kind, _ENDED.c.state)
)
# One statement for each partial index: over all of them together every row would be looked at.
_TRANSFERS = [
    select(transfers.c.direction, transfers.c.state, func.count().label("number"))
    .where(text(which))
    .group_by(transfers.c.direction, transfers.c.state)
    for which in (TRANSFER_BUSY, TRANSFER_DELAYED, TRANSFER_BLOCKED)
]
_SLOTS = (
    select(transfers.c.direction, func.count(transfers.c.bundle.distinct()).label("number"))
    .where(text(TRANSFER_BUSY))
    .group_by(transfers.c.direction)
)
_PENDING = (
    select(transfers.c.direction, func.count().label("number"))
    .where(text(TRANSFER_PENDING))
    .group_by(transfers.c.direction)
)
_ACTIVE_STATES = ("blocked", "pending", "delayed", "admitted", "running")
_QUEUES = ("control", "local")


@dataclass(frozen=True, slots=True)
class Family:
    """A metric with all its samples."""

    name: str
    help: str
    samples: Samples


class Metrics:
    """The figures of a cluster. Safe to use from many threads."""

    def __init__(
        self,
        context: WorkerContext,
        liveness: Liveness,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is read before it is asked for."""
        self._context = context
        self._watch = liveness
        self._clock = clock
        self._lock = threading.Lock()
        self._cluster: tuple[float, list[Family]] | None = None
        self._store: tuple[float, list[Family]] | None = None

    def families(self) -> list[Family]:
        """Every metric of the cluster, at most as old as the constants of this module say.

        Raises:
            StoreError: the database does not answer.
        """
        with self._lock:
            now = self._clock()
            if self._cluster is None or now - self._cluster[0] >= FRESH_SECONDS:
                # Before the transaction: a disk may take its time, and so may a broker.
                old = self._store is None or now - self._store[0] >= STORE_FRESH_SECONDS
                disk = usage.on_disk(self._context.content) if old else None
                reachable = self._context.wire.reachable()
                with self._context.catalog.read() as connection:
                    if disk is not None:
                        self._store = now, list(self._of_store(connection, disk))
                    self._cluster = now, list(self._of_cluster(connection, reachable))
            assert self._store is not None
            return [*self._cluster[1], *self._store[1]]

    def exposition(self) -> bytes:
        """The figures, and those of this process, in Prometheus' text format 0.0.4."""
        # A twentieth of a second that commands with an engine of their own would pay for nothing.
        from prometheus_client import (  # noqa: PLC0415
            CollectorRegistry,
            ProcessCollector,
            generate_latest,
        )
        from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415

        class Cluster:
            def __init__(self, families: Iterable[Family]) -> None:
                self._families = families

            def collect(self) -> Iterator[Any]:
                for family in self._families:
                    names = list(family.samples[0][0]) if family.samples else []
                    metric = GaugeMetricFamily(family.name, family.help, labels=names)
                    for labels, value in family.samples:
                        metric.add_metric(list(labels.values()), value)
                    yield metric

        registry = CollectorRegistry()
        registry.register(Cluster(self.families()))
        ProcessCollector(registry=registry)
        return generate_latest(registry)

    def _of_cluster(self, connection: Connection, reachable: bool) -> Iterator[Family]:
        yield Family(
            "transship_build_info",
            "This process: its version and the schema that it needs. Always 1.",
            [({"version": __version__, "schema": SCHEMA_VERSION}, 1)],
        )
        yield from _of_jobs(connection, self._context.now())
        yield from _of_transfers(connection)
        yield from _of_registries(connection, self._context.now())
        alive = self._watch.alive(connection)
        yield Family(
            "transship_workers", "Workers that beat and are not leaving.", [({}, len(alive))]
        )
        yield Family(
            "transship_worker_threads",
            "Their threads by queue, of workers that the broker reaches.",
            [({"queue": queue}, count) for queue, count in asdict(in_all(alive)).items()],
        )
        yield Family(
            "transship_degraded",
            "1 for what keeps accepted jobs from moving: the broker does not answer this API, or "
            "no worker that can be reached serves the queue.",
            [
                ({"what": what}, int(is_so))
                for what, is_so in degraded(in_all(alive), reachable=reachable).items()
            ],
        )
        yield Family(
            "transship_rejected_messages",
            "Messages of the broker that could not become jobs, so far.",
            [({}, rejections.count(connection))],
        )
        yield Family(
            "transship_store_short_of_space",
            "1 while the store is below its floor of free space, and nothing more is downloaded.",
            [({}, int(collection.short_of_space(connection)))],
        )

    def _of_store(self, connection: Connection, disk: OnDisk) -> Iterator[Family]:
        found = usage.status(connection, disk)
        maintenance_policy = self._context.maintenance_policy
        yield from (
            Family(f"transship_store_{name}", told, [({}, value)])
            for name, told, value in (
                ("blobs", "Blobs held.", found.blobs),
                ("bytes", "Bytes of the blobs held.", found.blob_bytes),
                ("free_bytes", "What the disk of the store would still take.", found.free_bytes),
                (
                    "min_free_bytes",
                    "The floor: TRANSSHIP_STORE_MIN_FREE_BYTES of this process.",
                    maintenance_policy.min_free_bytes,
                ),
                ("partials", "Blobs that are held in part.", found.partials),
                ("partial_bytes", "Bytes of blobs that are held in part.", found.partial_bytes),
                ("trash_blobs", "Blobs in the trash.", found.trash),
                ("trash_bytes", "Bytes in the trash, which go within an hour.", found.trash_bytes),
            )
        )
        if maintenance_policy.max_bytes is not None:
            yield Family(
                "transship_store_max_bytes",
                "The cap: TRANSSHIP_STORE_MAX_BYTES of this process.",
                [({}, maintenance_policy.max_bytes)],
            )


def slots_in_use(connection: Connection) -> dict[str, int]:
    """How many slots carry something, by direction; nothing of one in which none does."""
    return {row.direction: row.number for row in connection.execute(_SLOTS)}


def job_counts(connection: Connection) -> list[tuple[str, str, int]]:
    """Jobs on record: kind, state and how many. Read from one index."""
    return [(row.kind, row.state, row.number) for row in connection.execute(_JOBS).all()]


def _of_jobs(connection: Connection, now: float) -> Iterator[Family]:
    yield Family(
        "transship_jobs",
        "Jobs on record, by kind and state; ended ones for TRANSSHIP_KEEP_JOBS.",
        [({"kind": kind, "state": state}, n) for kind, state, n in job_counts(connection)],
    )
    recent = connection.execute(_RECENT, {"since": now - RECENT_SECONDS, "now": now}).all()
    within = f"in the last {RECENT_SECONDS:.0f} seconds"
    for name, told, column in (
        ("recently_ended_jobs", f"Jobs that ended {within}.", "number"),
        (
            "recently_moved_bytes",
            f"Bytes that were moved for the jobs that ended {within}; for a mirror by its images.",
            "moved",
        ),
        (
            "recently_skipped_bytes",
            f"Bytes that need not be moved for the jobs that ended {within}; a mirror likewise.",
            "skipped",
        ),
    ):
        yield Family(
            f"transship_{name}",
            told,
            [({"kind": r.kind, "state": r.state}, getattr(r, column)) for r in recent],
        )
    yield Family(
        "transship_oldest_waiting_job_seconds",
        "Age of the oldest job of priority 0 or more, among the next, that no worker has taken up.",
        [({"queue": queue}, _oldest(connection, queue, now)) for queue in _QUEUES],
    )


def _oldest(connection: Connection, queue: str, now: float) -> float:
    following = (
        select(jobs.c.created_at)
        .where(
            text(JOB_DUE),
            jobs.c.queue == queue,
            jobs.c.priority >= 0,
            jobs.c.started_at.is_(None),
        )
        .order_by(jobs.c.priority.desc(), jobs.c.turn, jobs.c.seq)
        .limit(NEXT_JOBS)
        .subquery()
    )
    oldest = connection.execute(select(func.min(following.c.created_at))).scalar()
    return 0.0 if oldest is None else max(0.0, now - oldest)


def _of_transfers(connection: Connection) -> Iterator[Family]:
    counts = dict.fromkeys(
        [(way, state) for way in lanes.DIRECTIONS for state in _ACTIVE_STATES], 0
    )
    counts |= {(row.direction, "pending"): row.number for row in connection.execute(_PENDING)}
    for query in _TRANSFERS:
        counts |= {(row.direction, row.state): row.number for row in connection.execute(query)}
    yield Family(
        "transship_transfers",
        "Transfers that have not ended: one blob, one direction, one place each.",
        [({"direction": way, "state": state}, n) for (way, state), n in counts.items()],
    )
    slots = slots_in_use(connection)
    yield Family(
        "transship_transfer_slots_in_use",
        "Slots that carry a large blob, or some small ones: what the limit counts.",
        [({"direction": way}, slots.get(way, 0)) for way in lanes.DIRECTIONS],
    )
    found = limits.effective(connection)
    yield Family(
        "transship_transfer_slots",
        "The limit in force over all workers; 0 is a pause.",
        [({"direction": way}, found[name].value) for way, name in limits.CONCURRENCY.items()],
    )


def _of_registries(connection: Connection, now: float) -> Iterator[Family]:
    yield Family(
        "transship_registry_parked_seconds",
        "For how much longer a registry is left alone, for what it answered or did not.",
        [({"registry": name}, left) for name, left in parking.parked(connection, now).items()],
    )
    yield Family(
        "transship_registry_paused",
        "1 for each registry of which nothing is asked, because somebody said so.",
        [
            ({"registry": name}, 1)
            for name, one in limits.of_registries(connection).items()
            if one.paused
        ],
    )
