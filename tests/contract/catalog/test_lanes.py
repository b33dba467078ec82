"""Closed registries: who is held back, in both of a job's lanes, and whom it costs nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.contract.catalog.scene import HERE, THERE, Scene, named
from transship.store.catalog.scheduling.admission import job_admission, lanes, limits, parking

ELSEWHERE = "elsewhere.test"


def _pause(scene: Scene, registry: str) -> None:
    with scene.catalog.write() as connection:
        limits.override_registry(connection, registry, {"paused": True})
        parking.move(connection, parking.movable(connection, scene.now), scene.now)


def _resume(scene: Scene, registry: str) -> None:
    with scene.catalog.write() as connection:
        limits.override_registry(connection, registry, {"paused": False})


def _park(scene: Scene, registry: str) -> None:
    scene.park(registry, 60.0)


def _unpark(scene: Scene, registry: str) -> None:
    with scene.catalog.write() as connection:
        parking.unpark(connection, registry)


def _possible(scene: Scene) -> bool:
    with scene.catalog.read() as connection:
        return any(
            job_admission.possible(
                connection,
                job_admission.QueueState.of_all(connection)[queue],
                lanes.state(connection, scene.now),
                scene.now,
            )
            for queue in job_admission.QUEUES
        )


CLOSED: list[tuple[Callable[[Scene, str], None], Callable[[Scene, str], None]]] = [
    (_pause, _resume),
    (_park, _unpark),
]
TWO = {"registry": HERE, "other_registry": THERE}


@pytest.mark.parametrize(("close", "open_"), CLOSED)
@pytest.mark.parametrize("registry", [HERE, THERE])
def test_a_job_waits_while_either_of_its_registries_is_closed(
    scene: Scene, close: Callable[..., None], open_: Callable[..., None], registry: str
) -> None:
    close(scene, registry)
    scene.submit("copy", **TWO)
    scene.submit("other", registry=ELSEWHERE)
    assert scene.dispatched() == ["other"]
    assert not _possible(scene)
    open_(scene, registry)
    assert _possible(scene)
    assert scene.dispatched() == ["copy"]


@pytest.mark.parametrize(("close", "open_"), CLOSED)
def test_very_many_jobs_of_a_closed_registry_are_no_work(
    scene: Scene, close: Callable[..., None], open_: Callable[..., None]
) -> None:
    close(scene, THERE)
    for number in range(300):
        scene.submit(f"copy {number}", **TWO)
    assert not _possible(scene)
    assert scene.dispatched() == []
    scene.submit("other", registry=ELSEWHERE)
    assert scene.dispatched() == ["other"]


def test_no_registry_holds_all_threads(scene: Scene) -> None:
    """Three that do not answer leave a thread to the next one."""
    scene.no_workers()
    scene.worker("w", control=8)
    held = []
    for registry in ("one.test", "two.test", "three.test"):
        for number in range(8):
            scene.submit(f"{registry} {number}", registry=registry)
        held += scene.dispatched()
    scene.submit("well", registry=HERE)
    assert "well" in scene.dispatched()
    assert len(held) < 8


def test_many_sources_that_are_well_share_a_destination_with_all_threads(scene: Scene) -> None:
    scene.no_workers()
    scene.worker("w", control=8)
    for number in range(8):
        scene.submit(f"copy {number}", registry=f"s{number}.test", other_registry=THERE)
    assert len(scene.dispatched()) == 8


@pytest.mark.parametrize("registry", [HERE, THERE])
def test_copies_leave_threads_to_whoever_asks_one_of_their_registries(
    scene: Scene, registry: str
) -> None:
    """They are of another lane: what it holds is no thread of theirs."""
    scene.no_workers()
    scene.worker("w", control=8)
    for number in range(8):
        scene.submit(f"copy {number}", **TWO)
    copies = scene.dispatched()
    assert 4 <= len(copies) < 8
    scene.submit("pull", registry=registry)
    assert "pull" in scene.dispatched()


def test_after_a_park_one_job_goes_ahead(scene: Scene) -> None:
    scene.park(HERE, 10.0)
    for number in range(5):
        scene.submit(f"pull {number}", registry=HERE)
    scene.now += 11
    assert len(scene.dispatched()) == 1


# --- downloads ---


@pytest.mark.parametrize("close", [_pause, _park])
def test_a_download_moves_to_a_waiters_other_source(
    scene: Scene, close: Callable[..., None]
) -> None:
    scene.want(scene.job("theirs"), "blob", registry=THERE)
    scene.want(scene.job("mine"), "blob", registry=HERE)
    close(scene, THERE)
    assert scene.admit() == ["blob"]
    assert scene.transfer("blob").registry == HERE


@pytest.mark.parametrize("close", [_pause, _park])
def test_who_comes_when_it_is_closed_brings_the_source(
    scene: Scene, close: Callable[..., None]
) -> None:
    scene.want(scene.job("theirs"), "blob", registry=THERE)
    close(scene, THERE)
    scene.want(scene.job("mine"), "blob", registry=HERE)
    assert scene.admit() == ["blob"]


@pytest.mark.parametrize("first", [_pause, _park])
@pytest.mark.parametrize("second", [_pause, _park])
def test_nothing_is_moved_into_a_closed_lane(
    scene: Scene, first: Callable[..., None], second: Callable[..., None]
) -> None:
    scene.want(scene.job("mine"), "blob", registry=HERE)
    scene.want(scene.job("theirs"), "blob", registry=THERE)
    first(scene, THERE)
    second(scene, HERE)
    assert scene.admit() == []
    assert scene.transfer("blob").registry == HERE


# --- budgets of credentials ---


def _exhaust(scene: Scene, credential: str, seconds: float = 600.0) -> None:
    with scene.catalog.write() as connection:
        parking.park_budget(connection, HERE, credential, seconds, scene.now)


def test_a_budget_that_is_used_up_holds_back_that_credential_alone(scene: Scene) -> None:
    _exhaust(scene, "poor")
    scene.want(scene.job("poor"), *named("poor", 700), fingerprint="poor")
    scene.want(scene.job("rich"), *named("rich", 2), fingerprint="rich")
    scene.want(scene.job("anonymous"), "anonymous")
    assert sorted(scene.admit()) == ["anonymous", *named("rich", 2)]
    scene.submit("a poor job", credential="poor")
    scene.submit("a rich job", credential="rich")
    assert scene.dispatched() == ["a rich job"]


def test_what_was_put_off_is_no_try_and_comes_back(scene: Scene) -> None:
    scene.want(scene.job("poor"), "blob", fingerprint="poor")
    scene.submit("next", credential="poor")
    _exhaust(scene, "poor", 600)
    assert (scene.admit(), scene.dispatched()) == ([], [])
    assert scene.transfer("blob").tries == 0
    scene.now += 601
    scene.promote()
    assert (scene.admit(), scene.dispatched()) == (["blob"], ["next"])


def test_an_operator_can_end_the_wait(scene: Scene) -> None:
    scene.want(scene.job("poor"), "blob", fingerprint="poor")
    scene.submit("next", credential="poor")
    _exhaust(scene, "poor")
    assert (scene.admit(), scene.dispatched()) == ([], [])
    with scene.catalog.write() as connection:
        parking.unpark(connection, HERE)
        assert parking.hurry(connection, HERE, scene.now)
        assert not parking.hurry(connection, HERE, scene.now)
    scene.promote()
    assert (scene.admit(), scene.dispatched()) == (["blob"], ["next"])


def test_a_download_whose_budget_is_used_up_takes_a_waiters_other_credential(
    scene: Scene,
) -> None:
    scene.want(scene.job("poor"), "blob", fingerprint="poor")
    scene.want(scene.job("rich"), "blob", fingerprint="rich")
    _exhaust(scene, "poor")
    assert scene.admit() == ["blob"]
    assert scene.transfer("blob").credential == "rich"
