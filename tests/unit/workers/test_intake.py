"""Bodies: leased and on record as they come; whole, or the job has failed over them."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.contract.catalog.shelves import small
from tests.support.memory_store import MemoryStore
from tests.support.processes import wait_until
from tests.support.tars import file, tar_of
from tests.unit.store.archives.archives import docker_files, tar
from tests.unit.workers.handlers.local import Local, local
from tests.unit.workers.handlers.test_pull_again import harness
from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.content import collection
from transship.store.catalog.scheduling import heartbeats
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.errors import (
    CancelledError,
    ConflictError,
    DiskFullError,
    IncompleteBodyError,
    InvalidArchiveError,
    InvalidSpecError,
    LeaseLostError,
    RegistryUnavailableError,
    TransshipError,
)
from transship.store.layers.codecs.formats import Readable
from transship.workers.jobs import intake
from transship.workers.jobs.intake import Receiver
from transship.workers.runtime.maintenance_policy import MaintenancePolicy

__all__ = ["harness", "local"]

APP = small("app")
ARCHIVE = tar(docker_files(APP))
HALF = len(ARCHIVE) // 2
ROOT = tar_of(file("etc/a", b"a\n"), file("b", bytes(3_000_000)))


def begun(local: Local, key: str | None = None, **spec: object) -> JobLease:
    lease = local.receiver.begin(local.wanted(key, **{"kind": "load", **spec}))
    assert isinstance(lease, JobLease)
    return lease


def received(local: Local, lease: JobLease, body: Readable) -> None:
    local.receiver.receive(lease, lambda _: body)


class Failing:
    """A body that begins well, and then does as it is told."""

    def __init__(self, then: Callable[[], bytes], begin: bytes = ARCHIVE[:HALF]) -> None:
        self._begin, self._then = io.BytesIO(begin), then

    def read(self, size: int, /) -> bytes:
        return self._begin.read(size) or self._then()


def raising(error: Exception) -> Callable[[], bytes]:
    def then() -> bytes:
        raise error

    return then


def drafts(local: Local, job: str) -> int:
    return local.content.discard_drafts(job)


def test_a_job_is_held_while_its_body_comes_and_due_when_it_is_there(local: Local) -> None:
    lease = begun(local)
    row = local.row(lease.id)
    assert (row.state, row.owner, row.due) == ("running", local.receiver.id, False)
    received(local, lease, io.BytesIO(ARCHIVE))
    row = local.row(lease.id)
    assert (row.state, row.owner, row.due) == ("running", None, True)
    assert [message.id for message in local.harness.broker.waiting] == [lease.id]


def test_what_came_is_leased_on_record_and_counted(local: Local) -> None:
    job = local.send(ARCHIVE, kind="load")
    parts = {str(blob.digest) for blob in APP.manifest.blobs}
    assert parts <= local.leased(job) & local.recorded()
    row = local.row(job)
    assert (row.bytes_total, row.bytes_moved) == (len(ARCHIVE), len(ARCHIVE))
    assert "received" in [event.type for event in local.harness.scene.events_of(job)]


def test_blobs_get_their_rows_although_the_next_one_is_slow(
    local: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "RECORD_SECONDS", 0)
    layer = str(APP.manifest.layers[0].digest)
    seen: list[bool] = []

    def then() -> bytes:
        seen.append(layer in local.recorded())
        raise RegistryUnavailableError("cut")

    lease = begun(local)
    archive = tar({"first": APP.read(APP.manifest.layers[0].digest), "second": bytes(2_000_000)})
    with pytest.raises(RegistryUnavailableError):
        received(local, lease, Failing(then, archive[:1_500_000]))
    assert seen == [True]


@pytest.mark.parametrize(
    ("then", "error", "state"),
    [
        (raising(IncompleteBodyError("gone")), IncompleteBodyError, "failed"),
        (raising(CancelledError("stop")), CancelledError, "cancelled"),
        (lambda: b"", InvalidArchiveError, "failed"),
        (lambda: b"\1" * 512, InvalidArchiveError, "failed"),
        (raising(RegistryUnavailableError("odd")), RegistryUnavailableError, "failed"),
    ],
    ids=["gone", "stopped", "cut", "garbage", "an error that elsewhere is tried again"],
)
def test_a_body_that_breaks_off_fails_its_job_at_once(
    local: Local, then: Callable[[], bytes], error: type[TransshipError], state: str
) -> None:
    lease = begun(local)
    with pytest.raises(error):
        received(local, lease, Failing(then))
    row = local.row(lease.id)
    assert (row.state, row.owner) == (state, None)
    assert local.leased(lease.id) == set()
    assert drafts(local, lease.id) == 0
    assert local.harness.broker.waiting == []


def test_a_broken_body_is_the_fault_of_the_request(local: Local) -> None:
    lease = begun(local)
    with pytest.raises(InvalidArchiveError):
        received(local, lease, io.BytesIO(b"no tar at all" * 100))
    error = local.row(lease.id).error
    assert (error["code"], error["side"]) == ("invalid-archive", "request")


def test_a_fault_of_ours_fails_the_job_too(local: Local) -> None:
    lease = begun(local)
    with pytest.raises(TransshipError):
        received(local, lease, Failing(raising(ValueError("oops"))))
    assert local.row(lease.id).error["code"] == "internal"


# --- who dies, and who is too slow ---------------------------------------------------------------


def test_a_receiver_that_dies_leaves_a_job_that_fails(local: Local) -> None:
    lease = begun(local)
    draft = local.content.draft(lease.id)
    draft.write(b"half a layer")
    with local.catalog.write() as connection:
        heartbeats.bury_owner(connection, local.receiver.id, local.context.now())
    assert local.failure(lease.id) == ("body-incomplete", "request")
    assert drafts(local, lease.id) == 0


def test_a_receiver_that_lost_its_lease_writes_nothing_more(local: Local) -> None:
    lease = begun(local)

    def then() -> bytes:
        with local.catalog.write() as connection:
            heartbeats.bury_owner(connection, local.receiver.id, local.context.now())
        return b""

    with pytest.raises((LeaseLostError, InvalidArchiveError)):
        received(local, lease, Failing(then, ARCHIVE))
    assert local.row(lease.id).checkpoint is None
    assert local.failure(lease.id) == ("body-incomplete", "request")


def test_the_lease_is_renewed_while_nothing_comes(local: Local) -> None:
    lease = begun(local)
    may_end = threading.Event()

    def then() -> bytes:
        may_end.wait(20)
        return b""

    thread = threading.Thread(target=received, args=(local, lease, Failing(then, ARCHIVE)))
    thread.start()
    before = local.row(lease.id).beat
    wait_until(lambda: local.row(lease.id).beat >= before + 2, 20, "two beats")
    may_end.set()
    thread.join()
    assert local.result(lease.id)["loaded"] == ["app:1"]


def test_a_body_without_an_end_ends_with_its_job(local: Local) -> None:
    lease = begun(local)
    started = threading.Event()

    def then() -> bytes:
        started.set()
        return bytes(65536)

    def receive() -> None:
        with pytest.raises(CancelledError):
            received(local, lease, Failing(then, ARCHIVE))

    thread = threading.Thread(target=receive)
    thread.start()
    assert started.wait(20)
    local.harness.queue.cancel(lease.id)
    thread.join(20)
    assert not thread.is_alive()
    assert local.row(lease.id).state == "cancelled"


def test_a_server_that_stops_fails_what_it_receives(local: Local) -> None:
    lease = begun(local)
    local.receiver.stop()
    with pytest.raises(IncompleteBodyError, match="the server stopped"):
        received(local, lease, io.BytesIO(ARCHIVE))
    assert local.row(lease.id).state == "failed"


# --- space ---------------------------------------------------------------------------------------


def test_nothing_is_received_while_the_store_is_short_of_space(local: Local) -> None:
    with local.catalog.write() as connection:
        collection.note_space(connection, short=True)
    with pytest.raises(DiskFullError):
        begun(local)


def test_a_body_that_fills_the_store_is_stopped(
    local: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "SPACE_BYTES", 10_000)
    free = iter([10_000, 10_000, 500])
    monkeypatch.setattr(MemoryStore, "free_bytes", lambda _: next(free))
    context = replace(local.context, maintenance_policy=MaintenancePolicy(min_free_bytes=1000))
    lease = begun(local, kind="import")
    with pytest.raises(DiskFullError):
        Receiver(context, local.harness.queue).receive(lease, lambda _: io.BytesIO(ROOT))
    assert local.row(lease.id).error["code"] == "disk-full"
    assert drafts(local, lease.id) == 0


# --- asking twice --------------------------------------------------------------------------------


def test_the_same_request_again_is_the_same_job(local: Local) -> None:
    lease = begun(local, "a key")
    received(local, lease, io.BytesIO(ARCHIVE))
    assert local.receiver.begin(local.wanted("a key", kind="load")) == lease.id
    local.result(lease.id)
    assert local.receiver.begin(local.wanted("a key", kind="load")) == lease.id


def test_one_whose_body_is_being_received_is_a_conflict(local: Local) -> None:
    begun(local, "a key")
    with pytest.raises(ConflictError, match="being received"):
        begun(local, "a key")


def test_the_key_of_another_request_is_a_conflict(local: Local) -> None:
    begun(local, "a key")
    with pytest.raises(ConflictError, match="another request"):
        begun(local, "a key", repository="r.test/app")


@pytest.mark.parametrize("dies", [False, True])
def test_a_body_that_broke_off_can_be_sent_again_under_its_key(local: Local, dies: bool) -> None:
    first = begun(local, "a key")
    if dies:
        with local.catalog.write() as connection:
            heartbeats.bury_owner(connection, local.receiver.id, local.context.now())
        local.run(first.id)
    else:
        with pytest.raises(IncompleteBodyError):
            received(local, first, Failing(raising(IncompleteBodyError("gone"))))
    second = begun(local, "a key")
    assert second.id != first.id
    received(local, second, io.BytesIO(ARCHIVE))
    assert local.result(second.id)["loaded"] == ["app:1"]


def test_a_job_that_needs_a_body_is_not_made_without(local: Local) -> None:
    for spec in ({"kind": "load"}, {"kind": "import"}):
        (answer,) = local.harness.queue.submit([local.wanted(**spec)])
        assert isinstance(answer, InvalidSpecError)


def test_a_body_is_not_kept_for_another_try(local: Local) -> None:
    job = local.send(tar({"manifest.json": b"no"}), kind="load")
    local.run(job)
    with pytest.raises(ConflictError, match="not kept"):
        local.harness.queue.retry(job, requested_by="ada", tenant=HOUSE)
