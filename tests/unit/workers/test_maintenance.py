"""Who does the maintenance, and what a scheduler writes when there is nothing to do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import event

from tests.contract.catalog.prepared import prepared_sqlite
from tests.contract.catalog.scene import Scene
from tests.support.course import RoomyContent, SilentWire
from tests.support.processes import wait_until
from tests.support.scheduling import scheduler_of
from transship.store.catalog.access.credentials import Sealer
from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.scheduling import maintenance, mirrors
from transship.store.catalog.scheduling.admission import admission
from transship.workers.process.scheduler import Scheduler
from transship.workers.runtime.context import WorkerContext

LEASE_SECONDS = 0.4
PATIENCE_SECONDS = 10.0
MIRROR = {"kind": "mirror", "entries": [{"source": "r.test/a:1", "destination": "t.test/a"}]}


@pytest.fixture
def context(tmp_path: Path) -> Iterator[WorkerContext]:
    made = WorkerContext(
        catalog=Catalog(prepared_sqlite(tmp_path)),
        content=cast("Any", RoomyContent()),
        registries=cast("Any", _Nothing()),
        sealer=Sealer(Fernet.generate_key().decode()),
        wire=SilentWire(),
    )
    yield made
    made.close()


@pytest.fixture
def scene(context: WorkerContext) -> Scene:
    scene = Scene(context.catalog, now=context.now())
    for name in ("a", "b"):
        scene.worker(name, control=8, downloads=8)
    return scene


class _Nothing:
    def close(self) -> None:
        """Nothing is open."""


def _owner(context: WorkerContext) -> str | None:
    with context.catalog.read() as connection:
        return maintenance.standing(connection).owner


def _written(context: WorkerContext, scheduler: Scheduler) -> int:
    """In how many write transactions a look results."""
    begun: list[object] = []

    def note(connection: object) -> None:
        begun.append(connection)

    writer = cast("Any", context.catalog)._database._writer
    event.listen(writer, "begin", note)
    try:
        scheduler.once()
    finally:
        event.remove(writer, "begin", note)
    return len(begun)


def test_the_first_who_looks_takes_it_and_the_next_watches(
    context: WorkerContext, scene: Scene
) -> None:
    first, second = scheduler_of(context, "a"), scheduler_of(context, "b")
    first.once()
    second.once()
    assert _owner(context) == "a"


def test_one_that_stands_still_for_half_a_lease_is_taken_from(
    context: WorkerContext, scene: Scene
) -> None:
    scheduler_of(context, "a", LEASE_SECONDS).once()
    other = scheduler_of(context, "b", LEASE_SECONDS)
    other.once()
    began = time.monotonic()

    def taken() -> bool:
        other.once()
        return _owner(context) == "b"

    assert not taken()
    wait_until(taken, PATIENCE_SECONDS, "the other to take it")
    assert time.monotonic() - began < LEASE_SECONDS


def test_one_that_lives_keeps_it(context: WorkerContext, scene: Scene) -> None:
    one, other = (scheduler_of(context, name, LEASE_SECONDS) for name in ("a", "b"))
    until = time.monotonic() + 3 * LEASE_SECONDS
    while time.monotonic() < until:
        one.once()
        other.once()
        assert _owner(context) == "a"


def test_one_from_whom_it_was_taken_does_nothing_more(context: WorkerContext, scene: Scene) -> None:
    late = scheduler_of(context, "a")
    late.once()
    with context.catalog.write() as connection:
        maintenance.take(connection, "b", maintenance.standing(connection))
        mirrors.put(
            connection, "nightly", spec=MIRROR, interval=60.0, enabled=True, now=context.now()
        )
    late.once()
    assert _owner(context) == "b"
    with context.catalog.read() as connection:
        assert mirrors.last_run(connection, "nightly") is None


def test_one_that_has_resigned_does_not_take_it(context: WorkerContext, scene: Scene) -> None:
    leaving = scheduler_of(context, "a")
    leaving._maintenance.resign()
    leaving.once()
    assert _owner(context) is None


def test_a_look_at_an_idle_cluster_writes_nothing(context: WorkerContext, scene: Scene) -> None:
    scheduler_of(context, "a").once()
    assert _written(context, scheduler_of(context, "b")) == 0


def test_the_one_that_maintains_writes_its_renewal_and_nothing_else(
    context: WorkerContext, scene: Scene
) -> None:
    scheduler = scheduler_of(context, "a")
    scheduler.once()
    assert _written(context, scheduler) == 1


@pytest.mark.parametrize("reason", ["paused", "parked", "no thread", "no slot"])
def test_what_cannot_start_is_not_written_for(
    context: WorkerContext, scene: Scene, reason: str
) -> None:
    scheduler_of(context, "a").once()
    scene.want(scene.job("one"), "blob")
    scene.admit("upload")
    if reason == "paused":
        scene.pause("here.test")
    elif reason == "parked":
        scene.park("here.test", 60)
    elif reason == "no slot":
        scene.limit("max_concurrent_downloads", 0)
    else:
        scene.no_workers()
        scheduler_of(context, "a").once()
    assert _written(context, scheduler_of(context, "b")) == 0


def test_what_may_start_is_dispatched_by_one_who_only_watches(
    context: WorkerContext, scene: Scene
) -> None:
    scheduler_of(context, "a").once()
    scene.want(scene.job("one"), "blob")
    scene.submit("two")
    assert _written(context, scheduler_of(context, "b")) == 1
    assert scene.transfer("blob").state == "admitted"
    assert scene.job_row("two").dispatched_until > 0


def test_what_was_not_taken_up_is_sent_again(context: WorkerContext, scene: Scene) -> None:
    scheduler_of(context, "a").once()
    scene.now -= 2 * admission.RESEND_SECONDS
    scene.want(scene.job("one"), "blob")
    scene.admit()
    before = scene.transfer("blob").dispatched_until
    scheduler_of(context, "b").once()
    assert scene.transfer("blob").dispatched_until > before


def test_one_that_has_nothing_to_do_looks_seldom(context: WorkerContext, scene: Scene) -> None:
    scheduler_of(context, "a").once()
    watching = scheduler_of(context, "b")
    watching.once()
    idle = watching._pause
    lease = scene.job("one")
    watching.once()
    busy = watching._pause
    scene.release(lease, again_in=3.0)
    watching.once()
    assert (idle, busy) == (5.0, 1.0)
    assert watching._pause == pytest.approx(3.0, abs=0.5)
