"""The lease of maintenance: one owner at a time, taken by fence and beat, free when it is gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.catalog.scene import Scene
from transship.store.catalog.scheduling import heartbeats, maintenance
from transship.store.catalog.scheduling.maintenance import Ownership


def _standing(scene: Scene) -> Ownership:
    with scene.catalog.read() as connection:
        return maintenance.standing(connection)


def _take(scene: Scene, worker: str, seen: Ownership | None = None) -> int | None:
    seen = seen or _standing(scene)
    with scene.catalog.write() as connection:
        return maintenance.take(connection, worker, seen)


def _renew(scene: Scene, worker: str, fence: int) -> bool:
    with scene.catalog.write() as connection:
        return maintenance.renew(connection, worker, fence)


def _after(scene: Scene, act: Callable[[Any], object]) -> str | None:
    with scene.catalog.write() as connection:
        act(connection)
    return _standing(scene).owner


def test_nobody_has_it_in_a_new_database(scene: Scene) -> None:
    assert _standing(scene).owner is None


def test_of_two_who_saw_the_same_one_takes_it(scene: Scene) -> None:
    seen = _standing(scene)
    assert _take(scene, "a", seen) == seen.fence + 1
    assert _take(scene, "b", seen) is None
    assert _standing(scene).owner == "a"


def test_an_owner_who_renews_is_not_taken_from(scene: Scene) -> None:
    fence = _take(scene, "a")
    seen = _standing(scene)
    assert fence is not None
    assert _renew(scene, "a", fence)
    assert _take(scene, "b", seen) is None


def test_an_owner_who_stands_still_is_taken_from_and_cannot_renew(scene: Scene) -> None:
    fence = _take(scene, "a")
    assert fence is not None
    assert _take(scene, "b") == fence + 1
    assert not _renew(scene, "a", fence)
    assert _renew(scene, "b", fence + 1)


def test_one_who_takes_it_again_has_another_fence(scene: Scene) -> None:
    first = _take(scene, "a")
    second = _take(scene, "a")
    assert first is not None
    assert second == first + 1
    assert not _renew(scene, "a", first)


def test_who_does_not_have_it_gives_up_nothing(scene: Scene) -> None:
    _take(scene, "a")
    assert _after(scene, lambda c: maintenance.give_up(c, "b")) == "a"


@pytest.mark.parametrize(
    "end",
    [
        lambda c: maintenance.give_up(c, "w"),
        lambda c: heartbeats.retire(c, "w"),
        lambda c: heartbeats.unregister(c, "w"),
        lambda c: heartbeats.reap(c, [(("worker", "w"), (0, 0))], 0),
        lambda c: heartbeats.bury_owner(c, "w", 0),
        lambda c: heartbeats.bury_process(c, 7, 0),
        lambda c: heartbeats.bury_host(c, 0),
        lambda c: heartbeats.bury_everyone(c, 0),
    ],
    ids=["given up", "retired", "left", "silent", "owner", "process", "host", "everyone"],
)
def test_it_is_free_when_its_owner_is_gone(scene: Scene, end: Callable[[Any], object]) -> None:
    scene.worker("w", pid=7)
    fence = _take(scene, "w")
    assert fence is not None
    assert _after(scene, end) is None
    assert not _renew(scene, "w", fence)
    assert _take(scene, "other") == fence + 1


def test_an_owner_without_a_row_is_buried_with_everyone(scene: Scene) -> None:
    _take(scene, "unknown")
    assert _after(scene, lambda c: heartbeats.bury_everyone(c, 0)) is None
