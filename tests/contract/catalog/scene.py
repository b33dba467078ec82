"""Jobs and transfers in a few words, at a time that the test sets.

Each call is one transaction, as it is for a worker.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, func, select, text

from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.db.schema import SMALL_BLOB_BYTES, TRANSFER_BUSY, lanes
from transship.store.catalog.db.schema import transfers as transfer_rows
from transship.store.catalog.scheduling import events, heartbeats, jobs, progress, transfers, waits
from transship.store.catalog.scheduling.admission import admission, job_admission, limits, parking
from transship.store.catalog.scheduling.admission.sources import WaitSource
from transship.store.catalog.scheduling.events import Event
from transship.store.catalog.scheduling.heartbeats import Threads
from transship.store.catalog.scheduling.jobs import JobLease, NewJob
from transship.store.catalog.scheduling.progress import Progress
from transship.store.catalog.scheduling.transfers import TransferLease
from transship.store.catalog.scheduling.waits import WaitState, Wanted
from transship.store.errors import LeaseLostError
from transship.workers.jobs.stopping import stop_jobs

HERE, THERE = "here.test", "there.test"
BLOB_BYTES = SMALL_BLOB_BYTES + 1  # it gets a slot of its own
FAILURE: dict[str, Any] = {
    "code": "not-in-registry",
    "side": "source",
    "subject": "a blob",
    "detail": "is not there",
    "hint": "",
    "retryable": False,
    "attempts": 1,
}


@dataclass
class Scene:
    """A catalog and a clock that stands still until the test moves it."""

    catalog: Catalog
    now: float = 1_000_000.0

    # --- workers and limits ---

    def worker(self, id_: str, *, pid: int = 1, **threads: int) -> None:
        with self.catalog.write() as connection:
            heartbeats.register(connection, id_, pid=pid, threads=Threads(**threads), now=self.now)

    def no_workers(self) -> None:
        with self.catalog.write() as connection:
            heartbeats.bury_everyone(connection, self.now)

    def reap(self, what: str, id_: str | int, fence: int) -> None:
        """Take a job or a transfer, which has never beaten, from its owner."""
        with self.catalog.write() as connection:
            heartbeats.reap(connection, [((what, id_), (fence, 0))], self.now)

    def limit(self, name: str, value: int | None) -> None:
        with self.catalog.write() as connection:
            limits.override(connection, name, value)

    def pause(self, registry: str) -> None:
        with self.catalog.write() as connection:
            limits.override_registry(connection, registry, {"paused": True})

    # --- jobs ---

    def submit(self, id_: str, **fields: Any) -> str:
        """Make a job that is due."""
        with self.catalog.write() as connection:
            jobs.create(connection, [new_job(id_, **fields)], self.now)
        return id_

    def take(self, id_: str, owner: str = "a worker") -> JobLease | None:
        with self.catalog.write() as connection:
            jobs.promote(connection, self.now, limit=100)
            return jobs.claim(connection, id_, owner, self.now)

    def job(self, id_: str, *, owner: str = "a worker", **fields: Any) -> JobLease:
        """Make a job and take it up."""
        self.submit(id_, **fields)
        lease = self.take(id_, owner)
        assert lease is not None
        return lease

    def release(self, lease: JobLease, *, again_in: float | None = None) -> None:
        with self.catalog.write() as connection:
            jobs.release(connection, lease, now=self.now, again_in=again_in)

    def end(self, lease: JobLease, state: str = "succeeded", **more: Any) -> None:
        """End a job as its worker does: waits, row."""
        with self.catalog.write() as connection:
            waits.abandon(connection, [lease.id], self.now)
            jobs.finish(connection, [jobs.End(lease, state, **more)], self.now)

    def stop(self, id_: str, reason: str = "cancelled") -> list[str]:
        with self.catalog.write() as connection:
            return stop_jobs(connection, id_, reason, self.now)

    def dispatched(self) -> list[str]:
        """The jobs that a scheduler would dispatch now; they count as dispatched."""
        with self.catalog.write() as connection:
            jobs.promote(connection, self.now, limit=100)
            return [row.id for row in job_admission.take_due(connection, self.now)]

    def job_row(self, id_: str) -> Row[Any]:
        with self.catalog.read() as connection:
            row = jobs.get(connection, id_)
        assert row is not None
        return row

    def is_due(self, id_: str) -> bool:
        return bool(self.job_row(id_).due)

    def events_of(self, id_: str) -> list[Event]:
        with self.catalog.read() as connection:
            return events.of_job(connection, id_)

    def progress_of(self, id_: str) -> Progress:
        with self.catalog.read() as connection:
            return progress.of_jobs(connection, [id_])[id_]

    def waits_of(self, id_: str) -> list[WaitState]:
        with self.catalog.read() as connection:
            return waits.of_job(connection, id_)

    # --- transfers ---

    def want(self, lease: JobLease, *digests: str, registry: str = HERE, **more: Any) -> None:
        """Let the job wait for blobs, by default to be downloaded from `here.test/app`."""
        with self.catalog.write() as connection:
            if lease.id not in jobs.held(connection, [lease]):
                raise LeaseLostError("it is held no more", subject=lease.id)
            some = [wanted(digest, registry=registry, **more) for digest in digests]
            waits.want(connection, [(lease, some)], self.now)

    def admit(self, direction: str = "download") -> list[str]:
        """Admit what there is room for; the digests, in the order of admission."""
        with self.catalog.write() as connection:
            admitted = admission.admit(connection, direction, self.now)
        return [digest for one in admitted for digest in one.digests]

    def promote(self) -> int:
        with self.catalog.write() as connection:
            return admission.promote(connection, self.now)

    def claim(self, digest: str, owner: str = "a worker") -> TransferLease | None:
        """Take up the newest transfer of *digest*, which has a slot of its own."""
        row = self.transfer(digest)
        with self.catalog.write() as connection:
            found = transfers.claim(connection, row.direction, row.bundle, owner, self.now)
        assert len(found) <= 1
        return found[0] if found else None

    def running(
        self, digest: str, owner: str = "a worker", direction: str = "download"
    ) -> TransferLease:
        """Admit and take up the transfer of *digest*."""
        self.admit(direction)
        claim = self.claim(digest, owner)
        assert claim is not None
        return claim

    def complete(self, claim: TransferLease, source: WaitSource | None = None) -> None:
        claim.moved, claim.done = claim.size - claim.done + claim.moved, claim.size
        with self.catalog.write() as connection:
            if not transfers.held(connection, [claim], locked=True):
                raise LeaseLostError("it is held no more", subject=claim.digest)
            transfers.complete(connection, [(claim, source or claim.sources[0])], self.now)

    def fail(self, claim: TransferLease) -> None:
        with self.catalog.write() as connection:
            transfers.fail(connection, claim, FAILURE, self.now)

    def exclude(self, claim: TransferLease) -> None:
        with self.catalog.write() as connection:
            transfers.exclude(connection, claim, claim.sources[0], FAILURE, self.now)

    def delay(self, claim: TransferLease, seconds: float, *, counts: bool = True) -> None:
        with self.catalog.write() as connection:
            transfers.delay(connection, claim, FAILURE, seconds, self.now, counts=counts)

    def hand_back(self, claim: TransferLease) -> None:
        with self.catalog.write() as connection:
            transfers.hand_back(connection, claim)

    def stopped(self, claim: TransferLease) -> None:
        with self.catalog.write() as connection:
            transfers.stopped(connection, claim, self.now)

    def beat(self, claim: TransferLease) -> bool | None:
        with self.catalog.write() as connection:
            return heartbeats.beat_transfers(connection, [claim]).get(claim.id)

    def park(self, registry: str, seconds: float) -> None:
        with self.catalog.write() as connection:
            parking.park(connection, registry, seconds, self.now)

    def transfer(self, digest: str) -> Row[Any]:
        """The newest transfer of *digest*."""
        with self.catalog.read() as connection:
            return connection.execute(
                select(transfer_rows)
                .where(transfer_rows.c.digest == digest)
                .order_by(transfer_rows.c.id.desc())
                .limit(1)
            ).one()

    def busy(self) -> Counter[str]:
        """How many transfers are admitted or run, by registry."""
        with self.catalog.read() as connection:
            rows = connection.execute(
                select(transfer_rows.c.registry).where(text(TRANSFER_BUSY))
            ).scalars()
            return Counter(rows)

    def transfers_of(self, digest: str) -> int:
        """How many transfers of *digest* there have been."""
        with self.catalog.read() as connection:
            return connection.execute(
                select(func.count()).where(transfer_rows.c.digest == digest)
            ).scalar_one()

    def served(self, least: int) -> list[str]:
        """Admit and complete until *least* are done, or none is left; digests as admitted."""
        order: list[str] = []
        while len(order) < least and (admitted := self.admit()):
            order += admitted
            for digest in admitted:
                claim = self.claim(digest)
                assert claim is not None
                self.complete(claim)
        return order

    def lane(self, registry: str, direction: str = "download") -> Row[Any]:
        with self.catalog.read() as connection:
            return connection.execute(
                select(lanes).where(lanes.c.registry == registry, lanes.c.direction == direction)
            ).one()


def new_job(id_: str, **fields: Any) -> NewJob:
    """A pull for nobody in particular."""
    values: dict[str, Any] = {
        "kind": "pull",
        "spec": {"kind": "pull", "reference": f"{HERE}/app:1"},
        "label": f"{HERE}/app:1",
        "registry": HERE,
        "priority": 0,
        "requested_by": "a test",
    }
    return NewJob(id=id_, **{**values, **fields})


def wanted(digest: str, **fields: Any) -> Wanted:
    """A blob that gets a slot of its own, to be downloaded."""
    values: dict[str, Any] = {
        "direction": "download",
        "size": BLOB_BYTES,
        "media_type": "application/vnd.oci.image.layer.v1.tar+gzip",
        "registry": HERE,
        "repository": "app",
        "fingerprint": "",
    }
    return Wanted(digest=digest, **{**values, **fields})


def named(prefix: str, count: int) -> list[str]:
    """Names that tell who wanted a blob and which of theirs it is."""
    return [f"{prefix}/{number}" for number in range(count)]


def those_of(prefix: str, digests: Iterable[str]) -> list[str]:
    """Those of *digests* that belong to *prefix*."""
    return [digest for digest in digests if digest.startswith(f"{prefix}/")]
