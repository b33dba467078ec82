"""Random interleavings of everything that happens to jobs and transfers keep what is promised.

Jobs ask for blobs, messages get lost or come twice, owners die and wake up again, tries fail,
limits change, jobs are cancelled, names removed and blobs collected, in any order. After each step:

- what is admitted is within the limit, and no blob is moved twice at a time;
- a job that has not ended is due, held, or waits for a transfer that is under way;
- what has ended stays as it ended, and no try goes beyond the budget;
- the rows of children say what these come to;
- behind a published name no blob is missing.

And when all settles, every job has ended.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, cast

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
)
from sqlalchemy import and_, func, select, text

from tests.contract.catalog.prepared import prepared_sqlite
from tests.contract.catalog.scene import HERE, THERE, new_job
from tests.contract.catalog.sums import counted, kept
from tests.support.memory_store import MemoryStore
from tests.support.scheduling import scheduler_of
from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.content import blobs, references
from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.db.schema import TRANSFER_ACTIVE, TRANSFER_BUSY, edges
from transship.store.catalog.db.schema import jobs as job_rows
from transship.store.catalog.db.schema import references as reference_rows
from transship.store.catalog.db.schema import transfers as transfer_rows
from transship.store.catalog.db.schema import waits as wait_rows
from transship.store.catalog.scheduling import (
    children,
    heartbeats,
    jobs,
    progress,
    transfers,
    waits,
)
from transship.store.catalog.scheduling.admission import limits
from transship.store.catalog.scheduling.heartbeats import Threads
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.catalog.scheduling.transfers import TransferLease
from transship.store.catalog.scheduling.waits import WaitState, Wanted
from transship.store.errors import (
    LeaseLostError,
    RegistryNotFoundError,
    TooManyRequestsError,
    TransshipError,
    UnreachableError,
)
from transship.store.gc import sweep
from transship.store.oci.digest import Digest
from transship.workers.jobs.stopping import stop_jobs
from transship.workers.runtime.context import WorkerContext
from transship.workers.runtime.wire import Message
from transship.workers.transfers.settle import arrived, failed

NAMES = [f"layer {n}" for n in range(6)]
MAX_TRIES = 3
UPLOADS = 2  # at a time
LEASE_SECONDS = 20.0


def digest_of(name: str) -> str:
    return str(Digest.of(name.encode()))


@dataclass
class Bell:
    """A wire that loses nothing by itself: the test says what becomes of a message."""

    broker: str | None = None

    dispatched: list[Message] = field(default_factory=list)

    def publish(self, messages: Any) -> None:
        self.dispatched += messages

    def reachable(self) -> bool:
        return True

    def announce(self, jobs: Any) -> None:
        """Nobody listens."""

    def report(self, events: Any) -> None:
        """Nobody monitors."""

    def listen(self, on_job: Any) -> Any:
        raise NotImplementedError


class ClockedWorld(WorkerContext):
    """A context whose clock the test moves."""

    at: ClassVar[list[float]] = [1_000_000.0]

    def now(self) -> float:
        return self.at[0]


class Machine(RuleBasedStateMachine):
    """Each rule is one thing that can happen, in one transaction as it is in a worker."""

    running = Bundle("running")

    def __init__(self) -> None:
        super().__init__()
        self.directory = TemporaryDirectory()
        self.catalog = Catalog(prepared_sqlite(Path(self.directory.name)))
        self.content = MemoryStore()
        self.bell = Bell()
        ClockedWorld.at = [1_000_000.0]
        self.context = ClockedWorld(
            catalog=self.catalog,
            content=self.content,
            registries=cast("Any", _Nothing()),
            sealer=cast("Any", None),
            wire=self.bell,
        )
        self.scheduler = scheduler_of(self.context, "w", LEASE_SECONDS)
        self.count = 0
        self.limit = 3
        self.ended: dict[tuple[str, Any], str] = {}
        with self.catalog.write() as connection:
            heartbeats.register(
                connection,
                "w",
                pid=1,
                threads=Threads(control=8, downloads=8, uploads=8, local=2),
                now=0,
            )
            limits.override(connection, "max_download_attempts", MAX_TRIES)
            limits.override(connection, "max_upload_attempts", MAX_TRIES)
            limits.override(connection, "max_concurrent_uploads", UPLOADS)

    def teardown(self) -> None:
        self._settle()
        self.context.close()
        self.directory.cleanup()

    # --- what happens ---

    @rule(
        names=st.sets(st.sampled_from(NAMES), min_size=1, max_size=4),
        registry=st.sampled_from([HERE, THERE]),
        to=st.sampled_from([None, None, "one.test", "two.test"]),
        priority=st.sampled_from([-10, 0, 50]),
    )
    def submit(self, names: set[str], registry: str, to: str | None, priority: int) -> None:
        """A pull, or a copy to a target."""
        self.count += 1
        made = new_job(
            f"job {self.count}",
            spec={"names": sorted(names), "to": to},
            registry=registry,
            other_registry=to or "",
            priority=priority,
        )
        with self.context.change() as change:
            jobs.create(change.connection, [made], change.now)

    @rule(
        families=st.lists(st.sets(st.sampled_from(NAMES), min_size=1, max_size=3), max_size=3),
        to=st.sampled_from([None, "one.test"]),
    )
    def submit_a_mirror(self, families: list[set[str]], to: str | None) -> None:
        """A job with a child for each set of names, in one transaction."""
        self.count += 1
        parent = f"job {self.count}"
        children = [
            new_job(
                f"{parent}.{n}",
                spec={"names": sorted(names), "to": to},
                other_registry=to or "",
                batched=True,
                parent=parent,
                child_key=str(n),
                root=parent,
            )
            for n, names in enumerate(families)
        ]
        with self.context.change() as change:
            jobs.create(change.connection, [new_job(parent, kind="mirror"), *children], change.now)

    @rule(data=st.data())
    def deliver_a_job(self, data: st.DataObject) -> None:
        """A bell for a job arrives; perhaps it was late, or comes again."""
        due = [m for m in self.bell.dispatched if m.queue.direction is None]
        if due:
            message = data.draw(st.sampled_from(due))
            if data.draw(st.booleans()):
                self.bell.dispatched.remove(message)
            self._advance(message.id)

    @rule(target=running, data=st.data())
    def deliver_a_bundle(self, data: st.DataObject) -> Any:
        admitted = [m for m in self.bell.dispatched if m.queue.direction is not None]
        if not admitted:
            return multiple()
        message = data.draw(st.sampled_from(admitted))
        if data.draw(st.booleans()):
            self.bell.dispatched.remove(message)
        return multiple(*self._claim(message))

    @rule()
    def lose_every_message(self) -> None:
        self.bell.dispatched.clear()

    @rule(claim=consumes(running))
    def arrive(self, claim: TransferLease) -> None:
        self._finish(claim, None)

    @rule(
        claim=consumes(running),
        error=st.sampled_from(
            [
                UnreachableError("is down", registry=HERE),
                TooManyRequestsError("too many", registry=HERE, http_status=429),
                RegistryNotFoundError("not there", registry=HERE),
            ]
        ),
        gained=st.sampled_from([0, 2 * 1024 * 1024]),
    )
    def break_off(self, claim: TransferLease, error: TransshipError, gained: int) -> None:
        claim.done = claim.moved = gained
        self._finish(claim, error)

    @rule(claim=running)
    def beat(self, claim: TransferLease) -> None:
        with self.catalog.write() as connection:
            heartbeats.beat_transfers(connection, [claim])

    @rule(claim=running)
    def die(self, claim: TransferLease) -> None:
        """The owner is taken for dead; it may be asleep, and come back later."""
        key = ("transfer", claim.id)
        with self.context.change() as change:
            pulse = heartbeats.pulses(change.connection).get(key)
            if pulse is not None:
                heartbeats.reap(change.connection, [(key, pulse)], change.now)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        active = self._active_jobs()
        if active:
            with self.context.change() as change:
                stop_jobs(
                    change.connection, data.draw(st.sampled_from(active)), "cancelled", change.now
                )

    @rule(limit=st.integers(0, 4))
    def change_the_limit(self, limit: int) -> None:
        self.limit = limit
        before = self._busy("download")
        with self.context.change() as change:
            limits.override(change.connection, "max_concurrent_downloads", limit)
        assert self._busy("download") <= max(limit, before)

    @rule(seconds=st.sampled_from([1.0, 6.0, 70.0, -3600.0]))
    def let_time_pass(self, seconds: float) -> None:
        """Forward, or back by an hour as a clock does that is set right."""
        ClockedWorld.at[0] += seconds
        before = self._busy("download")
        self.scheduler.once()
        assert self._busy("download") <= max(self.limit, before)

    @rule(data=st.data())
    def remove_a_name(self, data: st.DataObject) -> None:
        with self.catalog.write() as connection:
            names = [(row.name, row.digest) for row in references.listed(connection, HOUSE)]
            if names:
                references.remove(connection, HOUSE, *data.draw(st.sampled_from(names)))

    @rule()
    def collect(self) -> None:
        sweep(self.catalog, self.content, check=lambda: None)

    # --- what must hold ---

    @invariant()
    def no_blob_moves_twice(self) -> None:
        with self.catalog.read() as connection:
            keys = list(
                connection.execute(
                    select(transfer_rows.c.key).where(text(TRANSFER_ACTIVE))
                ).scalars()
            )
        assert len(keys) == len(set(keys))

    @invariant()
    def no_more_uploads_have_a_slot_than_the_limit_says(self) -> None:
        assert self._busy("upload") <= UPLOADS

    @invariant()
    def an_upload_is_blocked_while_its_blob_is_to_come_for_somebody(self) -> None:
        """Who is due or held looks for itself."""
        upload, download = transfer_rows.alias(), transfer_rows.alias()
        mine, before = wait_rows.alias(), wait_rows.alias()
        with self.catalog.read() as connection:
            blocked = connection.execute(
                select(upload.c.id, mine.c.job, job_rows.c.due, job_rows.c.owner)
                .join(mine, and_(mine.c.transfer == upload.c.id, ~mine.c.ended))
                .join(job_rows, job_rows.c.id == mine.c.job)
                .where(upload.c.state == "blocked")
            ).all()
            coming = connection.execute(
                select(upload.c.id, before.c.job)
                .join(download, download.c.digest == upload.c.digest)
                .join(before, and_(before.c.transfer == download.c.id, ~before.c.ended))
                .where(upload.c.state == "blocked", download.c.direction == "download")
            ).all()
        coming_for = {(row.id, row.job) for row in coming}
        for row in blocked:
            assert row.due or row.owner or (row.id, row.job) in coming_for

    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        with self.catalog.read() as connection:
            open_waits = connection.execute(
                select(wait_rows.c.job, transfer_rows.c.state, job_rows.c.state.label("of_job"))
                .join(transfer_rows, transfer_rows.c.id == wait_rows.c.transfer)
                .join(job_rows, job_rows.c.id == wait_rows.c.job)
                .where(~wait_rows.c.ended)
            ).all()
            active = connection.execute(
                select(job_rows).where(job_rows.c.state.in_(jobs.ACTIVE))
            ).all()
        active_states = ("blocked", "pending", "delayed", "admitted", "running")
        assert all(w.state in active_states for w in open_waits)
        assert all(w.of_job in jobs.ACTIVE for w in open_waits)
        waiting = {w.job for w in open_waits} | {j.parent for j in active}
        lost = [
            j.id
            for j in active
            if not (j.due or j.owner or j.id in waiting)
            and j.not_before == 0  # else it was put off until then
        ]
        assert lost == []

    @invariant()
    def what_has_ended_stays_so(self) -> None:
        with self.catalog.read() as connection:
            states = {
                (what, row.id): row.state
                for what, table in (("job", job_rows), ("transfer", transfer_rows))
                for row in connection.execute(select(table.c.id, table.c.state))
            }
        for key, state in self.ended.items():
            assert states[key] == state
        final = {*jobs.ENDED, "done"}
        self.ended |= {key: state for key, state in states.items() if state in final}

    @invariant()
    def what_is_kept_of_children_is_what_would_be_counted(self) -> None:
        with self.catalog.read() as connection:
            assert kept(connection) == counted(connection)

    @invariant()
    def no_more_is_done_than_there_is(self) -> None:
        with self.catalog.read() as connection:
            ids = list(connection.execute(select(job_rows.c.id)).scalars())
            for figures in progress.of_jobs(connection, ids).values():
                assert figures.bytes_done <= figures.bytes_total

    @invariant()
    def no_try_is_beyond_the_budget(self) -> None:
        with self.catalog.read() as connection:
            for row in connection.execute(select(transfer_rows)):
                assert 0 <= row.attempts <= MAX_TRIES
                assert row.tries >= 0

    @invariant()
    def nothing_is_missing_behind_a_name(self) -> None:
        with self.catalog.read() as connection:
            roots = set(connection.execute(select(reference_rows.c.digest)).scalars())
            below = connection.execute(select(edges).where(edges.c.parent.in_(roots))).all()
            needed = roots | {row.child for row in below}
        for digest in needed:
            assert self.content.size(Digest.parse(digest)) is not None, digest

    # --- inside ---

    def _advance(self, id_: str) -> None:
        """Advance a due job, and those that were dispatched with it."""
        with self.catalog.write() as connection:
            ids = [row.id for row in jobs.dispatched_with(connection, id_)]
            leases = jobs.claim_all(connection, ids, "w", self.context.now())
        for lease in leases:
            self._advance_one(lease)

    def _advance_one(self, lease: JobLease) -> None:
        if lease.kind == "gc":  # the hourly one, or one of a clock that was set back
            self.collect()
            self._end(lease, "succeeded")
            return
        if lease.kind == "mirror":
            with self.catalog.read() as connection:
                states = children.by_state(connection, lease.id)
            if lease.stop_requested is not None or not any(map(states.get, jobs.ACTIVE)):
                self._end(lease, "cancelled" if lease.stop_requested else "succeeded")
            else:
                with self.context.change() as change:
                    jobs.release(change.connection, lease, now=change.now)
            return
        names: list[str] = lease.spec["names"]
        digests = {digest_of(name): name for name in names}
        with self.catalog.write() as connection:
            blobs.lease(connection, lease.id, digests)
            held = blobs.held(connection, digests, self.context.now())
            found = waits.of_job(connection, lease.id)
            size = len(NAMES[0])
            jobs.save(
                connection,
                lease,
                bytes_total=size * len(digests),
                blobs_total=len(digests),
                bytes_skipped=0 if found else size * len(held),
                blobs_skipped=0 if found else len(held),
            )
        if lease.stop_requested is not None or any(state.error for state in found):
            self._end(lease, "cancelled" if lease.stop_requested else "failed")
        elif wanted := self._wanted(lease, digests, held, found):
            with self.context.change() as change:
                waits.want(change.connection, [(lease, wanted)], change.now)
                jobs.release(change.connection, lease, now=change.now)
        elif any(not state.ended for state in found):
            with self.context.change() as change:
                jobs.release(change.connection, lease, now=change.now)
        elif lease.spec["to"] is not None:
            self._end(lease, "succeeded")
        else:
            self._publish(lease, digests)

    def _wanted(
        self, lease: JobLease, digests: Iterable[str], held: set[str], found: list[WaitState]
    ) -> list[Wanted]:
        """What a pull or a copy has to have moved."""
        source, target = lease.asks[0][0], lease.spec["to"]
        downloads = {digest: _wanted(digest, source) for digest in digests if digest not in held}
        if target is None:
            return list(downloads.values())
        place = blobs.Source(target, "app", "")
        with self.catalog.read() as connection:
            there = blobs.confirmed(connection, list(digests), place)
        there |= {state.digest for state in found if state.direction == "upload"}
        return [
            _wanted(digest, target, direction="upload", after=downloads.get(digest))
            for digest in digests
            if digest not in there
        ]

    def _publish(self, lease: JobLease, digests: dict[str, str]) -> None:
        manifest = ("manifest of " + ", ".join(sorted(digests))).encode()
        with self.catalog.write() as connection:
            blobs.lease(connection, lease.id, [str(Digest.of(manifest))])
        root = str(self.content.put(manifest))
        with self.context.change() as change:
            connection = change.connection
            blobs.add(connection, {root: len(manifest)}, change.now)
            blobs.link(connection, root, digests)
            references.publish(
                connection,
                HOUSE,
                f"{HERE}/app:{root[7:15]}",
                root,
                "t",
                seq=lease.seq,
                now=change.now,
            )
            self._end_in(change, lease, "succeeded")

    def _end(self, lease: JobLease, state: str) -> None:
        with self.context.change() as change:
            self._end_in(change, lease, state)

    def _end_in(self, change: Any, lease: JobLease, state: str) -> None:
        waits.abandon(change.connection, [lease.id], change.now)
        jobs.finish(change.connection, [jobs.End(lease, state)], change.now)

    def _finish(self, claim: TransferLease, error: TransshipError | None) -> None:
        """End a try as a worker does; one that was taken for dead must not change anything."""
        stale = self._fence(claim) != claim.fence
        try:
            if not claim.sources:
                with self.context.change() as change:
                    transfers.stopped(change.connection, claim, change.now)
            elif error is None:
                self._bring(claim)
            else:
                failed(claim, claim.sources[0], error, self.context)
        except LeaseLostError:
            assert stale
        else:
            assert not stale

    def _bring(self, claim: TransferLease) -> None:
        if claim.direction == "download":
            with self.catalog.read() as connection:
                if not transfers.held(connection, [claim]):
                    raise LeaseLostError("it is held no more", subject=claim.digest)
            name = next(name for name in NAMES if digest_of(name) == claim.digest)
            self.content.put(name.encode())
        if not arrived([(claim, claim.sources[0])], [], self.context):
            raise LeaseLostError("it is held no more", subject=claim.digest)

    def _claim(self, message: Message) -> list[TransferLease]:
        way = message.queue.direction
        assert way is not None
        with self.catalog.write() as connection:
            return transfers.claim(connection, way, int(message.id), "w", self.context.now())

    def _fence(self, claim: TransferLease) -> int | None:
        with self.catalog.read() as connection:
            row = connection.execute(
                select(transfer_rows).where(transfer_rows.c.id == claim.id)
            ).one()
        return int(row.fence) if row.state == "running" else None

    def _busy(self, direction: str) -> int:
        """How many slots are taken."""
        slots = select(func.count(transfer_rows.c.bundle.distinct())).where(
            text(TRANSFER_BUSY), transfer_rows.c.direction == direction
        )
        with self.catalog.read() as connection:
            return connection.execute(slots).scalar_one()

    def _active_jobs(self) -> list[str]:
        with self.catalog.read() as connection:
            return list(
                connection.execute(
                    select(job_rows.c.id)
                    .where(job_rows.c.state.in_(jobs.ACTIVE))
                    .order_by(job_rows.c.seq)
                ).scalars()
            )

    def _settle(self) -> None:
        """Let everything go well from now on: every job ends."""
        with self.context.change() as change:
            limits.override(change.connection, "max_concurrent_downloads", 3)
            heartbeats.bury_owner(change.connection, "w", change.now)
            heartbeats.register(
                change.connection,
                "w",
                pid=1,
                threads=Threads(control=8, downloads=8, uploads=8, local=2),
                now=0,
            )
        for _ in range(400):
            if not self._active_jobs():
                break
            ClockedWorld.at[0] += 61.0
            self.scheduler.once()
            dispatched, self.bell.dispatched = self.bell.dispatched, []
            for message in dispatched:
                if message.queue.direction is None:
                    self._advance(message.id)
                    continue
                for claim in self._claim(message):
                    self._finish(claim, None)
        assert self._active_jobs() == []
        self.what_has_ended_stays_so()
        self.nothing_is_missing_behind_a_name()


class _Nothing:
    """Registries that nobody asks."""

    def close(self) -> None:
        """Nothing is open."""


def _wanted(digest: str, registry: str, *, direction: str = "download", **more: Any) -> Wanted:
    more = {"counted": direction == "upload", **more}
    return Wanted(
        direction=direction,
        digest=digest,
        size=len(NAMES[0]),
        media_type="t",
        registry=registry,
        repository="app",
        fingerprint="",
        **more,
    )


TestModel = Machine.TestCase
TestModel.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    suppress_health_check=[HealthCheck.too_slow],
)
