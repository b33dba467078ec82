"""How the limits are kept: how many are admitted, and when again."""

from __future__ import annotations

import pytest

from tests.contract.catalog.scene import HERE, THERE, Scene, named
from transship.store.catalog.scheduling.admission import admission, parking
from transship.store.catalog.scheduling.admission.admission import RESEND_SECONDS


@pytest.fixture
def crowded(scene: Scene) -> Scene:
    """A job wants 20 blobs down and 20 up."""
    lease = scene.job("one")
    scene.want(lease, *named("down", 20))
    scene.want(lease, *named("up", 20), direction="upload")
    return scene


@pytest.mark.parametrize(("direction", "limit"), [("download", 3), ("upload", 5)])
def test_no_more_are_admitted_than_the_limit(crowded: Scene, direction: str, limit: int) -> None:
    assert len(crowded.admit(direction)) == limit


def test_what_is_admitted_and_not_started_counts(crowded: Scene) -> None:
    crowded.admit()
    assert crowded.admit() == []


def test_what_runs_counts(crowded: Scene) -> None:
    crowded.running("down/0")
    assert crowded.admit() == []


def test_one_that_ends_makes_room_for_one(crowded: Scene) -> None:
    crowded.complete(crowded.running("down/0"))
    assert crowded.admit() == ["down/3"]


def test_one_that_is_delayed_makes_room_for_one(crowded: Scene) -> None:
    crowded.delay(crowded.running("down/0"), 10)
    assert crowded.admit() == ["down/3"]


def test_one_that_is_asked_to_stop_counts_until_its_owner_has_stopped(scene: Scene) -> None:
    lease = scene.job("one")
    scene.want(lease, "leaving")
    claim = scene.running("leaving")
    scene.want(scene.job("two"), *named("more", 3))
    scene.end(lease, "cancelled")
    assert scene.admit() == ["more/0", "more/1"]
    scene.stopped(claim)
    assert scene.admit() == ["more/2"]


def test_a_raised_limit_admits_more_at_once(crowded: Scene) -> None:
    crowded.admit()
    crowded.limit("max_concurrent_downloads", 5)
    assert len(crowded.admit()) == 2


def test_a_lowered_limit_drains(crowded: Scene) -> None:
    claims = [crowded.running(f"down/{number}") for number in range(3)]
    crowded.limit("max_concurrent_downloads", 1)
    crowded.complete(claims[0])
    crowded.complete(claims[1])
    assert crowded.admit() == []
    crowded.complete(claims[2])
    assert len(crowded.admit()) == 1


def test_a_limit_of_none_pauses(crowded: Scene) -> None:
    crowded.limit("max_concurrent_downloads", 0)
    assert crowded.admit() == []


def test_the_default_comes_back_when_the_override_goes(crowded: Scene) -> None:
    crowded.limit("max_concurrent_downloads", 0)
    crowded.limit("max_concurrent_downloads", None)
    assert len(crowded.admit()) == 3


def test_nothing_is_admitted_without_a_worker(crowded: Scene) -> None:
    crowded.no_workers()
    assert crowded.admit() == []


def test_no_more_are_admitted_than_there_are_threads_of_live_workers(crowded: Scene) -> None:
    crowded.no_workers()
    crowded.worker("small", downloads=1)
    crowded.worker("too", downloads=1, uploads=9)
    assert len(crowded.admit()) == 2


def test_threads_for_uploads_take_no_downloads(crowded: Scene) -> None:
    crowded.no_workers()
    crowded.worker("sender", uploads=9)
    assert crowded.admit() == []


# --- dispatched again ----------------------------------------------------------------------------


def _unstarted(scene: Scene) -> list[str]:
    with scene.catalog.write() as connection:
        return [one.digests[0] for one in admission.unstarted(connection, scene.now)]


def test_what_was_admitted_a_moment_ago_is_not_rung_again(crowded: Scene) -> None:
    crowded.admit()
    crowded.now += RESEND_SECONDS - 1
    assert _unstarted(crowded) == []


def test_what_was_not_started_in_time_is_rung_again(crowded: Scene) -> None:
    crowded.admit()
    crowded.now += RESEND_SECONDS
    assert sorted(_unstarted(crowded)) == ["down/0", "down/1", "down/2"]


