"""Stored mirrors: kept, due, started once, forgotten."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, select, true

from tests.contract.catalog.scene import Scene, new_job
from transship.store.catalog.db.schema import jobs as jobs_table
from transship.store.catalog.db.schema import mirror_runs
from transship.store.catalog.scheduling import jobs, mirrors, retention
from transship.store.catalog.scheduling.mirrors import StoredMirror
from transship.store.errors import ConflictError, NotFoundError

SPEC: dict[str, Any] = {"kind": "mirror", "entries": [{"source": "a", "destination": "b"}]}


def _put(
    scene: Scene,
    name: str = "nightly",
    *,
    interval: float | None = 60.0,
    enabled: bool = True,
    spec: dict[str, Any] = SPEC,
) -> bool:
    with scene.catalog.write() as connection:
        return mirrors.put(
            connection, name, spec=spec, interval=interval, enabled=enabled, now=scene.now
        )


def _get(scene: Scene, name: str = "nightly") -> StoredMirror:
    with scene.catalog.read() as connection:
        return mirrors.get(connection, name)


def _due(scene: Scene) -> list[str]:
    with scene.catalog.read() as connection:
        return [one.name for one in mirrors.due_now(connection, scene.now)]


def _seen(scene: Scene, name: str = "nightly") -> StoredMirror:
    with scene.catalog.read() as connection:
        return mirrors.get(connection, name)


def _start_due(scene: Scene, job: str, name: str = "nightly") -> bool:
    """Start a run as the maintenance does: its job is made in the same transaction."""
    seen = _seen(scene, name)
    with scene.catalog.write() as connection:
        started = mirrors.start_due(connection, seen, scene.now)
        if started:
            jobs.create(connection, [new_job(job, kind="mirror")], scene.now)
            mirrors.record_run(connection, name, seen.spec, job, scene.now)
    return started


def _end(scene: Scene, job: str) -> None:
    lease = scene.take(job)
    assert lease is not None
    scene.end(lease)


def test_a_mirror_is_kept_as_it_was_given(scene: Scene) -> None:
    assert _put(scene)
    stored = _get(scene)
    assert (stored.spec, stored.interval, stored.enabled) == (SPEC, 60.0, True)
    assert stored.created_at == stored.updated_at == scene.now


def test_another_of_the_same_name_takes_its_place(scene: Scene) -> None:
    _put(scene)
    created, other = scene.now, {**SPEC, "priority": 3}
    scene.now += 5
    assert not _put(scene, spec=other, interval=None, enabled=False)
    stored = _get(scene)
    assert (stored.spec, stored.interval, stored.enabled) == (other, None, False)
    assert (stored.created_at, stored.updated_at) == (created, scene.now)


def test_mirrors_are_listed_by_name(scene: Scene) -> None:
    for name in ("b", "a"):
        _put(scene, name)
    with scene.catalog.read() as connection:
        assert [one.name for one in mirrors.listed(connection)] == ["a", "b"]


@pytest.mark.parametrize("what", ["get", "enable", "remove", "start"])
def test_there_is_no_such_mirror(scene: Scene, what: str) -> None:
    asks: dict[str, Callable[[Connection], object]] = {
        "get": lambda c: mirrors.get(c, "none"),
        "enable": lambda c: mirrors.enable(c, "none", True, scene.now),
        "remove": lambda c: mirrors.remove(c, "none"),
        "start": lambda c: mirrors.hold_idle(c, "none"),
    }
    with pytest.raises(NotFoundError), scene.catalog.write() as connection:
        asks[what](connection)


# --- when it is due ------------------------------------------------------------------------------


def test_one_with_an_interval_is_due_at_once_and_then_an_interval_after_each_start(
    scene: Scene,
) -> None:
    _put(scene)
    assert _due(scene) == ["nightly"]
    assert _start_due(scene, "first")
    _end(scene, "first")
    scene.now += 59
    assert _due(scene) == []
    scene.now += 1
    assert _due(scene) == ["nightly"]


@pytest.mark.parametrize(("interval", "enabled"), [(None, True), (60.0, False)])
def test_others_are_never_due(scene: Scene, interval: float | None, enabled: bool) -> None:
    _put(scene, interval=interval, enabled=enabled)
    assert _due(scene) == []
    assert not _start_due(scene, "first")


def test_a_clock_that_was_set_back_does_not_keep_it_from_starting(scene: Scene) -> None:
    _put(scene)
    _start_due(scene, "first")
    _end(scene, "first")
    scene.now -= 1000
    assert _due(scene) == ["nightly"]


def test_to_write_the_same_again_does_not_start_it_again(scene: Scene) -> None:
    _put(scene)
    _start_due(scene, "first")
    _end(scene, "first")
    scene.now += 5
    _put(scene, spec={**SPEC, "priority": 3})
    assert _due(scene) == []
    _put(scene, interval=120.0)
    assert _due(scene) == ["nightly"]


def test_one_that_is_enabled_again_starts_if_its_time_has_passed(scene: Scene) -> None:
    _put(scene, enabled=False)
    scene.now += 100
    with scene.catalog.write() as connection:
        mirrors.enable(connection, "nightly", True, scene.now)
    assert _due(scene) == ["nightly"]


# --- once ----------------------------------------------------------------------------------------


def test_what_is_due_is_started_once_whoever_tries(scene: Scene) -> None:
    _put(scene)
    seen = _seen(scene)
    barrier, started = threading.Barrier(8), []

    def tick(number: int) -> None:
        barrier.wait()
        with scene.catalog.write() as connection:
            if mirrors.start_due(connection, seen, scene.now):
                mirrors.record_run(connection, "nightly", seen.spec, f"run {number}", scene.now)
                started.append(number)

    threads = [threading.Thread(target=tick, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(started) == 1


def test_a_run_that_is_going_on_is_not_started_twice(scene: Scene) -> None:
    _put(scene)
    _start_due(scene, "first")
    scene.now += 1000
    assert not _start_due(scene, "second")
    with pytest.raises(ConflictError) as caught, scene.catalog.write() as connection:
        mirrors.start(connection, _seen(scene), scene.now)
    assert "first" in caught.value.hint
    _end(scene, "first")
    assert _start_due(scene, "second")


def test_a_run_that_was_asked_for_puts_off_the_next(scene: Scene) -> None:
    _put(scene)
    with scene.catalog.write() as connection:
        assert mirrors.start(connection, _seen(scene), scene.now)
    assert _due(scene) == []


@pytest.mark.parametrize("start", [mirrors.start, mirrors.start_due])
def test_what_was_changed_since_it_was_seen_is_not_started(
    scene: Scene, start: Callable[..., bool]
) -> None:
    _put(scene)
    seen = _seen(scene)
    scene.now += 1
    _put(scene)
    with scene.catalog.write() as connection:
        assert not start(connection, seen, scene.now)
        assert start(connection, mirrors.get(connection, "nightly"), scene.now)


def test_one_that_is_disabled_can_be_run(scene: Scene) -> None:
    _put(scene, enabled=False, interval=None)
    with scene.catalog.write() as connection:
        assert mirrors.start(connection, mirrors.get(connection, "nightly"), scene.now)


# --- runs ----------------------------------------------------------------------------------------


def test_runs_are_listed_the_newest_first_and_only_those_of_the_mirror(scene: Scene) -> None:
    for name in ("nightly", "other"):
        _put(scene, name)
    for number in range(3):
        _start_due(scene, f"run {number}")
        _end(scene, f"run {number}")
        scene.now += 60
    _start_due(scene, "else", "other")
    with scene.catalog.read() as connection:
        newest = mirrors.runs(connection, "nightly", true(), jobs_table.c.id, limit=2)
        assert [row.id for row in newest] == ["run 2", "run 1"]
        assert mirrors.last_run(connection, "nightly").id == "run 2"
        assert mirrors.running(connection, "nightly") is None
        assert mirrors.running(connection, "other") == "else"


def test_a_run_is_forgotten_with_its_job_or_its_mirror(scene: Scene) -> None:
    _put(scene)
    _start_due(scene, "first")
    _end(scene, "first")
    scene.now += 100
    _start_due(scene, "second")
    with scene.catalog.write() as connection:
        retention.forget(connection, scene.now - 10)
    assert _recorded(scene) == ["second"]
    with scene.catalog.write() as connection:
        mirrors.remove(connection, "nightly")
    assert _recorded(scene) == []
    assert scene.job_row("second").state == "queued"


def _recorded(scene: Scene) -> list[str]:
    with scene.catalog.read() as connection:
        return list(connection.execute(select(mirror_runs.c.job)).scalars())
