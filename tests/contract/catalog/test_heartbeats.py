"""Who is alive, told by beats and by the observer's own clock; what becomes of the dead."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from tests.contract.catalog.scene import Scene
from transship.store.catalog.db.schema import workers
from transship.store.catalog.scheduling import heartbeats, jobs
from transship.store.catalog.scheduling.heartbeats import MAX_CRASHES, Key, Observer, Pulse
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.catalog.scheduling.transfers import TransferLease
from transship.workers.process.bootstrap import reap_predecessors

LEASE_SECONDS = 20.0


def _pulses(scene: Scene) -> dict[Key, Pulse]:
    with scene.catalog.read() as connection:
        return heartbeats.pulses(connection)


def _bury(scene: Scene, dead: list[tuple[Key, Pulse]]) -> int:
    with scene.catalog.write() as connection:
        return heartbeats.reap(connection, dead, scene.now)


def _job_dies(scene: Scene, lease: JobLease) -> int:
    key: Key = ("job", lease.id)
    return _bury(scene, [(key, _pulses(scene)[key])])


def _transfer_dies(scene: Scene, claim: TransferLease) -> int:
    key: Key = ("transfer", claim.id)
    return _bury(scene, [(key, _pulses(scene)[key])])


def _beat_job(scene: Scene, lease: JobLease) -> str | bool | None:
    with scene.catalog.write() as connection:
        found = heartbeats.beat_jobs(connection, [lease])
    return found.get(lease.id, False)


# --- beats ---------------------------------------------------------------------------------------


def test_everything_that_is_held_has_a_pulse_and_nothing_else(scene: Scene) -> None:
    lease = scene.job("held")
    scene.submit("waiting")
    scene.want(lease, "moving", "resting")
    scene.limit("max_concurrent_downloads", 1)
    claim = scene.running("moving")
    assert set(_pulses(scene)) == {
        ("job", "held"),
        ("transfer", claim.id),
        ("worker", "a worker"),
    }


def test_a_beat_changes_the_pulse_of_a_job(scene: Scene) -> None:
    lease = scene.job("one")
    before = _pulses(scene)["job", "one"]
    _beat_job(scene, lease)
    assert _pulses(scene)["job", "one"] == (before[0], before[1] + 1)


def test_a_beat_changes_the_pulse_of_a_transfer(scene: Scene) -> None:
    scene.want(scene.job("one"), "blob")
    claim = scene.running("blob")
    before = _pulses(scene)["transfer", claim.id]
    scene.beat(claim)
    assert _pulses(scene)["transfer", claim.id] == (before[0], before[1] + 1)


def test_a_beat_changes_the_pulse_of_a_worker(scene: Scene) -> None:
    with scene.catalog.write() as connection:
        assert heartbeats.beat_worker(connection, "a worker")
    assert _pulses(scene)["worker", "a worker"] == (0, 1)


def test_a_beat_writes_how_far_a_transfer_is(scene: Scene) -> None:
    scene.want(scene.job("one"), "blob")
    claim = scene.running("blob")
    claim.done, claim.moved = 70, 40
    scene.beat(claim)
    row = scene.transfer("blob")
    assert (row.bytes_done, row.bytes_moved, row.furthest) == (70, 40, 70)


def test_a_beat_brings_back_why_a_job_is_to_stop(scene: Scene) -> None:
    lease = scene.job("one")
    assert _beat_job(scene, lease) is None
    scene.stop("one", "deadline-exceeded")
    assert _beat_job(scene, lease) == "deadline-exceeded"


def test_a_job_that_another_holds_is_not_beaten_for(scene: Scene) -> None:
    lease = scene.job("one", owner="a")
    _job_dies(scene, lease)
    scene.take("one", "b")
    assert _beat_job(scene, lease) is False


def test_a_worker_that_was_buried_learns_of_it(scene: Scene) -> None:
    _bury(scene, [(("worker", "a worker"), (0, 0))])
    with scene.catalog.write() as connection:
        assert not heartbeats.beat_worker(connection, "a worker")


def test_a_worker_that_leaves_is_not_there(scene: Scene) -> None:
    with scene.catalog.write() as connection:
        heartbeats.unregister(connection, "a worker")
    assert _pulses(scene) == {}


# --- observing -----------------------------------------------------------------------------------

KEY: Key = ("job", "one")


def test_a_pulse_that_stands_still_for_a_whole_lease_is_dead() -> None:
    observer = Observer(LEASE_SECONDS)
    observer.silent({KEY: (1, 5)}, 100.0)
    assert observer.silent({KEY: (1, 5)}, 100.0 + LEASE_SECONDS) == [(KEY, (1, 5))]


def test_a_pulse_that_stands_still_for_less_is_alive() -> None:
    observer = Observer(LEASE_SECONDS)
    observer.silent({KEY: (1, 5)}, 100.0)
    assert observer.silent({KEY: (1, 5)}, 99.9 + LEASE_SECONDS) == []


def test_what_was_never_seen_before_is_alive() -> None:
    assert Observer(LEASE_SECONDS).silent({KEY: (1, 5)}, 1e9) == []


@pytest.mark.parametrize("pulse", [(1, 6), (2, 5)], ids=["a beat", "another owner"])
def test_a_change_begins_a_new_lease(pulse: Pulse) -> None:
    observer = Observer(LEASE_SECONDS)
    observer.silent({KEY: (1, 5)}, 0.0)
    observer.silent({KEY: pulse}, 15.0)
    assert observer.silent({KEY: pulse}, 30.0) == []
    assert observer.silent({KEY: pulse}, 35.0) == [(KEY, pulse)]


def test_what_was_gone_in_between_begins_anew() -> None:
    observer = Observer(LEASE_SECONDS)
    observer.silent({KEY: (1, 5)}, 0.0)
    observer.silent({}, 10.0)
    observer.silent({KEY: (1, 5)}, 15.0)
    assert observer.silent({KEY: (1, 5)}, 30.0) == []


# --- burying -------------------------------------------------------------------------------------


def test_what_has_beaten_since_it_was_seen_is_left_alone(scene: Scene) -> None:
    lease = scene.job("one")
    scene.want(lease, "blob")
    claim = scene.running("blob")
    seen = list(_pulses(scene).items())
    _beat_job(scene, lease)
    scene.beat(claim)
    with scene.catalog.write() as connection:
        heartbeats.beat_worker(connection, "a worker")
    before = (scene.job_row("one"), scene.transfer("blob"))
    assert _bury(scene, seen) == 0
    assert (scene.job_row("one"), scene.transfer("blob")) == before


def test_the_job_of_a_dead_owner_is_due(scene: Scene) -> None:
    assert _job_dies(scene, scene.job("one")) == 1
    assert scene.dispatched() == ["one"]


def test_a_job_that_ended_before_it_is_buried_stays_ended(scene: Scene) -> None:
    lease = scene.job("one")
    seen = list(_pulses(scene).items())
    scene.end(lease)
    _bury(scene, seen)
    assert scene.job_row("one").state == "succeeded"


def test_the_transfer_of_a_dead_owner_is_admitted_again(scene: Scene) -> None:
    scene.want(scene.job("one"), "blob")
    _transfer_dies(scene, scene.running("blob"))
    assert scene.admit() == ["blob"]


def test_a_death_is_no_try(scene: Scene) -> None:
    scene.want(scene.job("one"), "blob")
    _transfer_dies(scene, scene.running("blob"))
    row = scene.transfer("blob")
    assert (row.attempts, row.tries, row.crashes) == (0, 0, 1)


def test_a_death_is_told_to_those_who_wait(scene: Scene) -> None:
    scene.want(scene.job("one"), "blob")
    _transfer_dies(scene, scene.running("blob"))
    assert scene.events_of("one")[-1].type == "worker-died"


def test_a_dead_workers_threads_do_not_count(scene: Scene) -> None:
    scene.want(scene.job("one"), "blob")
    _bury(scene, [(("worker", "a worker"), (0, 0))])
    assert scene.admit() == []


def test_what_nobody_waits_for_does_not_outlive_its_owner(scene: Scene) -> None:
    lease = scene.job("one")
    scene.want(lease, "blob")
    claim = scene.running("blob")
    scene.end(lease, "cancelled")
    _transfer_dies(scene, claim)
    assert scene.transfer("blob").state == "cancelled"


# --- dying again and again -----------------------------------------------------------------------


def test_a_transfer_whose_owners_die_without_progress_fails_and_says_so(scene: Scene) -> None:
    lease = scene.job("one")
    scene.want(lease, "blob")
    scene.release(lease)
    for _ in range(MAX_CRASHES):
        assert scene.transfer("blob").state == "pending"
        _transfer_dies(scene, scene.running("blob"))
    row = scene.transfer("blob")
    assert (row.state, row.error["code"]) == ("failed", "repeated-death")
    assert scene.is_due("one")


def test_a_transfer_that_gets_further_each_time_goes_on(scene: Scene) -> None:
    scene.want(scene.job("one"), "blob")
    for number in range(1, 3 * MAX_CRASHES):
        claim = scene.running("blob")
        claim.done = number
        scene.beat(claim)
        _transfer_dies(scene, claim)
    assert scene.transfer("blob").state == "pending"


def test_progress_between_deaths_begins_the_count_anew(scene: Scene) -> None:
    scene.want(scene.job("one"), "blob")
    for _ in range(MAX_CRASHES - 1):
        _transfer_dies(scene, scene.running("blob"))
    claim = scene.running("blob")
    claim.done = 10
    scene.beat(claim)
    _transfer_dies(scene, claim)
    assert (scene.transfer("blob").state, scene.transfer("blob").crashes) == ("pending", 1)


def _dies_once(scene: Scene) -> JobLease:
    lease = scene.take("one")
    assert lease is not None
    _job_dies(scene, lease)
    return lease


def test_a_job_whose_owners_die_without_progress_is_asked_to_stop(scene: Scene) -> None:
    scene.submit("one")
    for _ in range(MAX_CRASHES):
        assert scene.job_row("one").stop_requested is None
        _dies_once(scene)
    assert scene.job_row("one").stop_requested == "repeated-death"


def test_who_takes_up_a_job_of_many_deaths_is_told(scene: Scene) -> None:
    scene.submit("one")
    for _ in range(MAX_CRASHES):
        _dies_once(scene)
    lease = scene.take("one")
    assert lease is not None
    assert lease.stop_requested == "repeated-death"


def test_a_stage_recorded_between_deaths_begins_the_count_anew(scene: Scene) -> None:
    scene.submit("one")
    for number in range(3 * MAX_CRASHES):
        lease = scene.take("one")
        assert lease is not None
        if number % 3 == 0:
            with scene.catalog.write() as connection:
                jobs.save(connection, lease, checkpoint={"stage": number})
        _job_dies(scene, lease)
    assert scene.job_row("one").stop_requested is None


def test_a_job_that_was_let_go_in_between_begins_the_count_anew(scene: Scene) -> None:
    scene.submit("one")
    for _ in range(MAX_CRASHES - 1):
        _dies_once(scene)
    lease = scene.take("one")
    assert lease is not None
    scene.release(lease)
    assert scene.job_row("one").crashes == 0


# --- known deaths --------------------------------------------------------------------------------


@pytest.fixture
def two_workers(scene: Scene) -> Scene:
    """Two workers, each with a job and a transfer."""
    for number, name in enumerate(("first", "second")):
        scene.worker(name, pid=100 + number, control=1, downloads=1)
        scene.want(scene.job(f"job of {name}", owner=name), f"blob of {name}")
    for name in ("first", "second"):
        scene.admit()
        scene.claim(f"blob of {name}", name)
    return scene


def test_a_process_that_has_ended_is_buried_with_all_that_it_held(two_workers: Scene) -> None:
    with two_workers.catalog.write() as connection:
        heartbeats.bury_process(connection, 100, two_workers.now)
    row = two_workers.transfer("blob of first")
    assert (two_workers.job_row("job of first").owner, row.owner) == (None, None)


def test_other_processes_keep_what_they_hold(two_workers: Scene) -> None:
    with two_workers.catalog.write() as connection:
        heartbeats.bury_process(connection, 100, two_workers.now)
        left = set(connection.execute(select(workers.c.id)).scalars())
    row = two_workers.transfer("blob of second")
    assert (two_workers.job_row("job of second").owner, row.owner) == ("second", "second")
    assert left == {"a worker", "second"}


def test_a_process_of_another_host_is_left_alone(two_workers: Scene) -> None:
    with two_workers.catalog.write() as connection:
        connection.execute(workers.update().values(host="elsewhere"))
        assert heartbeats.bury_process(connection, 100, two_workers.now) == 0


def test_everyone_is_buried_even_owners_without_a_row(two_workers: Scene) -> None:
    with two_workers.catalog.write() as connection:
        heartbeats.unregister(connection, "first")
        heartbeats.bury_everyone(connection, two_workers.now)
    assert _pulses(two_workers) == {}


def test_a_host_is_buried_and_another_keeps_what_it_holds(two_workers: Scene) -> None:
    with two_workers.catalog.write() as connection:
        elsewhere = workers.update().where(workers.c.id == "second").values(host="elsewhere")
        connection.execute(elsewhere)
        heartbeats.bury_host(connection, two_workers.now)
        left = set(connection.execute(select(workers.c.id)).scalars())
    assert two_workers.job_row("job of first").owner is None
    assert two_workers.job_row("job of second").owner == "second"
    assert left == {"second"}


def test_whoever_takes_a_home_spares_the_workers_of_other_hosts(two_workers: Scene) -> None:
    """There are others only where the catalog can have them."""
    catalog = two_workers.catalog
    with catalog.write() as connection:
        connection.execute(workers.update().values(host="elsewhere"))
    reap_predecessors(catalog)
    assert (_pulses(two_workers) != {}) == catalog.shared