def test_what_was_rung_again_is_left_alone_for_as_long(crowded: Scene) -> None:
    crowded.admit()
    crowded.now += RESEND_SECONDS
    _unstarted(crowded)
    crowded.now += RESEND_SECONDS - 1
    assert _unstarted(crowded) == []


def test_what_has_started_is_not_rung_again(crowded: Scene) -> None:
    for number in range(3):
        crowded.running(f"down/{number}")
    crowded.now += 10 * RESEND_SECONDS
    assert _unstarted(crowded) == []


def test_what_was_not_started_is_rung_again_although_the_clock_was_set_back(
    crowded: Scene,
) -> None:
    crowded.admit()
    crowded.now -= 86_400
    assert len(_unstarted(crowded)) == 3


# --- delayed -------------------------------------------------------------------------------------


def test_a_delayed_transfer_is_not_admitted_before_its_time(scene: Scene) -> None:
    scene.want(scene.job("one"), "blob")
    scene.delay(scene.running("blob"), 10)
    scene.now += 9
    assert scene.promote() == 0
    assert scene.admit() == []


def test_a_delayed_transfer_is_admitted_at_its_time(scene: Scene) -> None:
    scene.want(scene.job("one"), "blob")
    scene.delay(scene.running("blob"), 10)
    scene.now += 10
    assert scene.promote() == 1
    assert scene.admit() == ["blob"]


def test_a_delayed_transfer_does_not_wait_longer_because_the_clock_was_set_back(
    scene: Scene,
) -> None:
    scene.want(scene.job("one"), "blob")
    scene.delay(scene.running("blob"), 10)
    scene.now -= 3600
    assert scene.promote() == 1


def test_a_promoted_transfer_goes_behind_nobody_who_came_after_it(scene: Scene) -> None:
    scene.limit("max_concurrent_downloads", 1)
    lease = scene.job("one")
    scene.want(lease, *named("mine", 10))
    scene.delay(scene.running("mine/0"), 1)
    scene.served(3)
    scene.now += 1
    scene.promote()
    assert scene.admit() == ["mine/0"]


def test_a_promoted_transfer_does_not_go_before_the_lanes_head(scene: Scene) -> None:
    """Many that were delayed together would otherwise hold up all who came meanwhile."""
    scene.limit("max_concurrent_downloads", 1)
    scene.want(scene.job("one"), "late")
    scene.want(scene.job("other"), *named("other", 20))
    scene.delay(scene.running("late"), 1)
    scene.served(10)
    scene.now += 1
    scene.promote()
    assert scene.transfer("late").turn == scene.transfer("other/10").turn == 10


# --- parked --------------------------------------------------------------------------------------


def test_nothing_of_a_parked_registry_is_admitted(crowded: Scene) -> None:
    crowded.park(HERE, 60)
    assert (crowded.admit("download"), crowded.admit("upload")) == ([], [])


def test_a_registry_is_parked_for_as_long_as_it_asked(crowded: Scene) -> None:
    crowded.park(HERE, 60)
    crowded.now += 59
    assert crowded.admit() == []
    crowded.now += 1
    assert len(crowded.admit()) == 3


def test_a_shorter_stay_does_not_shorten_a_longer_one(crowded: Scene) -> None:
    crowded.park(HERE, 60)
    crowded.park(HERE, 1)
    crowded.now += 30
    assert crowded.admit() == []


def test_a_registry_is_not_parked_for_ever_because_the_clock_was_set_back(crowded: Scene) -> None:
    crowded.park(HERE, 60)
    crowded.now -= 86_400
    assert len(crowded.admit()) == 3


def test_how_long_a_registry_is_still_parked_is_told(crowded: Scene) -> None:
    crowded.park(HERE, 60)
    with crowded.catalog.read() as connection:
        parked = parking.parked(connection, crowded.now + 20)
    left = {registry: parked.get(registry, 0) for registry in (HERE, THERE)}
    assert left == {HERE: 40, THERE: 0}


def test_a_parked_registry_does_not_hold_up_the_other(scene: Scene) -> None:
    scene.want(scene.job("slow"), *named("slow", 50))
    scene.want(scene.job("quick"), *named("quick", 20), registry=THERE)
    scene.park(HERE, 60)
    assert scene.served(20) == named("quick", 20)
