"""What each part of a page says: the API's own views, and what follows from two looks at them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, select, text

from transship.api.http.auth import Caller
from transship.api.models.jobs import JobSummary
from transship.api.models.mirrors import MirrorSummary
from transship.api.routes.admin.limits import get_limits
from transship.api.routes.admin.status import get_workers
from transship.api.routes.jobs.jobs import get_log, list_jobs, transfer_views
from transship.api.routes.jobs.mirrors import get_mirror, list_mirrors
from transship.api.services import Services
from transship.api.views import backlog, failures
from transship.api.views.jobs import SUMMARIZED, job_summaries
from transship.api.views.metrics import slots_in_use
from transship.api.views.throughput import Throughput
from transship.api.views.visibility import own_jobs, shown_job
from transship.store.catalog.content import collection
from transship.store.catalog.db.schema import JOB_TOP, jobs
from transship.store.catalog.scheduling import mirrors
from transship.store.catalog.scheduling.admission import lanes, limits
from transship.store.images.view import usage

Values = Mapping[str, Any]

FAILURES_SECONDS: Final = 86400.0
RUNNING_SHOWN: Final = 20
RUNS_SHOWN: Final = 14
CHILDREN_SHOWN: Final = 50
TRANSFERS_SHOWN: Final = 100
LINES_SHOWN: Final = 200
BACKLOG_SHOWN: Final = 12
_STILL: Final = 2.0  # seconds between two looks that tell a rate


@dataclass(slots=True)
class _Pace:
    at: float
    done: int
    rate: float | None = None


class Parts:
    """The parts behind the page."""

    def __init__(self, services: Services) -> None:
        """Read from *services*."""
        self.services = services
        self.throughput = Throughput()
        self.failures: dict[str, tuple[tuple[Any, ...], Values]] = {}  # by who sees them
        self._paces: dict[str, _Pace] = {}
        self._lock = threading.Lock()

    def rates(self, found: list[JobSummary], now: float) -> dict[str, float]:
        """Bytes a second of each job, as far as two looks have told."""
        with self._lock:
            paces: dict[str, _Pace] = {}
            for job in found:
                done = job.progress.bytes_moved
                pace = self._paces.get(job.id) or _Pace(now, done)
                if now - pace.at >= _STILL:
                    new = max(0, done - pace.done) / (now - pace.at)
                    rate = new if pace.rate is None else (pace.rate + new) / 2
                    pace = _Pace(now, done, rate)
                paces[job.id] = pace
            # A job that another caller looks at is kept a while.
            kept = {key: one for key, one in self._paces.items() if now - one.at < 60}
            self._paces = {**kept, **paces}
            return {key: one.rate for key, one in paces.items() if one.rate is not None}


def _failures(parts: Parts, asking: Caller, _: str) -> Values:
    since = parts.services.context.now() - FAILURES_SECONDS
    sight = "" if asking.sees_all_jobs else asking.name
    with parts.services.catalog.read() as connection:
        mark = failures.mark(connection, asking, since)
        kept = parts.failures.get(sight)
        if kept is None or kept[0] != mark:
            found, complete = failures.groups(connection, asking, since)
            shown = {"groups": [group.shown() for group in found], "complete": complete}
            parts.failures[sight] = kept = (mark, shown)
    return kept[1]


def _mirrors(parts: Parts, asking: Caller, _: str) -> Values:
    now = parts.services.context.now()
    kept = list_mirrors(parts.services).items
    with parts.services.catalog.read() as connection:
        return {
            "mirrors": [
                {
                    "mirror": one,
                    **_runs(connection, asking, one.name, RUNS_SHOWN),
                    "behind": _behind(connection, one, now),
                }
                for one in kept
            ]
        }


def _runs(connection: Connection, asking: Caller, name: str, number: int) -> dict[str, Any]:
    rows = mirrors.runs(connection, name, own_jobs(asking), *SUMMARIZED, limit=number)
    runs = job_summaries(connection, rows)
    return {"runs": list(reversed(runs)), "last": runs[0] if runs else None}


def _behind(connection: Connection, mirror: MirrorSummary, now: float) -> float | None:
    """For how long the images have been older than the interval allows; None: they are not."""
    interval = mirror.interval_seconds
    if interval is None or not mirror.enabled:
        return None
    since = mirrors.last_success(connection, mirror.name)
    if since is None:
        since = datetime.fromisoformat(mirror.created_at).timestamp()
    late = now - since - interval
    return late if late > max(60.0, interval / 10) else None


def _mirror(parts: Parts, asking: Caller, name: str) -> Values:
    kept = get_mirror(parts.services, name)
    now = parts.services.context.now()
    with parts.services.catalog.read() as connection:
        return {
            "mirror": kept,
            **_runs(connection, asking, name, 100),
            "behind": _behind(connection, kept, now),
        }


def _now(parts: Parts, asking: Caller, _: str) -> Values:
    context = parts.services.context
    now = context.now()
    with parts.services.catalog.read() as connection:
        in_force = limits.effective(connection)
        used = slots_in_use(connection)
        rows = connection.execute(
            select(*SUMMARIZED)
            .where(text(JOB_TOP), jobs.c.state == "running", own_jobs(asking))
            .order_by(jobs.c.seq.desc())
            .limit(RUNNING_SHOWN + 1)
        ).all()
        running = job_summaries(connection, rows[:RUNNING_SHOWN])
        waits = backlog.waiting(connection) if asking.sees_all_jobs else []
        moved = parts.throughput.read(connection, now)
        short = collection.short_of_space(connection)
    rates = parts.rates(running, now)
    return {
        "short": short,
        "floor": context.maintenance_policy.min_free_bytes,
        "slots": [
            {
                "direction": way,
                "used": used.get(way, 0),
                "limit": in_force[name].value,
            }
            for way, name in limits.CONCURRENCY.items()
        ],
        "moved": moved if asking.sees_all_jobs else None,
        "running": [
            {"job": job, "rate": rates.get(job.id), "left": _left(job, rates.get(job.id))}
            for job in running
        ],
        "more": len(rows) > RUNNING_SHOWN,
        "backlog": waits[:BACKLOG_SHOWN],
        "backlog_more": max(0, len(waits) - BACKLOG_SHOWN),
        "most": backlog.MAX_COUNTED,
    }


def _left(job: JobSummary, rate: float | None) -> float | None:
    left = job.progress.bytes_total - job.progress.bytes_done
    return left / rate if rate and left > 0 else None


def _registries(parts: Parts, _asking: Caller, _: str) -> Values:
    found = get_limits(parts.services)
    now = parts.services.context.now()
    with parts.services.catalog.read() as connection:
        rates = parts.throughput.read(connection, now).rates
        state = lanes.state(connection, now)
    hosts = {*found.registries, *(registry for registry, _ in rates)}
    none = limits.RegistryLimits()
    silent = {name for _, name in state.silent}
    return {
        "registries": [
            {
                "host": host,
                "limits": found.registries.get(host, none),
                "parked_until": _until(found, host, "parked_seconds", now),
                "budget_until": _until(found, host, "budget_parked_seconds", now),
                "silent": host in silent,
                "download": rates.get((host, "download"), 0.0),
                "upload": rates.get((host, "upload"), 0.0),
            }
            for host in sorted(hosts)
        ]
    }


def _until(found: Any, host: str, name: str, now: float) -> float | None:
    view = found.registries.get(host)
    left = 0.0 if view is None else getattr(view, name)
    return round(now + left) if left > 0 else None


def _workers(parts: Parts, asking: Caller, _: str) -> Values:
    workers, degraded = get_workers(parts.services, asking)
    return {"workers": workers, "degraded": degraded}


def _store(parts: Parts, _asking: Caller, _: str) -> Values:
    context = parts.services.context
    disk = usage.on_disk(context.content)
    with parts.services.catalog.read() as connection:
        found = usage.status(connection, disk)
    policy = context.maintenance_policy
    return {
        "store": found,
        "cap": policy.max_bytes,
        "floor": policy.min_free_bytes,
        "gc_interval": policy.gc_interval,
    }


def _job(parts: Parts, asking: Caller, id_: str) -> Values:
    services = parts.services
    now = services.context.now()
    with services.catalog.read() as connection:
        job = shown_job(connection, asking, id_)
        moving = transfer_views(connection, id_, limit=TRANSFERS_SHOWN + 1)
        retries = connection.execute(
            select(jobs.c.id, jobs.c.state)
            .where(jobs.c.retry_of.is_not(None), jobs.c.retry_of == id_, own_jobs(asking))
            .order_by(jobs.c.seq)
            .limit(10)
        ).all()
        mirror = mirrors.of_run(connection, id_)
    rates = parts.rates([job], now)
    failed = list_jobs(services, asking, state=["failed"], parent=id_, limit=CHILDREN_SHOWN)
    others = list_jobs(
        services,
        asking,
        state=["running", "queued", "cancelled", "succeeded"],
        parent=id_,
        limit=CHILDREN_SHOWN,
    )
    return {
        "job": job,
        "mirror": mirror,
        "rate": rates.get(id_),
        "left": _left(job, rates.get(id_)),
        "transfers": moving[:TRANSFERS_SHOWN],
        "transfers_more": len(moving) > TRANSFERS_SHOWN,
        "children": [*failed.items, *others.items][:CHILDREN_SHOWN],
        "children_number": sum(job.children.values()),
        "retries": retries,
    }


def _log(parts: Parts, asking: Caller, id_: str) -> Values:
    found = get_log(parts.services, asking, id_, after=0, limit=LINES_SHOWN)
    return {"events": found.items, "more": found.next, "job": id_}


PARTS: Final[Mapping[str, Callable[[Parts, Caller, str], Values]]] = {
    "failures": _failures,
    "mirrors": _mirrors,
    "mirror": _mirror,
    "now": _now,
    "registries": _registries,
    "workers": _workers,
    "store": _store,
    "job": _job,
    "log": _log,
}
VIEWS: Final[Mapping[str, tuple[str, ...]]] = {
    "overview": ("failures", "now", "mirrors", "registries", "workers", "store"),
    "mirror": ("mirror",),
    "job": ("job", "log"),
}
