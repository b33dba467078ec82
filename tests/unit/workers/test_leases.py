"""Leases as their owner sees them, and the thread that beats for all of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection

from tests.contract.catalog.prepared import prepared_sqlite
from tests.contract.catalog.scene import Scene
from tests.support.processes import wait_until
from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.errors import (
    CancelledError,
    DeadlineExceededError,
    HandedBackError,
    LeaseLostError,
    RepeatedCrashError,
    StoreError,
    TransshipError,
)
from transship.workers.registry.transport.transport import asking, attentive
from transship.workers.runtime.leases import (
    CONTROL_BOUND_SECONDS,
    LeaseMonitor,
    LeaseRenewer,
    stop_exception,
)

LEASE_SECONDS = 0.4
PATIENCE_SECONDS = 10


class Breakable(Catalog):
    """A catalog whose disk fails when it is told to."""

    broken = False
    fail_once = False

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A write transaction, or the error of a disk."""
        if self.broken or self.fail_once:
            self.fail_once = False
            raise StoreError("the database failed: disk I/O error")
        with super().write() as connection:
            yield connection


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Breakable]:
    made = Breakable(prepared_sqlite(tmp_path))
    yield made
    made.close()


@pytest.fixture
def scene(catalog: Breakable) -> Scene:
    scene = Scene(catalog)
    scene.worker("a worker", control=8, downloads=8, uploads=8)
    return scene


@pytest.fixture
def stopping() -> threading.Event:
    return threading.Event()


@pytest.fixture
def renewer(catalog: Breakable, scene: Scene, stopping: threading.Event) -> Iterator[LeaseRenewer]:
    made = LeaseRenewer(catalog, worker="a worker", lease_seconds=LEASE_SECONDS, stopping=stopping)
    made.start()
    yield made
    made.stop()


def _stopped(monitor: LeaseMonitor) -> bool:
    try:
        monitor.check()
    except TransshipError:
        return True
    return False


# --- one lease -----------------------------------------------------------------------------------


@pytest.fixture
def monitor(scene: Scene, stopping: threading.Event) -> LeaseMonitor:
    return LeaseMonitor(scene.job("one"), stopping)


def test_work_goes_on_while_nothing_is_against_it(monitor: LeaseMonitor) -> None:
    assert not _stopped(monitor)


def test_a_lost_lease_ends_the_work(monitor: LeaseMonitor) -> None:
    monitor.lose()
    with pytest.raises(LeaseLostError):
        monitor.check()


def test_a_stopping_worker_hands_back(monitor: LeaseMonitor, stopping: threading.Event) -> None:
    stopping.set()
    with pytest.raises(HandedBackError):
        monitor.check()


def test_a_requested_stop_ends_the_work(monitor: LeaseMonitor) -> None:
    monitor.request_stop("cancelled")
    with pytest.raises(CancelledError):
        monitor.check()


def test_a_stop_can_be_taken_back(monitor: LeaseMonitor) -> None:
    monitor.request_stop("cancelled")
    monitor.request_stop(None)
    assert not _stopped(monitor)


def test_a_lost_lease_counts_more_than_a_stop(
    monitor: LeaseMonitor, stopping: threading.Event
) -> None:
    """Who has lost the lease must write nothing, not even that it has stopped."""
    stopping.set()
    monitor.request_stop("cancelled")
    monitor.lose()
    with pytest.raises(LeaseLostError):
        monitor.check()


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("cancelled", CancelledError),
        ("deadline-exceeded", DeadlineExceededError),
        ("repeated-death", RepeatedCrashError),
    ],
)
def test_each_reason_to_stop_has_its_error(reason: str, kind: type[TransshipError]) -> None:
    assert type(stop_exception(reason)) is kind


def test_an_owner_within_its_bound_is_not_stuck(monitor: LeaseMonitor) -> None:
    monitor.check()
    assert not monitor.stuck(time.monotonic() + CONTROL_BOUND_SECONDS - 1)


def test_an_owner_past_its_bound_is_stuck(monitor: LeaseMonitor) -> None:
    monitor.check()
    assert monitor.stuck(time.monotonic() + CONTROL_BOUND_SECONDS + 1)


def test_a_phase_has_a_bound_of_its_own(monitor: LeaseMonitor) -> None:
    monitor.bound(5)
    now = time.monotonic()
    assert (monitor.stuck(now + 4), monitor.stuck(now + 6)) == (False, True)


