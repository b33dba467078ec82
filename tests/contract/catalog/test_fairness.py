"""In which order transfers are admitted: nobody starves behind a mirror."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.contract.catalog.scene import HERE, THERE, Scene, named, those_of


@pytest.mark.parametrize("limit", [3, 1])
def test_a_late_pull_of_six_is_admitted_in_turns_with_a_mirror_of_a_thousand(
    scene: Scene, limit: int
) -> None:
    scene.limit("max_concurrent_downloads", limit)
    scene.want(scene.job("mirror"), *named("mirror", 1000))
    scene.served(30)
    scene.want(scene.job("pull"), *named("pull", 6))
    assert those_of("pull", scene.served(12)[:12]) == named("pull", 6)


def test_two_mirrors_alternate_although_one_came_later(scene: Scene) -> None:
    scene.want(scene.job("first"), *named("first", 300))
    scene.served(100)
    scene.want(scene.job("second"), *named("second", 100))
    order = scene.served(100)
    assert len(those_of("second", order)) == pytest.approx(50, abs=3)


def test_the_children_of_a_mirror_have_one_turn_together(scene: Scene) -> None:
    scene.want(scene.job("pull"), *named("pull", 20))
    for number in range(10):
        child = scene.job(f"child {number}", root="mirror")
        scene.want(child, *named(f"mirror/{number}", 5))
    assert len(those_of("pull", scene.served(20)[:20])) == pytest.approx(10, abs=2)


def test_a_root_that_was_away_does_not_make_up_for_it(scene: Scene) -> None:
    scene.want(scene.job("steady"), *named("steady", 200))
    scene.want(scene.job("guest"), "guest/early")
    scene.served(100)
    guest = scene.job("guest again", root="guest")
    scene.want(guest, *named("guest", 40))
    assert len(those_of("guest", scene.served(40))) == pytest.approx(20, abs=3)


def test_urgent_ones_are_the_next(scene: Scene) -> None:
    scene.want(scene.job("mirror"), *named("mirror", 50))
    scene.served(10)
    scene.want(scene.job("urgent", priority=50), *named("urgent", 6))
    assert scene.served(6)[:6] == named("urgent", 6)


def test_urgent_ones_are_the_next_whichever_registry_was_served_last(scene: Scene) -> None:
    scene.limit("max_concurrent_downloads", 4)
    scene.want(scene.job("mirror"), *named("mirror", 20))
    scene.want(scene.job("urgent", priority=50), *named("urgent", 6), registry=THERE)
    assert scene.served(6)[:6] == named("urgent", 6)


def test_less_urgent_ones_come_last(scene: Scene) -> None:
    scene.want(scene.job("nightly", priority=-10), *named("nightly", 5))
    scene.want(scene.job("pull"), *named("pull", 5))
    assert scene.served(10) == [*named("pull", 5), *named("nightly", 5)]


def test_within_a_root_blobs_keep_their_order(scene: Scene) -> None:
    scene.want(scene.job("one"), *named("one", 20))
    assert scene.served(20) == named("one", 20)


def test_turns_are_counted_in_each_lane_by_itself(scene: Scene) -> None:
    """What a root has queued at a fast registry does not put it back at a slow one."""
    both = scene.job("both")
    scene.want(both, *named("fast", 100), registry=THERE)
    scene.want(scene.job("other"), *named("other", 20))
    scene.want(both, *named("both", 6))
    here = [d for d in scene.served(60) if not d.startswith("fast/")]
    assert len(those_of("both", here[:12])) == 6


def test_registries_alternate(scene: Scene) -> None:
    scene.want(scene.job("here"), *named("here", 50))
    scene.want(scene.job("there"), *named("there", 50), registry=THERE)
    count = Counter(digest.partition("/")[0] for digest in scene.served(40)[:40])
    assert count == {"here": 20, "there": 20}


@pytest.mark.parametrize("limit", [3, 1])
def test_a_registry_that_was_idle_does_not_hold_up_a_busy_one(scene: Scene, limit: int) -> None:
    scene.limit("max_concurrent_downloads", limit)
    scene.want(scene.job("busy"), *named("busy", 100))
    scene.served(50)
    scene.want(scene.job("new"), *named("new", 50), registry=THERE)
    assert len(those_of("new", scene.served(20))) == pytest.approx(10, abs=2)


def test_a_registry_that_was_parked_is_not_held_up_by_the_other(scene: Scene) -> None:
    scene.limit("max_concurrent_downloads", 1)
    scene.want(scene.job("busy"), *named("busy", 100))
    scene.served(50)
    scene.park(HERE, 60)
    scene.want(scene.job("new"), *named("new", 50), registry=THERE)
    scene.served(5)
    scene.now += 60
    assert len(those_of("busy", scene.served(20))) == pytest.approx(10, abs=2)
