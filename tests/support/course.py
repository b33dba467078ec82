"""A course of work on a catalog that `aged` has filled: every call into the engine is here.

The bench of scale times these calls, the test of plans reads what they execute.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import count
from types import SimpleNamespace
from typing import Any, cast

from cryptography.fernet import Fernet
from sqlalchemy import select, text, update

from tests.support import aged
from tests.support.aged import DAY, Aged, digest, job_id, registry
from tests.support.scheduling import scheduler_of
from transship.api.http.auth import LOCAL, Caller
from transship.api.routes.jobs.jobs import list_jobs
from transship.api.views.visibility import job_named
from transship.store.catalog.access import credentials
from transship.store.catalog.access.credentials import Sealer
from transship.store.catalog.access.quotas import Quotas
from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.content import (
    blobs,
    collection,
    image_events,
    layers,
    lineage,
    references,
)
from transship.store.catalog.content.blobs import Source
from transship.store.catalog.db import schema as s
from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.scheduling import (
    events,
    exports,
    heartbeats,
    jobs,
    mirrors,
    progress,
    retention,
    targets,
    transfers,
    waits,
)
from transship.store.catalog.scheduling.admission import admission, job_admission, parking, sources
from transship.store.catalog.scheduling.jobs import JobLease, NewJob
from transship.store.catalog.scheduling.transfers import TransferLease
from transship.store.catalog.scheduling.waits import Wanted
from transship.store.content.ports import ContentStore
from transship.store.errors import AmbiguousError
from transship.store.oci.platform import Platform
from transship.workers.jobs.service import JobService
from transship.workers.jobs.stopping import stop_late
from transship.workers.jobs.submission import Submission
from transship.workers.process.batch import run_batch
from transship.workers.process.outcomes import settle
from transship.workers.registry.client import RegistryClient
from transship.workers.runtime.context import WorkerContext
from transship.workers.runtime.leases import LeaseRenewer
from transship.workers.runtime.wire import Message, TaskEvent
from transship.workers.specs import parse_spec
from transship.workers.steps.outcome import Done
from transship.workers.transfers.settle import arrived

LEASE_SECONDS = 20.0
WORKER = aged.WORKERS[0]
FAILURE: dict[str, Any] = {"code": "not-in-registry", "detail": "is not there"}
_NEVER = 1e9  # seconds from now: not while a test runs


class SilentWire:
    """A wire on which everything is lost; it remembers the transfers that were sent."""

    broker: str | None = None

    def __init__(self) -> None:
        self.transfers: list[tuple[str, int]] = []

    def publish(self, messages: Iterable[Message]) -> None:
        self.transfers += [
            (one.queue.direction, int(one.id)) for one in messages if one.queue.direction
        ]

    def announce(self, jobs: Iterable[str]) -> None:
        list(jobs)

    def reachable(self) -> bool:
        return True

    def report(self, events: Iterable[TaskEvent]) -> None:
        list(events)

    def listen(self, on_job: Callable[[str], None]) -> Callable[[], None]:
        return lambda: None


class RoomyContent:
    """A store with room, and nothing else."""

    def free_bytes(self) -> int:
        return 2**50


class Course:
    """One process of the cluster at work. Each method is what one step of a worker executes."""

    def __init__(self, catalog: Catalog, size: Aged) -> None:
        self.catalog = catalog
        self.size = size
        sealer = Sealer(Fernet.generate_key().decode())
        self.wire = wire = SilentWire()
        self.context = WorkerContext(
            catalog=catalog,
            content=cast("ContentStore", RoomyContent()),
            registries=cast("RegistryClient", None),
            sealer=sealer,
            wire=wire,
        )
        self.queue = JobService(catalog, sealer, wire, Platform.host())
        self.scheduler = scheduler_of(self.context, WORKER, LEASE_SECONDS)
        self.bystander = scheduler_of(self.context, aged.WORKERS[1], LEASE_SECONDS)
        self._children = count(size.first_child)
        self._names = count(1)

    # --- jobs ---

    def submit(self, number: int = 1, **fields: Any) -> list[str]:
        """Accept pulls in one transaction, and dispatch what is due."""
        spec = parse_spec({"kind": "pull", "reference": f"{registry(0)}/library/x:1", **fields})
        wanted = [Submission(spec=spec, requested_by="user1", tenant=HOUSE) for _ in range(number)]
        return [str(answer) for answer in self.queue.submit(wanted)]

    def submit_with_key(self) -> None:
        """Accept a request, and the same one again."""
        spec = parse_spec({"kind": "pull", "reference": f"{registry(0)}/library/x:1"})
        key = f"key{next(self._names)}"
        for _ in range(2):
            self.queue.submit(
                [Submission(spec=spec, requested_by="user1", tenant=HOUSE, idempotency_key=key)]
            )

    def dispatch(self) -> None:
        """A change after which there is nothing new to do."""
        with self.context.change():
            pass

    def claim_job(self) -> JobLease:
        """Take up the next child of the mirror."""
        with self.catalog.write() as connection:
            lease = jobs.claim(connection, job_id(next(self._children)), WORKER, time.time())
        assert lease is not None
        return lease

    def release_job(self, lease: JobLease, *, again_in: float | None = None) -> None:
        """Let a job go until something wakes it, or for a while."""
        with self.context.change() as change:
            jobs.release(change.connection, lease, now=change.now, again_in=again_in)

    def finish_job(self, lease: JobLease) -> None:
        """End a job as its worker does, and dispatch what that makes possible."""
        with self.context.change() as change:
            change.directions, change.queues = (), ()
            settle(change, [(lease, Done({}))])

    def make_children(self, lease: JobLease, number: int) -> None:
        """Make children of a job, as a mirror does in pages."""
        with self.context.change() as change:
            new = [
                NewJob(
                    id=f"child{n}-of-{lease.id}",
                    kind="copy",
                    spec={},
                    label="x",
                    registry=registry(n),
                    priority=0,
                    requested_by="user1",
                    parent=lease.id,
                    child_key=str(n),
                    root=lease.root,
                )
                for n in range(number)
            ]
            jobs.create(change.connection, new, change.now)

    def cancel(self, id_: str) -> None:
        """Ask a job and its children to stop."""
        self.queue.cancel(id_)

    def cancel_mirror(self) -> None:
        """Ask the mirror of ten thousand to stop."""
        self.cancel(job_id(self.size.mirror))

    def take_mirror_up(self, renewer: LeaseRenewer) -> None:
        """Let a worker take the mirror up, which was asked to stop."""
        run_batch(job_id(self.size.mirror), WORKER, self.context, renewer)

    def mirror_has_ended(self) -> bool:
        """Whether no child of the mirror is active, nor the mirror itself."""
        id_ = job_id(self.size.mirror)
        mine = [
            select(s.jobs.c.id).where(text(f"state = '{state}'"), column == id_)
            for state in jobs.ACTIVE
            for column in (s.jobs.c.id, s.jobs.c.parent)
        ]
        with self.catalog.read() as connection:
            return all(connection.execute(one.limit(1)).first() is None for one in mine)

    def overrun_deadline(self) -> None:
        """Stop a job whose deadline has passed."""
        id_ = job_id(self.size.first_waiting + 3)
        with self.catalog.write() as connection:
            connection.execute(
                update(s.jobs).where(s.jobs.c.id == id_).values(deadline=time.time() - 1)
            )
            stop_late(connection, time.time())

    # --- transfers ---

    def want(self, lease: JobLease, *digests: str, direction: str = "download") -> None:
        """Let a job wait for blobs."""
        with self.context.change() as change:
            wanted = [
                Wanted(
                    direction=direction,
                    digest=one,
                    size=s.SMALL_BLOB_BYTES + 1,  # it gets a slot of its own
                    media_type="",
                    registry=registry(0),
                    repository="library/x",
                    fingerprint="",
                )
                for one in digests
            ]
            waits.want(change.connection, [(lease, wanted)], change.now)

    def claim_transfer(self) -> TransferLease:
        """Take up the transfer that was sent last; admit some where none was."""
        with self.catalog.write() as connection:
            if not self.wire.transfers:
                admitted = admission.admit(connection, "download", time.time())
                self.wire.transfers += [(one.direction, one.bundle) for one in admitted]
            taken = self.wire.transfers.pop()
            (claim,) = transfers.claim(connection, *taken, WORKER, time.time())
        return claim

    def complete(self, claim: TransferLease) -> None:
        """A blob has arrived; what its slot makes possible is admitted."""
        assert arrived([(claim, claim.sources[0])], (), self.context) == {claim.id}

    def fail(self, claim: TransferLease) -> None:
        """A transfer has failed for all who wait for it."""
        with self.context.change() as change:
            transfers.fail(change.connection, claim, FAILURE, change.now)

    def exclude(self, claim: TransferLease) -> None:
        """A source has refused."""
        with self.context.change() as change:
            transfers.exclude(change.connection, claim, claim.sources[0], FAILURE, change.now)

    def delay(self, claim: TransferLease) -> None:
        """A try has failed, the next one is due."""
        with self.context.change() as change:
            transfers.delay(change.connection, claim, FAILURE, 0.0, change.now, counts=True)

    def hand_back(self, claim: TransferLease) -> None:
        """An orderly stop."""
        with self.context.change() as change:
            transfers.hand_back(change.connection, claim)

    def heartbeat(self, lease: JobLease, claim: TransferLease) -> None:
        """Renew a job's lease, a transfer's, and the worker's own row."""
        with self.catalog.write() as connection:
            heartbeats.beat_jobs(connection, [lease])
            heartbeats.beat_transfers(connection, [claim])
            heartbeats.beat_worker(connection, WORKER)

    def show_life(self) -> None:
        """Renew the rows of all workers, so that none is taken for dead."""
        with self.catalog.write() as connection:
            for worker in aged.WORKERS:
                heartbeats.beat_worker(connection, worker)

    def reap(self) -> None:
        """Take a job and a transfer from a worker that died."""
        lease, claim = self.claim_job(), self.claim_transfer()
        with self.catalog.write() as connection:
            dead = [
                (("job", lease.id), (lease.fence, 0)),
                (("transfer", claim.id), (claim.fence, 0)),
            ]
            heartbeats.reap(connection, cast("Any", dead), time.time())

    def pick_jobs(self, connection: Any) -> None:
        """Pick the jobs that are dispatched now."""
        job_admission.take_due(connection, time.time())

    def admit(self, connection: Any) -> None:
        """Admit what the limits leave room for."""
        admission.admit(connection, "download", time.time())

    def waiters(self, connection: Any) -> None:
        """Who waits for a transfer, and where they may have it."""
        waits.jobs_of(connection, self.size.done + 1, limit=100)
        sources.of_transfer(connection, self.size.done + 1, time.time())

    # --- the scheduler and its maintenance ---

    def schedule(self) -> None:
        """What the worker does once a second that does the maintenance."""
        self.scheduler._maintenance.upkeep_due = time.monotonic() + _NEVER
        self.scheduler.once()

    def schedule_with_upkeep(self) -> None:
        """The same with what it does now and then."""
        self.scheduler._maintenance.upkeep_due = 0.0
        self.scheduler.once()

    def end_collection(self) -> None:
        """End the collection that the maintenance has started, if it has."""
        with self.catalog.write() as connection:
            id_ = jobs.active_of_kind(connection, "gc")
            lease = None if id_ is None else jobs.claim(connection, id_, WORKER, time.time())
        if lease is not None:
            self.finish_job(lease)

    def look(self) -> None:
        """What every other worker does once a second."""
        self.bystander.once()

    # --- everything ---

    def steps(self) -> Iterable[tuple[str, Callable[[], object]]]:
        """What a cluster does in a day, as steps with names; the last one cancels a mirror."""
        held: dict[str, Any] = {}
        past = time.time() - (aged.KEPT_DAYS - 1) * DAY
        new = [f"sha256:{n:064d}" for n in range(8)]
        yield "dispatch, nothing out yet", self.dispatch
        yield "dispatch, the mirror has its half", self.dispatch
        yield "submit one", self.submit
        yield "submit 50", lambda: self.submit(50)
        yield "submit with a key, twice", self.submit_with_key
        yield "submit with credentials", self._submit_with_credentials
        yield "submit with quotas", self._submit_within_quotas
        yield "claim a job", lambda: held.update(job=self.claim_job())
        yield "want", lambda: self.want(held["job"], *new)
        yield "want an upload", lambda: self.want(held["job"], *new[:2], direction="upload")
        yield "want what is held", lambda: self.want(held["job"], digest(1), digest(2))
        yield "join", self._join
        yield "save a plan", lambda: self._saved(held["job"])
        yield "waits of a job", lambda: self._read(lambda c: waits.of_job(c, held["job"].id))
        yield "lease blobs", lambda: self._lease_blobs(held["job"])
        yield "confirm sources", self._confirm
        yield "take a target", lambda: self._write_target(held["job"])
        yield "publish an image", lambda: self._publish(held["job"])
        yield "claim a transfer", lambda: held.update(claim=self.claim_transfer())
        yield "heartbeats", lambda: self.heartbeat(held["job"], held["claim"])
        yield "complete a transfer", lambda: self.complete(held["claim"])
        yield "fail a transfer", lambda: self.fail(self.claim_transfer())
        yield "exclude a source", lambda: self.exclude(self.claim_transfer())
        yield "hand a transfer back", lambda: self.hand_back(self.claim_transfer())
        yield "delay a transfer", lambda: self.delay(self.claim_transfer())
        yield "promote it", self._promote
        yield "keep an upload session", self._keep_session
        yield "reap", self.reap
        yield "stopped", self._stopped
        yield "release a job for a while", lambda: self.release_job(held["job"], again_in=0.0)
        yield "release a job", lambda: self.release_job(self.claim_job())
        yield "make children", lambda: held.update(parent=self._with_children(600))
        yield "finish a job", lambda: self.finish_job(self.claim_job())
        yield "fail and retry a job", self._retry
        yield "park", lambda: self._parked(registry(1))
        yield (
            "events of a job",
            lambda: self._read(lambda c: events.of_job(c, job_id(self.size.first_waiting))),
        )
        yield (
            "events of the mirror",
            lambda: self._read(
                lambda c: events.of_job(c, job_id(self.size.mirror), children=True, limit=100)
            ),
        )
        yield (
            "progress of a job",
            lambda: self._read(lambda c: progress.of_jobs(c, [job_id(self.size.first_waiting)])),
        )
        yield (
            "progress of the mirror",
            lambda: self._read(lambda c: progress.of_jobs(c, [job_id(self.size.mirror)])),
        )
        yield "list jobs", self._list
        yield "list failed jobs", lambda: self._list(state=["failed"])
        yield "list children", lambda: self._list(parent=job_id(self.size.mirror))
        yield "maintenance", self.schedule
        yield "maintenance with a mirror to start", self._start_mirror
        yield "maintenance with upkeep", self.schedule_with_upkeep
        yield "scheduler", self.look
        yield "forget jobs", lambda: self._write(lambda c: retention.forget(c, past))
        yield "forget records", lambda: self._write(lambda c: retention.forget_records(c, past))
        yield "forget, nothing is old", self._forget_nothing
        yield (
            "release exports",
            lambda: self._write(lambda c: exports.release_expired(c, time.time())),
        )
        yield "find jobs by a part of their id", self._name
        yield "begin a collection", lambda: self._write(collection.begin)
        yield "sweep", self._sweep
        yield "register, retire, reap a worker", self._worker
        yield "overrun a deadline", self.overrun_deadline
        yield "cancel one", lambda: self.cancel(job_id(self.size.first_waiting + 10))
        yield "cancel a mirror of 600", lambda: self.cancel(held["parent"])

    # --- inside: steps that only the plans are of interest of ---

    def _read(self, query: Callable[[Any], object]) -> None:
        with self.catalog.read() as connection:
            query(connection)

    def _write(self, change: Callable[[Any], object]) -> None:
        with self.catalog.write() as connection:
            change(connection)

    def _submit_with_credentials(self) -> None:
        (id_,) = self.submit()
        with self.catalog.write() as connection:
            credentials.keep(
                connection, id_, [credentials.SealedCredential(registry(0), "sealed", "print")]
            )
        self._read(lambda c: credentials.of_root(c, id_))
        self._read(credentials.all_named)

    def _submit_within_quotas(self) -> None:
        quotas = Quotas(jobs=1, spec_bytes=2**40, store_bytes=2**40)
        with self.catalog.read() as connection:
            quotas.check_store(connection, "token1")
            quotas.check_job(connection, "token1", 2**20)

    def _join(self) -> None:
        """Another job wants what is queued already."""
        self.want(self.claim_job(), *(digest(self.size.done + n) for n in range(1, 4)))

    def _with_children(self, number: int) -> str:
        lease = self.claim_job()
        self.make_children(lease, number)
        self.release_job(lease)
        return lease.id

    def _saved(self, lease: JobLease) -> None:
        with self.catalog.write() as connection:
            jobs.save(connection, lease, checkpoint={"digest": digest(1)}, blobs_total=2)

    def _lease_blobs(self, lease: JobLease) -> None:
        some = [digest(n) for n in range(1, 33)]
        with self.catalog.write() as connection:
            blobs.lease(connection, lease.id, some)
            blobs.held(connection, some, time.time())
            blobs.link(connection, digest(1), some[1:4])
            blobs.links(connection, parents=some[:2], children=some[2:4])

    def _confirm(self) -> None:
        source = Source(registry(1), "library/1", "")
        some = [digest(n) for n in range(1, 33)]
        with self.catalog.write() as connection:
            blobs.confirm(connection, some, source, time.time())
            blobs.confirmed(connection, some, source)
            blobs.record_bytes(connection, some, source)
            blobs.proven(connection, some, registry=registry(1), repository="library/1")
            blobs.sources_of(connection, digest(1))
            blobs.repositories_with(
                connection, digest(1), registry=registry(1), fingerprint="", but="x", limit=3
            )

    def _write_target(self, lease: JobLease) -> None:
        with self.catalog.write() as connection:
            targets.hold(connection, [(lease, "t.test/x:new")])
            targets.written(connection, [(lease, "t.test/x:new")])
            targets.record_derivation(connection, digest(1), "platforms", digest(2), time.time())
            targets.derived(connection, digest(1), "platforms")

    def _publish(self, lease: JobLease) -> None:
        name = f"{registry(0)}/library/x:1"
        with self.catalog.write() as connection:
            now = time.time()
            references.get(connection, HOUSE, name)
            references.publish(
                connection, HOUSE, name, digest(1), "application/x", seq=lease.seq, now=now
            )
            references.assign(connection, HOUSE, name, digest(2), "application/x", now=now)
            references.of_digest(connection, HOUSE, digest(2))
            image_events.record(connection, HOUSE, "tag", name, {}, now)
            layers.diff_id_of(connection, digest(self.size.images + 1))
            lineage.children(connection, HOUSE, digest(self.size.done - 1))

    def _promote(self) -> None:
        self._write(lambda c: admission.promote(c, time.time() + 1))
        self._write(lambda c: jobs.promote(c, time.time() + 1, limit=200))
        self._write(lambda c: admission.unstarted(c, time.time() + _NEVER))

    def _keep_session(self) -> None:
        claim = self.claim_transfer()
        with self.catalog.write() as connection:
            transfers.keep_session(connection, claim, "sealed", 0)
            transfers.held(connection, [claim])
        self.complete(claim)

    def _stopped(self) -> None:
        """A transfer that nobody waits for any more is asked to stop, and does."""
        claim = self.claim_transfer()
        for source in claim.sources:
            self.cancel(source.job)
        self._write(lambda c: transfers.stopped(c, claim, time.time()))

    def _retry(self) -> None:
        lease = self.claim_job()
        with self.context.change() as change:
            waits.abandon(change.connection, [lease.id], change.now)
            jobs.finish(change.connection, [jobs.End(lease, "failed")], change.now)
        self.queue.retry(lease.id, requested_by="user1", tenant=HOUSE)

    def _parked(self, name: str) -> None:
        with self.catalog.write() as connection:
            now = time.time()
            parking.back_off(connection, name, now, probed=False)
            parking.parked(connection, now)
            parking.enter(connection, name, now)
            probe = parking.enter(connection, name, now + 120)
            if isinstance(probe, parking.Probe):
                parking.reopen(connection, probe)

    def _list(self, **which: Any) -> None:
        """A page of jobs, as the API lists them."""
        services = cast("Any", SimpleNamespace(catalog=self.catalog))
        for asking in (LOCAL, Caller("token:x", frozenset({"submit"}), "x")):
            list_jobs(services, asking, limit=100, **which)

    def _name(self) -> None:
        """Jobs by a part of their id, as whoever may see all, and as somebody else."""
        for asking in (LOCAL, Caller("token:x", frozenset({"submit"}), "x")):
            for name in ("last", "0000", job_id(3)[:13], job_id(3)[-12:]):
                with suppress(AmbiguousError), self.catalog.read() as connection:
                    job_named(connection, asking, name)

    def _start_mirror(self) -> None:
        spec = {"kind": "mirror", "source": "r0.test/a", "destination": "t.test/a"}
        self._write(
            lambda c: mirrors.put(
                c, "hourly", spec=spec, interval=3600.0, enabled=True, now=time.time()
            )
        )
        self.schedule()

    def _forget_nothing(self) -> None:
        before = time.time() - 10 * 365 * DAY
        self._write(lambda c: retention.forget(c, before))
        self._write(lambda c: retention.forget_records(c, before))

    def _sweep(self) -> None:
        some = [digest(n) for n in range(1000, 1032)]
        with self.catalog.write() as connection:
            collection.wanted(connection, some)
            collection.only_leased(connection, some)
            collection.sweep(connection, some, 10**6)

    def _worker(self) -> None:
        threads = heartbeats.Threads(control=1)
        with self.catalog.write() as connection:
            heartbeats.register(connection, "short", pid=2, threads=threads, now=time.time())
            heartbeats.retire(connection, "short")
            heartbeats.bury_owner(connection, "short", time.time())
        with suppress(StopIteration):
            self._read(heartbeats.pulses)
