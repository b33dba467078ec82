"""The limits of single registries: both directions together, at once, up and down."""

from __future__ import annotations

from typing import Any

from tests.contract.catalog.scene import HERE, THERE, Scene, named
from transship.store.catalog.scheduling.admission import limits


def _limit(scene: Scene, registry: str, **changes: Any) -> None:
    with scene.catalog.write() as connection:
        limits.override_registry(connection, registry, changes)


def test_a_registry_gets_no_more_than_its_own_limit(scene: Scene) -> None:
    scene.limit("max_concurrent_downloads", 10)
    _limit(scene, HERE, concurrency=2)
    scene.want(scene.job("here"), *named("here", 6))
    scene.want(scene.job("there"), *named("there", 6), registry=THERE)
    scene.admit()
    assert scene.busy() == {HERE: 2, THERE: 6}


def test_it_is_one_limit_for_both_directions(scene: Scene) -> None:
    _limit(scene, HERE, concurrency=2)
    scene.want(scene.job("down"), "one")
    scene.admit()
    scene.want(scene.job("up"), "two", "three", direction="upload")
    scene.admit("upload")
    assert scene.busy() == {HERE: 2}


def test_a_registry_that_is_full_leaves_the_slots_to_others(scene: Scene) -> None:
    scene.limit("max_concurrent_downloads", 3)
    _limit(scene, HERE, concurrency=1)
    scene.want(scene.job("here", priority=50), *named("here", 6))
    scene.want(scene.job("there"), *named("there", 6), registry=THERE)
    scene.admit()
    assert scene.busy() == {HERE: 1, THERE: 2}


def test_a_paused_registry_is_left_alone_until_it_is_resumed(scene: Scene) -> None:
    _limit(scene, HERE, paused=True)
    scene.want(scene.job("here"), *named("here", 3))
    scene.admit()
    assert scene.busy() == {}
    _limit(scene, HERE, paused=False)
    scene.admit()
    assert scene.busy() == {HERE: 3}


def test_no_job_is_rung_for_a_paused_registry(scene: Scene) -> None:
    _limit(scene, HERE, paused=True)
    scene.submit("here", registry=HERE)
    scene.submit("there", registry=THERE)
    assert scene.dispatched() == ["there"]


def test_a_job_that_is_to_stop_is_rung_whatever_is_paused(scene: Scene) -> None:
    lease = scene.job("here", registry=HERE)
    scene.release(lease, again_in=0)
    _limit(scene, HERE, paused=True)
    with scene.catalog.write() as connection:
        connection.exec_driver_sql("UPDATE jobs SET stop_requested = 'cancelled'")
    assert scene.dispatched() == ["here"]


def test_a_lowered_limit_lets_what_runs_end_and_admits_nothing_meanwhile(scene: Scene) -> None:
    scene.limit("max_concurrent_downloads", 4)
    scene.want(scene.job("one"), *named("one", 8))
    scene.admit()
    scene.limit("max_concurrent_downloads", 2)
    scene.admit()
    assert scene.busy() == {HERE: 4}


def test_zero_admits_nothing(scene: Scene) -> None:
    scene.limit("max_concurrent_downloads", 0)
    scene.want(scene.job("one"), "a blob")
    scene.admit()
    assert scene.busy() == {}


def test_a_registry_without_limits_has_no_row(scene: Scene) -> None:
    _limit(scene, HERE, concurrency=1, paused=True)
    _limit(scene, HERE, concurrency=None, paused=False)
    with scene.catalog.read() as connection:
        assert limits.of_registries(connection) == {}


def test_a_reset_takes_back_limits_and_registries(scene: Scene) -> None:
    scene.limit("max_concurrent_downloads", 9)
    _limit(scene, HERE, concurrency=1)
    with scene.catalog.write() as connection:
        limits.reset(connection)
        assert limits.of_registries(connection) == {}
        assert limits.effective(connection)["max_concurrent_downloads"].value == 3
