"""Ended jobs are forgotten after a while, with all that belongs to them, and nothing else."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select

from store.catalog import image_events, retention
from store.catalog.schema import events, jobs, transfers, waits
from store.catalog.schema import image_events as image_event_rows
from tests.contract.catalog.scene import Scene


def _forget(scene: Scene, *, older_than: float = 10.0) -> int:
    """As when another job was asked for meanwhile."""
    with scene.catalog.read() as connection:
        known = connection.execute(select(func.count()).where(jobs.c.id == "newest")).scalar_one()
    if not known:
        scene.submit("newest")
    with scene.catalog.write() as connection:
        return retention.forget(connection, scene.now - older_than)


def _counts(scene: Scene) -> list[int]:
    with scene.catalog.read() as connection:
        return [
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (jobs, events, waits, transfers)
        ]


def _end(scene: Scene, id_: str, **fields: Any) -> None:
    scene.end(scene.job(id_, **fields), "succeeded")


def test_an_old_job_goes_with_its_events_waits_and_transfers(scene: Scene) -> None:
    lease = scene.job("one")
    scene.want(lease, "a")
    scene.complete(scene.running("a"))
    scene.end(lease, "succeeded")
    scene.now += 11
    assert _forget(scene) == 1
    assert _counts(scene) == [1, 1, 0, 0]  # the newest, and that it is queued


def test_a_job_that_ended_lately_stays(scene: Scene) -> None:
    _end(scene, "one")
    scene.now += 9
    assert _forget(scene) == 0


def test_a_job_that_is_active_stays_however_old(scene: Scene) -> None:
    scene.submit("one")
    scene.now += 1e9
    assert _forget(scene) == 0


def test_a_transfer_that_another_job_waited_for_stays(scene: Scene) -> None:
    early, late = scene.job("early"), scene.job("late")
    scene.want(early, "a")
    scene.want(late, "a")
    scene.end(early, "cancelled")
    scene.now += 11
    assert _forget(scene) == 1
    assert scene.transfers_of("a") == 1


def test_children_stay_as_long_as_their_tree_is_active(scene: Scene) -> None:
    root = scene.job("root")
    _end(scene, "child", root="root", parent="root", child_key="1")
    scene.now += 11
    assert _forget(scene) == 0
    scene.end(root, "succeeded")
    scene.now += 11
    assert [_forget(scene), _forget(scene)] == [2, 0]


def test_children_stay_as_long_as_their_root(scene: Scene) -> None:
    root = scene.job("root")
    _end(scene, "child", root="root", parent="root", child_key="1")
    scene.now += 9
    scene.end(root, "succeeded")
    scene.now += 2
    assert _forget(scene) == 0


def test_no_number_is_given_twice(scene: Scene) -> None:
    """Else a job would look older than the one that wrote the name that it is to write."""
    _end(scene, "one")
    before = scene.job_row("one").seq
    scene.now += 11
    with scene.catalog.write() as connection:
        retention.forget(connection, scene.now)
    scene.submit("two")
    assert scene.job_row("two").seq > before


def test_many_go_in_several_steps(scene: Scene) -> None:
    for number in range(retention.MOST_AT_ONCE + 5):
        _end(scene, f"job {number}")
    scene.now += 11
    assert [_forget(scene), _forget(scene)] == [retention.MOST_AT_ONCE, 5]


def test_events_of_images_go_too(scene: Scene) -> None:
    with scene.catalog.write() as connection:
        image_events.record(connection, "tag", "sha256:a", {"name": "a"}, scene.now)
        retention.forget_records(connection, scene.now + 1)
        left = connection.execute(select(func.count()).select_from(image_event_rows)).scalar_one()
    assert left == 0
