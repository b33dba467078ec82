"""One copy between two registries with something going wrong, told in a few figures.

Everything is real but the registries, which are simulated, and the clock: where nothing is left
to do but wait, it is set ahead. One thread does all the work, in the order of its messages.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet
from sqlalchemy import func, select

from tests.contract.catalog.prepared import renewed_sqlite, reopened
from tests.support.faults import FaultProxy, Rule, Verb
from tests.support.registry_simulator import Quirks, RegistrySimulator
from transship.store.catalog.access.credentials import Sealer
from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.db.schema import budgets, lanes, transfers
from transship.store.catalog.db.schema import jobs as job_rows
from transship.store.catalog.scheduling import heartbeats, jobs
from transship.store.catalog.scheduling.admission import admission
from transship.store.catalog.scheduling.heartbeats import Threads
from transship.store.content.local import LocalStore
from transship.store.oci.platform import Platform
from transship.store.settings import Settings
from transship.workers.broker.rates import LocalBuckets
from transship.workers.jobs.service import JobService
from transship.workers.jobs.submission import Submission
from transship.workers.process.batch import run_batch
from transship.workers.process.bootstrap import registry_client
from transship.workers.runtime.context import WorkerContext, dispatch
from transship.workers.runtime.leases import LeaseRenewer
from transship.workers.runtime.wire import Message, TaskEvent
from transship.workers.specs import AnySpec, CopySpec, MirrorSpec
from transship.workers.transfers.bundle import run_bundle

WORKER = "a worker"
MAX_WAITS = 100
BUDGET = 5  # tries, by default
AT_THE_SOURCE = {
    Verb.TOKEN_GET,
    Verb.TAGS_LIST,
    Verb.MANIFEST_HEAD,
    Verb.MANIFEST_GET,
    Verb.BLOB_GET,
}
KIB = 1024
CHUNK = 64 * KIB
LAYER = bytes(range(256)) * 4 * 40 * 8  # 5 chunks; as the last blob it is sent after the config


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the job ended; *tries* is the most that any of its parts took."""

    state: str
    tries: int
    parked_seconds: float = 0.0
    code: str = ""
    side: str = ""

    def after_another_try(self) -> Outcome:
        """The same, one try later."""
        return replace(self, tries=min(self.tries + 1, BUDGET))

    def __str__(self) -> str:
        if self.state == "succeeded":
            told = "succeeds" if self.tries == 1 else f"succeeds, try {self.tries}"
        else:
            told = f"fails: `{self.code}` at the {self.side}"
            if self.tries > 1:
                told += f", {self.tries} tries"
        if self.parked_seconds:
            told += f"; parked {self.parked_seconds:.0f} s"
        return told


@dataclass(slots=True)
class _Bells:
    """A wire that keeps what is dispatched until it is taken."""

    broker: str | None = None

    messages: deque[Message] = field(default_factory=deque)

    def publish(self, messages: Iterable[Message]) -> None:
        self.messages.extend(messages)

    def reachable(self) -> bool:
        return True

    def announce(self, jobs: Iterable[str]) -> None:
        """Nobody waits."""

    def report(self, events: Iterable[TaskEvent]) -> None:
        """Nobody monitors."""

    def listen(self, on_job: Callable[[str], None]) -> Callable[[], None]:
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ahead(WorkerContext):
    """A context whose clock is set ahead."""

    clock: Callable[[], float]

    def now(self) -> float:
        return self.clock()


