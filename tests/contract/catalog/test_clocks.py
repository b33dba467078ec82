"""Time is the database's: hosts whose clocks differ void nothing of each other's."""

from __future__ import annotations

import time

import pytest

from tests.contract.catalog.scene import HERE, Scene
from transship.store.catalog.db.due import SKEW_SECONDS


@pytest.mark.parametrize("behind", [0.5, 1.0, 60.0, SKEW_SECONDS - 1])
def test_a_delay_holds_where_the_clock_is_behind(scene: Scene, behind: float) -> None:
    scene.want(scene.job("one"), "blob")
    scene.delay(scene.running("blob"), 30.0)
    scene.now -= behind
    assert scene.promote() == 0


@pytest.mark.parametrize("behind", [0.5, 1.0, 60.0, SKEW_SECONDS - 1])
def test_a_park_holds_where_the_clock_is_behind(scene: Scene, behind: float) -> None:
    scene.want(scene.job("one"), "blob")
    scene.park(HERE, 60.0)
    scene.now -= behind
    assert scene.admit() == []


@pytest.mark.parametrize("behind", [0.5, 1.0, 60.0, SKEW_SECONDS - 1])
def test_what_was_dispatched_just_now_is_not_dispatched_again(scene: Scene, behind: float) -> None:
    scene.submit("one")
    assert scene.dispatched() == ["one"]
    scene.now -= behind
    assert scene.dispatched() == []


def test_a_clock_that_was_set_back_by_an_hour_makes_nobody_wait_for_it(scene: Scene) -> None:
    scene.want(scene.job("one"), "blob")
    scene.delay(scene.running("blob"), 30.0)
    scene.now -= 3600
    assert scene.promote() == 1


def test_the_clock_is_the_databases(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose own clock is a minute ahead reads the time of the database's host."""
    truth = time.time()
    with scene.catalog.write():
        pass  # which measures it
    if scene.catalog.shared:
        monkeypatch.setattr("time.time", lambda: truth + 60)
    assert abs(scene.catalog.now() - truth) < 30
