"""Registries that are left alone: how long, who serves meanwhile, and who goes ahead afterwards."""

from __future__ import annotations

import pytest

from tests.contract.catalog.scene import HERE, THERE, Scene
from transship.store.catalog.scheduling.admission import parking
from transship.store.catalog.scheduling.admission.parking import Probe


def back_off(scene: Scene, *, probed: bool = False) -> float:
    with scene.catalog.write() as connection:
        return parking.back_off(connection, HERE, scene.now, probed=probed)


def enter(scene: Scene, registry: str = HERE) -> Probe | bool:
    with scene.catalog.write() as connection:
        return parking.enter(connection, registry, scene.now)


def probe(scene: Scene) -> Probe:
    leave = enter(scene)
    assert isinstance(leave, Probe)
    return leave


def reopen(scene: Scene, ahead: Probe) -> None:
    with scene.catalog.write() as connection:
        parking.reopen(connection, ahead)


def test_a_registry_that_was_never_parked_is_open(scene: Scene) -> None:
    assert enter(scene) is True
    scene.want(scene.job("j"), "a")
    assert enter(scene) is True


def test_each_park_is_twice_as_long_up_to_a_minute(scene: Scene) -> None:
    seconds = []
    for _ in range(8):
        seconds.append(back_off(scene))
        scene.now += seconds[-1]
    assert seconds == [1, 2, 4, 8, 16, 32, 60, 60]


def test_many_who_find_out_at_the_same_time_count_once(scene: Scene) -> None:
    assert [back_off(scene), back_off(scene), back_off(scene)] == [1, 0, 0]
    assert scene.lane(HERE).parked_until == scene.now + 1


def test_while_it_is_parked_nobody_goes(scene: Scene) -> None:
    scene.park(HERE, 30)
    scene.now += 29
    assert enter(scene) is False
    assert enter(scene, THERE) is True


def test_after_a_park_one_goes_ahead(scene: Scene) -> None:
    scene.park(HERE, 30)
    scene.now += 30
    assert isinstance(enter(scene), Probe)
    assert enter(scene) is False


def test_when_that_got_an_answer_all_may_go(scene: Scene) -> None:
    scene.park(HERE, 30)
    scene.now += 30
    reopen(scene, probe(scene))
    assert [enter(scene), enter(scene)] == [True, True]
    assert back_off(scene) == 1  # as if nothing had been


def test_when_that_got_none_the_next_park_is_longer(scene: Scene) -> None:
    scene.park(HERE, 8)
    scene.now += 8
    probe(scene)
    assert back_off(scene) == 0  # of somebody who went before
    assert back_off(scene, probed=True) == 16


def test_who_goes_ahead_and_is_not_heard_of_is_followed(scene: Scene) -> None:
    scene.park(HERE, 8)
    scene.now += 8
    first = probe(scene)
    scene.now += 8
    second = probe(scene)
    assert second != first
    reopen(scene, first)  # too late: the second is on its way
    assert enter(scene) is False


def test_after_a_park_of_an_hour_nobody_waits_an_hour_for_the_probe(scene: Scene) -> None:
    scene.park(HERE, 3600)
    scene.now += 3600
    probe(scene)
    scene.now += parking.LONGEST_SECONDS
    assert isinstance(enter(scene), Probe)


def test_a_park_that_was_asked_for_meanwhile_stays(scene: Scene) -> None:
    scene.park(HERE, 8)
    scene.now += 8
    ahead = probe(scene)
    scene.park(HERE, 100)
    reopen(scene, ahead)
    assert enter(scene) is False


@pytest.mark.parametrize("direction", ["download", "upload"])
def test_a_registry_that_does_not_answer_is_left_alone_in_both_directions(
    scene: Scene, direction: str
) -> None:
    lease = scene.job("j")
    scene.want(lease, "a", direction=direction)
    back_off(scene)
    assert scene.admit(direction) == []
    scene.now += 1
    assert scene.admit(direction) == ["a"]


def test_a_probe_is_not_hindered_by_a_clock_that_is_set_back(scene: Scene) -> None:
    scene.park(HERE, 8)
    scene.now -= 3600
    assert isinstance(enter(scene), Probe)


# --- what others can serve meanwhile -------------------------------------------------------------


def test_a_parked_registry_passes_a_download_on_to_a_source_elsewhere(two_sources: Scene) -> None:
    two_sources.park(HERE, 3600)
    assert two_sources.admit() == ["blob"]
    assert two_sources.transfer("blob").registry == THERE


def test_a_parked_registry_passes_on_the_very_download_that_it_refused(two_sources: Scene) -> None:
    two_sources.delay(two_sources.running("blob"), 3600)
    two_sources.park(HERE, 3600)
    assert two_sources.admit() == ["blob"]


def test_a_download_that_waits_for_a_parked_registry_goes_with_a_joiner_from_elsewhere(
    scene: Scene,
) -> None:
    scene.want(scene.job("one"), "blob")
    scene.park(HERE, 3600)
    scene.want(scene.job("two"), "blob", registry=THERE)
    assert scene.admit() == ["blob"]


def test_a_parked_registry_keeps_a_download_that_nobody_else_can_serve(scene: Scene) -> None:
    scene.want(scene.job("one"), "blob")
    scene.park(HERE, 3600)
    assert scene.transfer("blob").registry == HERE


def test_a_download_is_not_passed_on_to_a_registry_that_is_parked_too(scene: Scene) -> None:
    scene.want(scene.job("one"), "blob")
    scene.want(scene.job("urgent", priority=9), "blob", registry=THERE)
    scene.park(THERE, 3600)
    scene.park(HERE, 3600)
    assert scene.transfer("blob").registry == HERE


def test_an_upload_stays_with_its_destination(scene: Scene) -> None:
    scene.want(scene.job("one"), "blob", direction="upload")
    scene.want(scene.job("two"), "blob", direction="upload", registry=THERE)
    scene.park(HERE, 3600)
    assert scene.transfer("blob").registry == THERE
    assert scene.admit("upload") == ["blob"]