@cache
def _directory_of_sqlite() -> Path:
    """Where the database is, one after the other: there is one story at a time in a process."""
    directory = Path(tempfile.mkdtemp(prefix="transship-faulted-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


class Faulted:
    """Two registries with proxies before them, and a worker that is driven by hand.

    Args:
        directory: For the store.
        rules: What goes wrong, at either registry.
        quirks: How the target differs from the specification.
        source_quirks: How the source does.
    """

    def __init__(
        self,
        directory: Path,
        rules: Iterable[Rule],
        quirks: Quirks | None = None,
        *,
        source_quirks: Quirks | None = None,
    ) -> None:
        self._resources = ExitStack()
        enter = self._resources.enter_context
        ruled = list(rules)
        self.source = enter(RegistrySimulator(source_quirks, token=True))
        self.target = enter(RegistrySimulator(quirks, token=True))
        self.before_source = enter(
            FaultProxy(
                self.source.host, [r for r in ruled if r.verb in AT_THE_SOURCE], anonymous=False
            )
        )
        self.before_target = enter(
            FaultProxy(
                self.target.host, [r for r in ruled if r.verb not in AT_THE_SOURCE], anonymous=False
            )
        )
        self.digest = self.source.add_image("app", "1", [LAYER])
        self._ahead_seconds = 0.0
        self.longest_park = 0.0
        self._bells = _Bells()
        self.catalog = reopened(renewed_sqlite(_directory_of_sqlite()))
        settings = Settings(home=directory)
        self.context = _Ahead(
            catalog=self.catalog,
            content=LocalStore(directory),
            registries=registry_client(settings, self.catalog, LocalBuckets(), self.now),
            sealer=Sealer(Fernet.generate_key().decode()),
            wire=self._bells,
            clock=self.now,
        )
        self._resources.callback(self.context.close)
        self._renewer = LeaseRenewer(
            self.catalog, worker=WORKER, lease_seconds=20, stopping=threading.Event()
        )
        self._queue = JobService(
            self.catalog, self.context.sealer, self._bells, Platform.parse("linux/amd64")
        )
        self._register(WORKER)

    def now(self) -> float:
        """The time, as far ahead as the waits were long."""
        return time.time() + self._ahead_seconds

    def copy(self) -> Outcome:
        """Copy the image to its end."""
        self.begin()
        return self._drive()

    def mirror(self) -> Outcome:
        """Mirror the repository to its end."""
        source, target = self.before_source.host, self.before_target.host
        self.submit(MirrorSpec(source=f"{source}/app", destination=f"{target}/app"))
        return self._drive()

    def begin(self) -> None:
        """Ask for a copy of the image, and do nothing yet."""
        source, target = self.before_source.host, self.before_target.host
        self.submit(CopySpec(source=f"{source}/app:1", destination=f"{target}/app:1"))

    def submit(self, spec: AnySpec) -> None:
        """Ask for a job; what follows is about it."""
        [id_] = self._queue.submit([Submission(spec=spec, requested_by="a test", tenant=HOUSE)])
        assert isinstance(id_, str)
        self.job = id_

    def work(self) -> None:
        """Do what there is to do now, without waiting for anything."""
        while self._bells.messages:
            self._answer(self._bells.messages.popleft())
            self._note_parks()

    def reap(self) -> None:
        """The worker has died; another takes its place."""
        with self.catalog.write() as connection:
            heartbeats.bury_owner(connection, self._worker, self.now())
        self._bells.messages.clear()
        self._register(f"{self._worker}'s heir")

    def go_on(self) -> Outcome:
        """Bring the job that was begun to its end."""
        return self._drive()

    @property
    def state(self) -> str:
        """The job's."""
        with self.catalog.read() as connection:
            row = jobs.get(connection, self.job)
        assert row is not None
        return str(row.state)

    @property
    def arrived(self) -> bool:
        """Whether the target holds the image under its tag, byte for byte."""
        held = self.target.tags.get("app", {}).get("1") == self.digest
        return held and LAYER in self.target.blobs["app"].values()

    def count(self, verb: Verb) -> int:
        """How many requests of a kind have come."""
        proxy = self.before_source if verb in AT_THE_SOURCE else self.before_target
        return proxy.count(verb)

    def transfer(self, direction: str) -> Any:
        """The row of the layer's transfer."""
        with self.catalog.read() as connection:
            return connection.execute(
                select(transfers).where(
                    transfers.c.direction == direction, transfers.c.size == len(LAYER)
                )
            ).one()

    def close(self) -> None:
        """Stop everything."""
        self._resources.close()

    # --- inside --------------------------------------------------------------------------------

    def _register(self, worker: str) -> None:
        self._worker = worker
        with self.catalog.write() as connection:
            threads = Threads(control=1, downloads=2, uploads=2)
            heartbeats.register(connection, worker, pid=1, threads=threads, now=self.now())

    def _drive(self) -> Outcome:
        for _ in range(MAX_WAITS):
            self.work()
            with self.catalog.read() as connection:
                row = jobs.get(connection, self.job)
            assert row is not None
            if row.state not in jobs.ACTIVE:
                return self._outcome(row)
            self.wait()
        raise AssertionError("the job does not end")

    def _answer(self, message: Message) -> None:
        way = message.queue.direction
        if way is not None:
            run_bundle(way, int(message.id), self._worker, self.context, self._renewer)
        else:
            run_batch(message.id, self._worker, self.context, self._renewer)

    def wait(self) -> None:
        """Set the clock to when the next thing is due, and dispatch for it."""
        now = self.now()
        with self.catalog.write() as connection:
            coming = [
                connection.execute(select(func.min(column)).where(column > now)).scalar()
                for column in (
                    job_rows.c.not_before,
                    transfers.c.not_before,
                    lanes.c.parked_until,
                )
            ]
            self._ahead_seconds += min((at - now for at in coming if at), default=1.0) + 0.001
            admission.promote(connection, self.now())
            jobs.promote(connection, self.now(), limit=100)
            self._bells.publish(dispatch(connection, self.now()))

    def _note_parks(self) -> None:
        with self.catalog.read() as connection:
            for delay in (lanes.c.parked_delay, budgets.c.parked_delay):
                seconds = connection.execute(select(func.max(delay))).scalar() or 0.0
                self.longest_park = max(self.longest_park, seconds)

    def _outcome(self, row: Any) -> Outcome:
        with self.catalog.read() as connection:
            tries = connection.execute(select(func.max(transfers.c.tries))).scalar() or 1
            attempts = connection.execute(select(func.max(job_rows.c.attempts))).scalar() or 0
        error = row.error or {}
        if error.get("code") == "partial":
            with self.catalog.read() as connection:
                error = connection.execute(
                    select(job_rows.c.error).where(job_rows.c.parent == row.id)
                ).scalar_one()
        told = error.get("attempts", 1)
        return Outcome(
            state=row.state,
            tries=max(tries, attempts + 1, told),
            parked_seconds=float(round(self.longest_park)),
            code=error.get("code", ""),
            side=error.get("side", ""),
        )
