"""What a server says of itself: the parts it has, and what keeps its jobs from moving."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field

from transship import __version__
from transship.api.http.auth import ADMIN, Asking, Caller
from transship.api.http.checked_route import CheckedRoute
from transship.api.openapi import problems
from transship.api.services import Injected, Services
from transship.api.views.jobs import rfc3339
from transship.api.views.liveness import degraded, in_all, threads_of
from transship.api.views.metrics import job_counts
from transship.store.catalog.db.engine import SCHEMA_VERSION
from transship.store.catalog.scheduling.heartbeats import Threads

router = APIRouter(route_class=CheckedRoute, tags=["health"])

_OF_ADMIN = "null without the scope `admin`"


class DatabaseStatus(BaseModel):
    """The catalog."""

    kind: str = Field(description="sqlite or postgresql")
    schema_version: str
    address: str | None = Field(description=f"file or host; {_OF_ADMIN}")


class BrokerStatus(BaseModel):
    """What carries messages to workers."""

    kind: str = Field(description="redis, or none: everything runs in this process")
    reachable: bool
    address: str | None = Field(description=f"without a password; {_OF_ADMIN}, or without a broker")


class WorkerStatus(BaseModel):
    """A worker that takes up work. One that is leaving, or missed its lease, is not listed."""

    id: str
    host: str | None = Field(description=_OF_ADMIN)
    pid: int | None = Field(description=_OF_ADMIN)
    started_at: str
    threads: dict[str, int] = Field(description="by queue")
    version: str = Field(description="of Transship")
    silent_seconds: float = Field(
        description="since when its heartbeat has been seen to stand still"
    )


class QueueStatus(BaseModel):
    """A queue, and how many threads of all workers serve it."""

    name: str
    threads: int


class Status(BaseModel):
    """A server and its cluster, now. Counts are of every job on record."""

    version: str
    addresses: list[str] = Field(description="where this process answers")
    home: str | None = Field(description=f"the data directory; {_OF_ADMIN}")
    database: DatabaseStatus
    broker: BrokerStatus
    workers: list[WorkerStatus]
    queues: list[QueueStatus]
    degraded: list[str] = Field(description="as in /readyz: what keeps accepted jobs from moving")
    jobs: dict[str, int] = Field(description="by state")
    jobs_by_kind: dict[str, dict[str, int]] = Field(description="by kind and state")


async def _addresses(request: Request) -> list[str]:
    found: list[str] = request.app.state.addresses
    return found


@router.get("/status", operation_id="getStatus", responses=problems())
def get_status(
    services: Injected, asking: Asking, addresses: Annotated[list[str], Depends(_addresses)]
) -> Status:
    """What the server is, what it has, and how many jobs there are."""
    context = services.context
    admin = asking.may(ADMIN)
    workers, unable = get_workers(services, asking)
    with services.catalog.read() as connection:
        counts = job_counts(connection)
    threads = Counter[str]()
    for one in workers:
        threads.update(one.threads)
    by_kind: dict[str, dict[str, int]] = {}
    by_state: dict[str, int] = {}
    for kind, state, number in counts:
        by_kind.setdefault(kind, {})[state] = number
        by_state[state] = by_state.get(state, 0) + number
    broker = services.wire.broker
    return Status(
        version=__version__,
        addresses=[one for one in addresses if admin or not one.startswith("unix:")],
        home=_own(context.home, shown=admin),
        database=DatabaseStatus(
            kind="postgresql" if services.catalog.shared else "sqlite",
            schema_version=SCHEMA_VERSION,
            address=_own(services.catalog.name, shown=admin),
        ),
        broker=BrokerStatus(
            kind="none" if broker is None else "redis",
            reachable="broker" not in unable,
            address=_own(broker, shown=admin),
        ),
        workers=workers,
        queues=[QueueStatus(name=name, threads=threads[name]) for name in asdict(Threads())],
        degraded=unable,
        jobs=by_state,
        jobs_by_kind=by_kind,
    )


def get_workers(services: Services, asking: Caller) -> tuple[list[WorkerStatus], list[str]]:
    """The workers that take up work, and what is degraded."""
    admin = asking.may(ADMIN)
    reachable = services.wire.reachable()  # it may take its time: before the transaction
    with services.catalog.read() as connection:
        rows = services.liveness.workers(connection)
    workers = [
        WorkerStatus(
            id=row.id,
            host=_own(row.host, shown=admin),
            pid=_own(row.pid, shown=admin),
            started_at=rfc3339(row.started_at) or "",
            threads=asdict(threads_of(row)),
            version=row.version,
            silent_seconds=round(services.liveness.still_for(row.id), 1),
        )
        for row in rows
    ]
    unable = degraded(in_all(threads_of(row) for row in rows), reachable=reachable)
    return workers, [what for what, is_so in unable.items() if is_so]


def _own(value: Any, *, shown: bool) -> Any:
    """What only `admin` is shown."""
    return value if shown else None
