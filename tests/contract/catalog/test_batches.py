"""Jobs that are advanced together: who is in a batch, and that none decides for the others."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import Connection

from tests.contract.catalog.scene import HERE, THERE, Scene, named, new_job
from tests.support.course import RoomyContent, SilentWire
from transship.store.catalog.access.credentials import Sealer
from transship.store.catalog.scheduling import heartbeats, jobs
from transship.store.catalog.scheduling.admission import job_admission
from transship.store.catalog.scheduling.admission.job_admission import Dispatched
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.errors import LeaseLostError, RegistryNotFoundError
from transship.workers.process import batch
from transship.workers.process.batch import run_batch
from transship.workers.runtime.context import WorkerContext
from transship.workers.runtime.leases import LeaseMonitor, LeaseRenewer
from transship.workers.steps.needs import Steps, ask, outside, transact
from transship.workers.steps.outcome import Done, Later, Outcome, Waiting

Handler = Callable[[JobLease], Steps[Outcome]]


def submit(scene: Scene, *ids: str, parent: str | None = "mirror", **fields: Any) -> None:
    """Make jobs that may be advanced together."""
    values: dict[str, Any] = {"batched": True, **fields}
    with scene.catalog.write() as connection:
        jobs.create(
            connection,
            [
                new_job(id_, parent=parent, child_key=id_, root=parent, **values)
                if parent is not None
                else new_job(id_, **values)
                for id_ in ids
            ],
            scene.now,
        )


def dispatch(scene: Scene) -> list[Dispatched]:
    with scene.catalog.write() as connection:
        return job_admission.take_due(connection, scene.now)


def sizes(dispatched: Sequence[Dispatched]) -> list[int]:
    return [one.others + 1 for one in dispatched]


def take(scene: Scene, first: str) -> list[JobLease]:
    with scene.catalog.write() as connection:
        ids = [row.id for row in jobs.dispatched_with(connection, first)]
        return jobs.claim_all(connection, ids, "a worker", scene.now)


@pytest.fixture
def two_threads(scene: Scene) -> Scene:
    scene.no_workers()
    scene.worker("a worker", control=2, local=1)
    return scene


# --- who is in one -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "expected"), [(1, [1]), (5, [5]), (32, [32]), (33, [32]), (100, [32])]
)
def test_due_jobs_of_a_parent_go_together(
    two_threads: Scene, number: int, expected: list[int]
) -> None:
    """One of the two threads is left to other lanes."""
    submit(two_threads, *named("a", number))
    assert sizes(dispatch(two_threads)) == expected


def test_a_batch_is_of_one_parent_kind_priority_and_lane(scene: Scene) -> None:
    submit(scene, "a", "b")
    submit(scene, "c", parent="another")
    submit(scene, "d", kind="copy")
    submit(scene, "e", priority=5)
    submit(scene, "f", registry=THERE)
    submit(scene, "g", batched=False)
    assert Counter(sizes(dispatch(scene))) == {2: 1, 1: 5}


def test_single_jobs_of_one_requester_go_together(scene: Scene) -> None:
    submit(scene, "a", "b", parent=None, requested_by="ann")
    submit(scene, "c", parent=None, requested_by="ben")
    assert sorted(sizes(dispatch(scene))) == [1, 2]


def test_a_batch_counts_as_one_thread(two_threads: Scene) -> None:
    submit(two_threads, *named("a", 64))
    (first,) = dispatch(two_threads)
    leases = take(two_threads, first.id)
    assert len(leases) == 32
    submit(two_threads, "elsewhere", parent=None, registry=THERE)
    assert [one.id for one in dispatch(two_threads)] == ["elsewhere"]
    assert dispatch(two_threads) == []


def test_what_was_not_taken_up_is_dispatched_again(scene: Scene) -> None:
    submit(scene, "a", "b")
    assert sizes(dispatch(scene)) == [2]
    assert dispatch(scene) == []
    scene.now += 6
    assert sizes(dispatch(scene)) == [2]
    assert len(take(scene, "a")) == 2
    assert take(scene, "a") == take(scene, "b") == []


def test_the_death_of_a_batch_counts_for_none_and_each_goes_alone(scene: Scene) -> None:
    submit(scene, "a", "b")
    dispatch(scene)
    assert len(take(scene, "a")) == 2
    with scene.catalog.write() as connection:
        heartbeats.bury_everyone(connection, scene.now)
    scene.worker("a worker", control=64)
    assert [scene.job_row(one).crashes for one in "ab"] == [0, 0]
    assert sizes(dispatch(scene)) == [1, 1]
    (alone,) = take(scene, "a")
    with scene.catalog.write() as connection:
        jobs.save(connection, alone, checkpoint={"a": "stage"})  # it got further
        jobs.release(connection, alone, now=scene.now, again_in=0)
    assert not scene.job_row("a").alone
    assert scene.job_row("b").alone


def test_a_listening_registry_is_asked_by_one(scene: Scene) -> None:
    scene.park(HERE, 10)
    submit(scene, *named("a", 5))
    assert dispatch(scene) == []
    scene.now += 11
    assert sizes(dispatch(scene)) == [1]


# --- how one is advanced -----------------------------------------------------------------------


@dataclass
class Bench:
    """Runs batches of jobs whose handler the test brings."""

    scene: Scene
    monkeypatch: pytest.MonkeyPatch
    context: WorkerContext
    transactions: int = 0
    asked: list[str] = field(default_factory=list)

    def run(self, *ids: str, handler: Handler) -> None:
        def advance(lease: JobLease, _: WorkerContext, __: LeaseMonitor) -> Steps[Outcome]:
            return handler(lease)

        self.monkeypatch.setattr(batch, "HANDLERS", {"pull": advance})
        submit(self.scene, *ids)
        dispatch(self.scene)
        renewer = LeaseRenewer(
            self.scene.catalog, worker="a worker", lease_seconds=20.0, stopping=threading.Event()
        )
        run_batch(ids[0], "a worker", self.context, renewer)

    def states(self, *ids: str) -> list[str]:
        return [self.scene.job_row(id_).state for id_ in ids]

    def look(self, thing: str) -> str:
        self.asked.append(thing)
        return thing


@pytest.fixture
def bench(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Bench:
    scene.submit("mirror", kind="mirror")
    context = WorkerContext(
        catalog=scene.catalog,
        content=cast("Any", RoomyContent()),
        registries=cast("Any", None),
        sealer=Sealer(Fernet.generate_key().decode()),
        wire=SilentWire(),
    )
    return Bench(scene, monkeypatch, context)


def upper(connection: Connection, now: float, words: Sequence[tuple[JobLease, str]]) -> list[str]:
    del connection, now
    return [f"{len(words)} {word.upper()}" for _, word in words]


def test_each_gets_its_own_answers(bench: Bench) -> None:
    def handler(lease: JobLease) -> Steps[Outcome]:
        (found,) = yield from ask(bench.look, [lease.id], registry=HERE)
        told = yield from transact(upper, found)
        again = yield from transact(upper, told)
        return Done({"told": again})

    bench.run("a", "b", handler=handler)
    assert bench.states("a", "b") == ["succeeded", "succeeded"]
    assert bench.scene.job_row("a").result == {"told": "2 2 A"}
    assert bench.scene.job_row("b").result == {"told": "2 2 B"}


def test_shared_questions_are_asked_once(bench: Bench) -> None:
    def handler(lease: JobLease) -> Steps[Outcome]:
        found = yield from ask(bench.look, ["same", lease.id], registry=HERE, key=str)
        return Done({"found": found})

    bench.run("a", "b", "c", handler=handler)
    assert Counter(bench.asked) == {"same": 1, "a": 1, "b": 1, "c": 1}
    assert bench.scene.job_row("c").result == {"found": ["same", "c"]}


def test_pieces_that_follow_one_another_share_a_transaction(
    bench: Bench, statements: Callable[[], list[str]]
) -> None:
    def handler(lease: JobLease) -> Steps[Outcome]:
        for _ in range(5):
            yield from transact(upper, lease.id)
        yield from outside(lambda: None)
        for _ in range(5):
            yield from transact(upper, lease.id)
        return Waiting()

    submit(bench.scene, "warm")
    statements()
    bench.run(*named("a", 16), handler=handler)
    begun = [one for one in statements() if one.startswith(("BEGIN IMMEDIATE", "SELECT pg_advis"))]
    # To submit, to dispatch, to claim; then two for all sixteen.
    assert len(begun) <= 5


def test_no_transaction_writes_very_many_rows(bench: Bench) -> None:
    together: list[int] = []

    def much(
        connection: Connection, now: float, some: Sequence[tuple[JobLease, None]]
    ) -> list[None]:
        del connection, now
        together.append(len(some))
        return [None] * len(some)

    def handler(lease: JobLease) -> Steps[Outcome]:
        rows = 5 * batch.MAX_ROWS if lease.id == "a/0" else batch.MAX_ROWS // 4
        yield from transact(much, None, rows=rows)
        return Done({})

    ids = named("a", 10)
    bench.run(*ids, handler=handler)
    assert together == [1, 4, 4, 1]
    assert set(bench.states(*ids)) == {"succeeded"}


def test_one_that_fails_fails_alone(bench: Bench) -> None:
    def handler(lease: JobLease) -> Steps[Outcome]:
        yield from transact(upper, lease.id)
        if lease.id == "bad":
            raise RegistryNotFoundError("not there", registry=HERE, http_status=404)
        if lease.id == "broken":
            raise ZeroDivisionError
        yield from ask(bench.look, [lease.id], registry=HERE)
        return Done({})

    bench.run("a", "bad", "broken", "b", handler=handler)
    assert bench.states("a", "bad", "broken", "b") == ["succeeded", "failed", "failed", "succeeded"]
    assert bench.scene.job_row("bad").error["code"] == "not-in-registry"
    assert bench.scene.job_row("broken").error["code"] == "internal"


def test_a_piece_that_fails_over_one_is_done_for_the_others(bench: Bench) -> None:
    def poisoned(
        connection: Connection, now: float, ids: Sequence[tuple[JobLease, str]]
    ) -> list[None]:
        jobs.save_all(connection, [(lease, {"attempts": 7}) for lease, _ in ids])
        if any(id_ == "bad" for _, id_ in ids):
            raise OverflowError("a number that no column takes")
        return [None] * len(ids)

    def handler(lease: JobLease) -> Steps[Outcome]:
        yield from transact(poisoned, lease.id)
        return Done({})

    bench.run("a", "bad", "b", handler=handler)
    assert bench.states("a", "bad", "b") == ["succeeded", "failed", "succeeded"]
    assert [bench.scene.job_row(one).attempts for one in ("a", "bad", "b")] == [7, 0, 7]


def test_a_question_that_one_was_stopped_in_is_asked_by_the_next(bench: Bench) -> None:
    def handler(lease: JobLease) -> Steps[Outcome]:
        def question(thing: str) -> str:
            bench.look(f"{lease.id} {thing}")
            if lease.id == "lost":
                raise LeaseLostError("it is held no more")
            return thing

        found = yield from ask(question, ["same"], registry=HERE, key=str)
        return Done({"found": found})

    bench.run("lost", "a", handler=handler)
    assert sorted(bench.asked) == ["a same", "lost same"]
    assert bench.states("lost", "a") == ["running", "succeeded"]  # until its lease has expired


def test_who_is_held_by_another_writes_nothing(bench: Bench) -> None:
    def handler(lease: JobLease) -> Steps[Outcome]:
        def taken_away() -> None:
            if lease.id == "gone":
                with bench.scene.catalog.write() as connection:
                    row = bench_row(connection)
                    heartbeats.reap(
                        connection, [(("job", "gone"), (row.fence, row.beat))], bench.scene.now
                    )

        def bench_row(connection: Connection) -> Any:
            return jobs.get(connection, "gone")

        yield from outside(taken_away)
        yield from transact(upper, lease.id)
        return Done({})

    bench.run("gone", "a", handler=handler)
    assert bench.states("a") == ["succeeded"]
    assert bench.scene.job_row("gone").state == "running"
    assert bench.scene.is_due("gone")


def test_some_end_some_wait_and_some_come_again(bench: Bench) -> None:
    outcomes: dict[str, Outcome] = {"done": Done({}), "later": Later(30.0), "waits": Waiting()}

    def handler(lease: JobLease) -> Steps[Outcome]:
        yield from transact(upper, lease.id)
        return outcomes[lease.id]

    bench.run("done", "later", "waits", handler=handler)
    assert bench.states("done", "later", "waits") == ["succeeded", "running", "running"]
    assert bench.scene.job_row("later").not_before > bench.scene.catalog.now()
    assert bench.scene.is_due("waits")  # for it waits for nothing


def test_a_cancelled_one_leaves_the_others_alone(bench: Bench) -> None:
    def handler(lease: JobLease) -> Steps[Outcome]:
        yield from transact(upper, lease.id)
        return Done({})

    submit(bench.scene, "a", "cancelled", "b")
    dispatch(bench.scene)
    with bench.scene.catalog.write() as connection:
        connection.exec_driver_sql(
            "UPDATE jobs SET stop_requested = 'cancelled' WHERE id = 'cancelled'"
        )
    bench.run("a", handler=handler)
    assert bench.states("a", "cancelled", "b") == ["succeeded", "cancelled", "succeeded"]
