"""What the work of jobs and transfers reaches for: one value, made where a process starts."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import Connection

from transship.store.catalog.access.credentials import Sealer
from transship.store.catalog.access.quotas import NO_QUOTAS, Quotas
from transship.store.catalog.access.tenants import is_token
from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.scheduling.admission import admission, job_admission
from transship.store.catalog.scheduling.admission.lanes import DIRECTIONS
from transship.store.content.ports import ContentStore
from transship.store.errors import RegistryError, Side, TransshipError
from transship.store.sizes import human_bytes
from transship.workers.credentials.opened import OpenedCredentials
from transship.workers.registry.auth.credentials import fingerprint, most_specific
from transship.workers.registry.client import RegistryClient, Repository
from transship.workers.runtime import logs
from transship.workers.runtime.maintenance_policy import MaintenancePolicy
from transship.workers.runtime.probes import Probes
from transship.workers.runtime.wire import DISPATCH, Message, Queue, TaskEvent, Wire

MAX_ANNOUNCED = 100  # jobs of one change; who follows another one looks now and then anyway


@dataclass(slots=True)
class Change:
    """An open write transaction, and the jobs that somebody may be waiting to hear of.

    Monitors are sent *events* after the commit.

    What it may have made possible is anything, unless it says so: something to admit in
    *directions*, or to dispatch in *queues*. What was left out by mistake the scheduler finds.
    """

    connection: Connection
    now: float
    jobs: set[str] = field(default_factory=set)
    events: list[TaskEvent] = field(default_factory=list)
    directions: Collection[str] = DIRECTIONS
    queues: Collection[str] = job_admission.QUEUES


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerContext:
    """The parts of a running process.

    *shared_trust*: what is held may serve any job. *maintenance_policy*: how the store is kept.
    *home*: the data directory, as it was given. *page_hosts*: further names of the server.
    """

    catalog: Catalog
    content: ContentStore
    registries: RegistryClient
    sealer: Sealer
    wire: Wire
    shared_trust: bool = False
    quotas: Quotas = NO_QUOTAS
    maintenance_policy: MaintenancePolicy = field(default_factory=MaintenancePolicy)
    probes: Probes = field(default_factory=Probes)
    home: str = ""
    page_hosts: tuple[str, ...] = ()
    opened: OpenedCredentials = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "opened", OpenedCredentials(self.catalog, self.sealer))

    @contextmanager
    def change(self) -> Iterator[Change]:
        """A write transaction after which whatever it made possible is admitted and dispatched."""
        with self.catalog.write() as connection:
            change = Change(connection, self.now())
            yield change
            messages = dispatch(connection, change.now, change.directions, change.queues)
        self.wire.publish(messages)
        self.wire.announce(change.jobs)
        logs.report(self.wire, change.events)

    def close(self) -> None:
        """Let go of the connections to registries and of the catalog's."""
        self.probes.close()
        self.registries.close()
        self.catalog.close()

    def now(self) -> float:
        """The database's clock, for records and delays; never for leases."""
        return self.catalog.now()

    def repository(
        self, root: str, tenant: str, registry: str, repository: str, *, mirrored: bool = False
    ) -> Repository:
        """A repository as the job tree of *root* may see it, with its credential for it.

        *tenant* is on whose behalf it is asked.

        With *mirrored*, which is for sources, mirrors are read first where the server has some.
        """
        name = f"{registry}/{repository}"
        credential = most_specific(self.opened.of(root), name)
        return self.registries.repository(
            name, credential=credential, mirrored=mirrored, confined=is_token(tenant)
        )

    def fingerprint(self, root: str, registry: str, repository: str) -> str:
        """Which credential that is; '' for none."""
        return fingerprint(most_specific(self.opened.of(root), f"{registry}/{repository}"))


def dispatch(
    connection: Connection,
    now: float,
    directions: Collection[str] = DIRECTIONS,
    queues: Collection[str] = job_admission.QUEUES,
) -> list[Message]:
    """Admit transfers and pick due jobs; returns the messages to publish after the commit."""
    messages = [
        bundle_message(admitted)
        for direction in DIRECTIONS
        if direction in directions
        for admitted in admission.admit(connection, direction, now)
    ]
    messages += [
        batch_message(dispatched)
        for dispatched in job_admission.take_due(
            connection, now, queues=[one for one in job_admission.QUEUES if one in queues]
        )
    ]
    return messages


def batch_message(dispatched: job_admission.Dispatched) -> Message:
    """The message for a batch of jobs, which names the first."""
    others = f" and {dispatched.others} more" if dispatched.others else ""
    return Message(
        Queue.of(dispatched.queue),
        DISPATCH,
        dispatched.id,
        f"{dispatched.kind} {dispatched.label}{others}",
    )


def bundle_message(admitted: admission.Admitted) -> Message:
    """The message for an admitted bundle."""
    first, others = admitted.digests[0], len(admitted.digests) - 1
    what = f"{first[:19]}…" + (f" and {others} more," if others else "")
    return Message(
        Queue.of(admitted.direction),
        f"transship.{admitted.direction}",
        str(admitted.bundle),
        f"{what} {human_bytes(admitted.size)}",
    )


@contextmanager
def at(side: Side) -> Iterator[None]:
    """Errors of registries and content from this block lie on *side* of the job."""
    try:
        yield
    except TransshipError as error:
        if isinstance(error, RegistryError) or error.side is Side.SOURCE:
            error.at(side)
        raise
