"""Ended jobs are forgotten after a while, with all that belongs to them, and nothing else."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Table, func, select

from tests.contract.catalog.scene import HERE, Scene
from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.content import blobs, image_events
from transship.store.catalog.db.schema import (
    blob_sources,
    derivations,
    events,
    jobs,
    transfers,
    waits,
)
from transship.store.catalog.db.schema import image_events as image_event_rows
from transship.store.catalog.db.schema import targets as targets_table
from transship.store.catalog.scheduling import retention, targets


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
    for number in range(retention.MAX_AT_ONCE + 5):
        _end(scene, f"job {number}")
    scene.now += 11
    assert [_forget(scene), _forget(scene)] == [retention.MAX_AT_ONCE, 5]


def test_events_of_images_go_too(scene: Scene) -> None:
    with scene.catalog.write() as connection:
        image_events.record(connection, HOUSE, "tag", "sha256:a", {"name": "a"}, scene.now)
        retention.forget_records(connection, scene.now + 1)
        left = connection.execute(select(func.count()).select_from(image_event_rows)).scalar_one()
    assert left == 0


def test_words_of_last_year_are_forgotten_even_of_what_is_held(scene: Scene) -> None:
    """A registry gives out a new token a day, and each leaves a row."""
    with scene.catalog.write() as connection:
        blobs.add(connection, {"sha256:aa": 1}, scene.now)
        blobs.record_bytes(connection, ["sha256:aa"], blobs.Source(HERE, "app", ""))
        for day in range(1000):
            source = blobs.Source(HERE, "app", f"token {day}")
            blobs.confirm(connection, ["sha256:aa"], source, scene.now)
        retention.forget_records(connection, scene.now + 1)
        assert connection.execute(select(func.count()).select_from(blob_sources)).scalar() == 0
        # From where it came is no word: it opens the blob, and it may be fetched there again.
        mine = {"registry": HERE, "repository": "app"}
        assert blobs.proven(connection, ["sha256:aa"], **mine) == {"sha256:aa"}
        assert blobs.sources_of(connection, "sha256:aa") == [blobs.Source(HERE, "app", "")]


def test_targets_go_when_no_older_job_could_write_them(scene: Scene) -> None:
    older = scene.job("older", kind="copy")
    newer = scene.job("newer", kind="copy")
    with scene.catalog.write() as connection:
        targets.hold(connection, [(newer, "r.test/x:1")])
        targets.written(connection, [(newer, "r.test/x:1")])
    scene.end(newer)
    assert _records(scene, targets_table) == 1  # the older one must not overwrite it
    scene.end(older)
    assert _records(scene, targets_table) == 0


def test_derivations_go_when_they_are_old(scene: Scene) -> None:
    with scene.catalog.write() as connection:
        targets.record_derivation(connection, "a", "platforms=x", "b", scene.now)
    assert _records(scene, derivations, before=scene.now) == 1
    assert _records(scene, derivations, before=scene.now + 1) == 0


def _records(scene: Scene, table: Table, *, before: float = 0.0) -> int:
    """How many rows are left of a table when what is older was forgotten."""
    with scene.catalog.write() as connection:
        retention.forget_records(connection, before)
        return connection.execute(select(func.count()).select_from(table)).scalar_one()
