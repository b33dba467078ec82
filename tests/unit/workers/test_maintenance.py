"""Who does the maintenance, and what a scheduler writes when there is nothing to do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import event

from store.catalog import admission, maintenance, mirrors
from store.catalog.credentials import Sealer
from store.catalog.engine import Catalog
from tests.contract.catalog.prepared import prepared_sqlite
from tests.contract.catalog.scene import Scene
from tests.support.course import RoomyContent, SilentWire
from tests.support.processes import wait_until
from tests.support.scheduling import scheduler_of
from workers.scheduler import Scheduler
from workers.world import World

LEASE_SECONDS = 0.4
PATIENCE_SECONDS = 10.0
MIRROR = {"kind": "mirror", "entries": [{"source": "r.test/a:1", "destination": "t.test/a"}]}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(
        catalog=Catalog(prepared_sqlite(tmp_path)),
        content=cast("Any", RoomyContent()),
        registries=cast("Any", _Nothing()),
        sealer=Sealer(Fernet.generate_key().decode()),
        wire=SilentWire(),
    )
    yield made
    made.close()


@pytest.fixture
def scene(world: World) -> Scene:
    scene = Scene(world.catalog, now=world.now())
    for name in ("a", "b"):
        scene.worker(name, control=8, downloads=8)
    return scene


class _Nothing:
    def close(self) -> None:
        """Nothing is open."""


def _owner(world: World) -> str | None:
    with world.catalog.read() as connection:
        return maintenance.standing(connection).owner


def _written(world: World, scheduler: Scheduler) -> int:
    """In how many write transactions a look results."""
    begun: list[object] = []

    def note(connection: object) -> None:
        begun.append(connection)

    writer = cast("Any", world.catalog)._database._writer
    event.listen(writer, "begin", note)
    try:
        scheduler.once()
    finally:
        event.remove(writer, "begin", note)
    return len(begun)


def test_the_first_who_looks_takes_it_and_the_next_watches(world: World, scene: Scene) -> None:
    first, second = scheduler_of(world, "a"), scheduler_of(world, "b")
    first.once()
    second.once()
    assert _owner(world) == "a"


def test_one_that_stands_still_for_half_a_lease_is_taken_from(world: World, scene: Scene) -> None:
    scheduler_of(world, "a", LEASE_SECONDS).once()
    other = scheduler_of(world, "b", LEASE_SECONDS)
    other.once()
    began = time.monotonic()

    def taken() -> bool:
        other.once()
        return _owner(world) == "b"

    assert not taken()
    wait_until(taken, PATIENCE_SECONDS, "the other to take it")
    assert time.monotonic() - began < LEASE_SECONDS


def test_one_that_lives_keeps_it(world: World, scene: Scene) -> None:
    one, other = (scheduler_of(world, name, LEASE_SECONDS) for name in ("a", "b"))
    until = time.monotonic() + 3 * LEASE_SECONDS
    while time.monotonic() < until:
        one.once()
        other.once()
        assert _owner(world) == "a"


def test_one_from_whom_it_was_taken_does_nothing_more(world: World, scene: Scene) -> None:
    late = scheduler_of(world, "a")
    late.once()
    with world.catalog.write() as connection:
        maintenance.take(connection, "b", maintenance.standing(connection))
        mirrors.put(
            connection, "nightly", spec=MIRROR, interval=60.0, enabled=True, now=world.now()
        )
    late.once()
    assert _owner(world) == "b"
    with world.catalog.read() as connection:
        assert mirrors.last_run(connection, "nightly") is None


def test_one_that_has_resigned_does_not_take_it(world: World, scene: Scene) -> None:
    leaving = scheduler_of(world, "a")
    leaving._maintenance.resign()
    leaving.once()
    assert _owner(world) is None


def test_a_look_at_an_idle_cluster_writes_nothing(world: World, scene: Scene) -> None:
    scheduler_of(world, "a").once()
    assert _written(world, scheduler_of(world, "b")) == 0


def test_the_one_that_maintains_writes_its_renewal_and_nothing_else(
    world: World, scene: Scene
) -> None:
    scheduler = scheduler_of(world, "a")
    scheduler.once()
    assert _written(world, scheduler) == 1


@pytest.mark.parametrize("reason", ["paused", "parked", "no thread", "no slot"])
def test_what_cannot_start_is_not_written_for(world: World, scene: Scene, reason: str) -> None:
    scheduler_of(world, "a").once()
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
        scheduler_of(world, "a").once()
    assert _written(world, scheduler_of(world, "b")) == 0


def test_what_may_start_is_dispatched_by_one_who_only_watches(world: World, scene: Scene) -> None:
    scheduler_of(world, "a").once()
    scene.want(scene.job("one"), "blob")
    scene.submit("two")
    assert _written(world, scheduler_of(world, "b")) == 1
    assert scene.transfer("blob").state == "admitted"
    assert scene.job_row("two").rung_until > 0


def test_what_was_not_taken_up_is_sent_again(world: World, scene: Scene) -> None:
    scheduler_of(world, "a").once()
    scene.now -= 2 * admission.RESEND_SECONDS
    scene.want(scene.job("one"), "blob")
    scene.admit()
    before = scene.transfer("blob").rung_until
    scheduler_of(world, "b").once()
    assert scene.transfer("blob").rung_until > before


def test_one_that_has_nothing_to_do_looks_seldom(world: World, scene: Scene) -> None:
    scheduler_of(world, "a").once()
    watching = scheduler_of(world, "b")
    watching.once()
    idle = watching._pause
    lease = scene.job("one")
    watching.once()
    busy = watching._pause
    scene.release(lease, again_in=3.0)
    watching.once()
    assert (idle, busy) == (5.0, 1.0)
    assert watching._pause == pytest.approx(3.0, abs=0.5)