def test_hashing_and_syncing_take_as_long_as_they_take(monitor: LeaseMonitor) -> None:
    monitor.unbounded()
    assert not monitor.stuck(time.monotonic() + 1e6)


# --- the beating thread --------------------------------------------------------------------------


def _beats(scene: Scene) -> int:
    return int(scene.job_row("one").beat)


def test_what_is_kept_is_beaten_for(scene: Scene, renewer: LeaseRenewer) -> None:
    with renewer.keep(scene.job("one")):
        wait_until(lambda: _beats(scene) >= 2, PATIENCE_SECONDS, "two beats")


def test_what_is_kept_no_more_is_not_beaten_for(scene: Scene, renewer: LeaseRenewer) -> None:
    with renewer.keep(scene.job("one")):
        wait_until(lambda: _beats(scene) >= 1, PATIENCE_SECONDS, "a beat")
    with renewer.keep(scene.job("other")):
        before = int(scene.job_row("other").beat)
        ended = _beats(scene)  # a beat that was under way may still have counted
        wait_until(
            lambda: scene.job_row("other").beat >= before + 3, PATIENCE_SECONDS, "later beats"
        )
    assert _beats(scene) <= ended + 1


def test_a_transfer_is_beaten_for_with_its_figures(scene: Scene, renewer: LeaseRenewer) -> None:
    scene.want(scene.job("one"), "blob")
    claim = scene.running("blob")
    with renewer.keep(claim):
        claim.done = 42
        wait_until(lambda: scene.transfer("blob").bytes_done == 42, PATIENCE_SECONDS, "the figures")


def test_a_stop_of_a_job_reaches_its_owner(scene: Scene, renewer: LeaseRenewer) -> None:
    with renewer.keep(scene.job("one")) as monitor:
        scene.stop("one")
        wait_until(lambda: _stopped(monitor), PATIENCE_SECONDS, "the stop")
        with pytest.raises(CancelledError):
            monitor.check()


def test_a_stop_of_a_transfer_reaches_its_owner_and_can_be_taken_back(
    scene: Scene, renewer: LeaseRenewer
) -> None:
    lease = scene.job("one")
    scene.want(lease, "blob")
    with renewer.keep(scene.running("blob")) as monitor:
        scene.end(lease, "cancelled")
        wait_until(lambda: _stopped(monitor), PATIENCE_SECONDS, "the stop")
        scene.want(scene.job("two"), "blob")
        wait_until(lambda: not _stopped(monitor), PATIENCE_SECONDS, "the stop to be taken back")


def test_who_lost_the_work_to_another_is_told(scene: Scene, renewer: LeaseRenewer) -> None:
    lease = scene.job("one")
    with renewer.keep(lease) as monitor:
        scene.no_workers()
        wait_until(lambda: _stopped(monitor), PATIENCE_SECONDS, "the loss")
        with pytest.raises(LeaseLostError):
            monitor.check()


def test_one_lost_lease_does_not_end_the_others(scene: Scene, renewer: LeaseRenewer) -> None:
    lost, kept = scene.job("lost", owner="another"), scene.job("kept")
    stale = JobLease(**{**{f: getattr(lost, f) for f in JobLease.__slots__}, "owner": "me"})
    with renewer.keep(stale) as first, renewer.keep(kept) as second:
        wait_until(lambda: _stopped(first), PATIENCE_SECONDS, "the loss")
        assert not _stopped(second)


def test_who_cannot_renew_loses_after_three_quarters_of_the_lease(
    scene: Scene, catalog: Breakable, renewer: LeaseRenewer
) -> None:
    with renewer.keep(scene.job("one")) as monitor:
        wait_until(lambda: _beats(scene) >= 1, PATIENCE_SECONDS, "a beat")
        catalog.broken = True
        began = time.monotonic()
        wait_until(lambda: _stopped(monitor), PATIENCE_SECONDS, "the loss")
        took = time.monotonic() - began
        catalog.broken = False
    assert took > LEASE_SECONDS / 4  # not at the first failure
    with pytest.raises(LeaseLostError):
        monitor.check()


def test_one_failure_to_renew_is_survived(
    scene: Scene, catalog: Breakable, renewer: LeaseRenewer
) -> None:
    with renewer.keep(scene.job("one")) as monitor:
        catalog.fail_once = True
        wait_until(lambda: not catalog.fail_once, PATIENCE_SECONDS, "the failure")
        before = _beats(scene)
        wait_until(lambda: _beats(scene) > before, PATIENCE_SECONDS, "the next beat")
        assert not _stopped(monitor)


