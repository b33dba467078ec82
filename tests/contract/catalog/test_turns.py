"""Requesters take turns, then their roots: many small jobs of one do not outweigh another's."""

from __future__ import annotations

import pytest

from tests.contract.catalog.scene import HERE, Scene, named, those_of


def _pulls(scene: Scene, requester: str, number: int) -> None:
    for count in range(number):
        job = scene.job(f"{requester} {count}", requested_by=requester)
        scene.want(job, f"{requester}/{count}")


@pytest.mark.parametrize("limit", [3, 1])
def test_very_many_single_pulls_do_not_outweigh_one_mirror(scene: Scene, limit: int) -> None:
    scene.limit("max_concurrent_downloads", limit)
    _pulls(scene, "busy", 100)
    scene.want(scene.job("mirror", requested_by="calm"), *named("mirror", 100))
    assert len(those_of("mirror", scene.served(60)[:60])) == pytest.approx(30, abs=3)


def test_within_a_requester_roots_take_turns(scene: Scene) -> None:
    scene.want(scene.job("mirror", requested_by="one"), *named("mirror", 100))
    scene.want(scene.job("pull", requested_by="one"), *named("pull", 6))
    scene.want(scene.job("other", requested_by="two"), *named("other", 100))
    order = scene.served(30)[:30]
    assert those_of("pull", order) == named("pull", 6)
    assert len(those_of("other", order)) == pytest.approx(15, abs=2)


def test_the_children_of_a_mirror_have_the_turn_of_who_asked_for_it(scene: Scene) -> None:
    for number in range(20):
        child = scene.job(
            f"child {number}", root="mirror", requested_by="job mirror", requester="calm"
        )
        scene.want(child, *named(f"mirror/{number}", 2))
    _pulls(scene, "busy", 40)
    assert len(those_of("busy", scene.served(20)[:20])) == pytest.approx(10, abs=2)


def test_who_joins_brings_a_transfer_forward(scene: Scene) -> None:
    scene.want(scene.job("mirror", requested_by="one"), *named("mirror", 100))
    scene.want(scene.job("pull", requested_by="two"), "mirror/99")
    assert "mirror/99" in scene.served(4)[:4]


def test_a_priority_goes_before_all_turns(scene: Scene) -> None:
    _pulls(scene, "busy", 20)
    scene.want(scene.job("urgent", requested_by="busy", priority=50), *named("urgent", 6))
    assert scene.served(6)[:6] == named("urgent", 6)


def test_jobs_are_dispatched_in_turns_too(scene: Scene) -> None:
    scene.no_workers()
    scene.worker("w", control=8)
    for number in range(20):
        scene.submit(f"busy {number}", requested_by="busy", registry=HERE)
    for number in range(20):
        scene.submit(f"calm {number}", requested_by="calm", registry=HERE)
    first = scene.dispatched()
    assert sum(one.startswith("calm") for one in first) == pytest.approx(2, abs=1)
