"""How a worker leaves: what it holds goes back, whether its threads look up or not."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.contract.catalog.prepared import prepared_sqlite
from tests.contract.catalog.scene import Scene
from tests.support.processes import wait_until
from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.db.schema import workers
from transship.store.catalog.scheduling.heartbeats import Threads
from transship.store.errors import HandedBackError, LeaseLostError
from transship.store.settings import Settings
from transship.workers.process.bootstrap import make_context
from transship.workers.process.worker import Worker
from transship.workers.runtime.wire import LocalWire

BLOB = "sha256:" + "a" * 64
FOUR = Threads(control=1, downloads=1, uploads=1, local=1)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    made = Catalog(prepared_sqlite(tmp_path))
    yield made
    made.close()


@pytest.fixture
def scene(catalog: Catalog) -> Scene:
    return Scene(catalog)


@pytest.fixture
def worker(catalog: Catalog, tmp_path: Path) -> Iterator[Worker]:
    wire = LocalWire(FOUR)  # nobody is attached: what is dispatched stays where it is
    context = make_context(Settings(home=tmp_path / "home"), catalog, wire)
    made = Worker(context, FOUR)
    made.start()
    yield made
    made.stop()
    wire.close()
    context.registries.close()


class Owner:
    """A thread that holds something, and looks up only when it is told to."""

    def __init__(self, worker: Worker, lease: object) -> None:
        self.look_up = threading.Event()
        self.told: list[BaseException] = []
        self._holds = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(worker, lease))
        self._thread.start()
        assert self._holds.wait(10)

    def _run(self, worker: Worker, lease: object) -> None:
        with worker._renewer.keep(lease) as monitor:  # type: ignore[arg-type]
            self._holds.set()
            self.look_up.wait(30)
            try:
                monitor.check()
            except (HandedBackError, LeaseLostError) as told:
                self.told.append(told)

    def end(self) -> type[BaseException]:
        self.look_up.set()
        self._thread.join(10)
        (told,) = self.told
        return type(told)


def threads_of(catalog: Catalog) -> list[tuple[int, ...]]:
    with catalog.read() as connection:
        rows = connection.execute(select(workers)).all()
    return [(row.control, row.downloads, row.uploads, row.local) for row in rows]


def test_it_counts_for_nothing_as_soon_as_it_leaves(worker: Worker, catalog: Catalog) -> None:
    assert threads_of(catalog) == [(1, 1, 1, 1)]
    assert worker.leave(0)
    assert threads_of(catalog) == [(0, 0, 0, 0)]
    worker.stop()
    assert threads_of(catalog) == []


def test_it_counts_for_nothing_while_the_broker_cannot_reach_it(
    catalog: Catalog, tmp_path: Path
) -> None:
    connected = threading.Event()
    connected.set()
    wire = LocalWire(FOUR)
    context = make_context(Settings(home=tmp_path / "home"), catalog, wire)
    worker = Worker(context, FOUR, connected=connected.is_set)
    worker.start()
    assert threads_of(catalog) == [(1, 1, 1, 1)]
    connected.clear()
    wait_until(lambda: threads_of(catalog) == [(0, 0, 0, 0)], 10, "its row to say so")
    connected.set()
    wait_until(lambda: threads_of(catalog) == [(1, 1, 1, 1)], 10, "its row to say so")
    connected.clear()
    worker.leave(0)
    connected.set()
    worker._renewer._beat([], time.monotonic())
    assert threads_of(catalog) == [(0, 0, 0, 0)]
    worker.stop()
    wire.close()
    context.registries.close()


def test_it_waits_for_those_who_look_up(worker: Worker, scene: Scene) -> None:
    owner = Owner(worker, scene.job("a job", owner=worker.id))
    threading.Timer(0.2, owner.look_up.set).start()
    begun = time.monotonic()
    assert worker.leave(20)
    assert time.monotonic() - begun < 10
    assert owner.end() is HandedBackError


def test_a_job_is_taken_from_a_thread_that_is_stuck(worker: Worker, scene: Scene) -> None:
    owner = Owner(worker, scene.job("a job", owner=worker.id))
    assert not worker.leave(0.1)
    row = scene.job_row("a job")
    assert (row.owner, row.due, row.crashes, row.attempts) == (None, True, 0, 0)
    scene.now = row.not_before
    assert scene.take("a job", "another worker") is not None
    assert owner.end() is LeaseLostError


def test_a_transfer_is_taken_from_a_thread_that_is_stuck(worker: Worker, scene: Scene) -> None:
    job = scene.job("a job", owner="another worker")
    scene.want(job, BLOB)
    claim = scene.running(BLOB, owner=worker.id)
    claim.done = claim.moved = 5
    owner = Owner(worker, claim)
    assert not worker.leave(0.1)
    row = scene.transfer(BLOB)
    assert (row.state, row.owner, row.tries, row.crashes) == ("pending", None, 0, 0)
    assert row.bytes_moved == 5
    assert owner.end() is LeaseLostError


def test_what_could_not_be_held_any_more_is_nobody_elses_loss(worker: Worker, scene: Scene) -> None:
    lease = scene.job("a job", owner=worker.id)
    owner = Owner(worker, lease)
    scene.end(lease)
    assert not worker.leave(0.1)
    assert scene.job_row("a job").state == "succeeded"
    owner.end()