def test_a_stuck_owner_is_not_beaten_for(scene: Scene, renewer: LeaseRenewer) -> None:
    stuck, lively = scene.job("stuck"), scene.job("one")
    with renewer.keep(stuck) as monitor, renewer.keep(lively):
        monitor.bound(-1)
        before = int(scene.job_row("stuck").beat)
        wait_until(lambda: _beats(scene) >= 3, PATIENCE_SECONDS, "beats for another")
        assert scene.job_row("stuck").beat <= before + 1


def test_a_worker_that_was_forgotten_is_told(scene: Scene, renewer: LeaseRenewer) -> None:
    told = threading.Event()
    renewer.on_forgotten = told.set
    scene.no_workers()
    assert told.wait(PATIENCE_SECONDS)


def test_whoever_could_not_renew_for_long_stops_although_the_renewing_thread_hangs(
    scene: Scene,
) -> None:
    """It may hang in the database, and say nothing."""
    since: list[float] = []

    def not_since(taken_at: float) -> bool:
        since.append(taken_at)
        return False

    held = LeaseMonitor(scene.job("one"), threading.Event(), not_since)
    with pytest.raises(LeaseLostError):
        held.check()
    assert since[0] <= time.monotonic()


# --- silence --------------------------------------------------------------------------------------

SILENT_SECONDS = 1.0  # more than PATIENCE_SECONDS of `silence`, less than a pause in a body may be


def _soon() -> float:
    return time.monotonic() + SILENT_SECONDS


def test_a_job_that_waits_for_an_answer_tells_of_whom(monitor: LeaseMonitor) -> None:
    monitor.asks("here.test")
    silent = monitor.silent(_soon())
    assert silent is not None
    assert (silent.queue, silent.registry) == ("control", "here.test")


def test_a_job_that_waits_for_no_answer_is_not_silent(monitor: LeaseMonitor) -> None:
    monitor.asks("here.test")
    monitor.ends(answered=True)
    assert monitor.silent(_soon()) is None
    assert monitor.has_heard


def test_a_request_that_failed_is_no_answer(monitor: LeaseMonitor) -> None:
    monitor.make_way()
    with (
        attentive(monitor.check, listener=monitor),
        pytest.raises(HandedBackError),
        asking("here.test"),
    ):
        monitor.check()
    assert monitor.silent(_soon()) is None
    assert not monitor.has_heard


def test_one_answer_of_many_is_enough_for_a_while(monitor: LeaseMonitor) -> None:
    for _ in range(3):
        monitor.asks("here.test")
    began = time.monotonic()
    monitor.ends(answered=True)
    assert monitor.silent(began + 0.4) is None
    assert monitor.silent(_soon()) is not None


def test_who_is_busy_with_the_disk_is_not_silent(monitor: LeaseMonitor) -> None:
    monitor.asks("here.test")
    monitor.unbounded()
    assert monitor.silent(_soon()) is None


def test_who_asks_a_host_that_is_no_registry_of_the_job_tells_of_the_first(
    monitor: LeaseMonitor,
) -> None:
    monitor.asks("mirror.test")
    silent = monitor.silent(_soon())
    assert silent is not None
    assert silent.registry == "here.test"


def test_a_pause_in_a_body_may_be_longer_than_that_before_it(
    scene: Scene, stopping: threading.Event
) -> None:
    scene.want(scene.job("j"), "blob")
    held = LeaseMonitor(scene.running("blob"), stopping)
    held.asks("here.test")
    assert held.silent(_soon()) is not None
    held.ends(answered=True)
    assert held.silent(_soon()) is None
    assert held.silent(time.monotonic() + 10) is not None


def test_a_registry_has_time_to_hash_what_it_was_sent(
    scene: Scene, stopping: threading.Event
) -> None:
    scene.want(scene.job("j"), "blob", direction="upload", size=100 * 1024 * 1024)
    claim = scene.running("blob", direction="upload")
    held = LeaseMonitor(claim, stopping)
    held.asks("here.test")
    assert held.silent(_soon()) is not None
    claim.done = claim.size
    assert held.silent(_soon()) is None
    assert held.silent(time.monotonic() + 60) is not None


def test_who_is_to_make_way_hands_back(monitor: LeaseMonitor) -> None:
    monitor.make_way()
    with pytest.raises(HandedBackError):
        monitor.check()
