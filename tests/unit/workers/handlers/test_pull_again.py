"""A pull that is dispatched twice, late, or after a death does the same as one dispatched once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.fernet import Fernet
from sqlalchemy import select, update

from tests.contract.catalog.prepared import prepared_sqlite
from tests.contract.catalog.scene import Scene
from tests.support.images import Image, build_image
from tests.support.memory_store import MemoryStore
from tests.unit.workers.registry.simulated import Simulated
from transship.store.catalog.access.credentials import Sealer
from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.content import references
from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.db.schema import jobs as job_rows
from transship.store.catalog.db.schema import transfers, waits
from transship.store.catalog.scheduling import heartbeats, jobs
from transship.store.catalog.scheduling.admission import admission
from transship.store.catalog.scheduling.admission.admission import RESEND_SECONDS
from transship.store.oci.digest import Digest
from transship.store.oci.platform import Platform
from transship.workers.jobs.service import JobService
from transship.workers.jobs.submission import Submission
from transship.workers.process.batch import run_batch
from transship.workers.runtime.context import WorkerContext, bundle_message, dispatch
from transship.workers.runtime.leases import LeaseRenewer
from transship.workers.runtime.wire import Message, TaskEvent
from transship.workers.specs import parse_spec
from transship.workers.transfers.bundle import run_bundle

NAME = "r.test/app:1"
WORKER = "a worker"
IMAGE = build_image("again", layers=3, layer_bytes=2000)
OTHER = build_image("moved", layers=2, layer_bytes=2000)


@dataclass
class FakeBroker:
    """A wire that keeps its messages until the test runs them."""

    broker: str | None = None

    waiting: list[Message] = field(default_factory=list)
    events: list[TaskEvent] = field(default_factory=list)

    def publish(self, messages: Iterable[Message]) -> None:
        self.waiting += messages

    def reachable(self) -> bool:
        return True

    def announce(self, jobs: Iterable[str]) -> None:
        return None

    def report(self, events: Iterable[TaskEvent]) -> None:
        self.events += events

    def listen(self, on_job: Callable[[str], None]) -> Callable[[], None]:
        return lambda: None


class FakeRegistry(Simulated):
    """A registry of one repository, in which images can be put under the tag 1."""

    def __init__(self) -> None:
        super().__init__()
        self._things: dict[str, tuple[str, bytes]] = {}
        self.routes["https://r.test/v2/app/"] = self._thing

    def put(self, image: Image) -> None:
        manifest = image.manifest
        for digest in image.blobs:
            self._things[f"blobs/{digest}"] = ("application/octet-stream", image.read(digest))
        for name in ("1", str(manifest.digest)):
            self._things[f"manifests/{name}"] = (manifest.media_type, manifest.raw)

    def _thing(self, request: httpx.Request) -> httpx.Response:
        name = request.url.path.removeprefix("/v2/app/")
        if name not in self._things:
            return httpx.Response(404)
        type_, content = self._things[name]
        headers = {
            "Content-Type": type_,
            "Content-Length": str(len(content)),
            "Docker-Content-Digest": str(Digest.of(content)),
        }
        body = b"" if request.method == "HEAD" else content
        return httpx.Response(200, headers=headers, stream=httpx.ByteStream(body))

    def bodies(self) -> list[str]:
        """The blobs that were sent, as often as they were."""
        return [
            request.url.path.rpartition("/")[2]
            for request in self.requests
            if request.method == "GET" and "/blobs/" in request.url.path
        ]


@dataclass
class Harness:
    """A whole process of workers in which nothing happens unless the test says so."""

    context: WorkerContext
    broker: FakeBroker
    fake_registry: FakeRegistry
    renewer: LeaseRenewer
    queue: JobService
    scene: Scene
    crashes: int = 0

    def pull(self) -> str:
        spec = parse_spec({"kind": "pull", "reference": NAME})
        (made,) = self.queue.submit([Submission(spec=spec, requested_by="ada", tenant=HOUSE)])
        return str(made)

    def run(self, message: Message) -> None:
        way = message.queue.direction
        if way is None:
            run_batch(message.id, WORKER, self.context, self.renewer)
        else:
            run_bundle(way, int(message.id), WORKER, self.context, self.renewer)

    def run_all(self, *, times: int = 1) -> None:
        """Run every message, each so often, and those that they lead to."""
        while self.broker.waiting:
            message = self.broker.waiting.pop(0)
            for _ in range(times):
                self.run(message)

    def dies(self) -> None:
        """The worker dies with all that it holds; another takes its place, and rings anew."""
        self.broker.waiting.clear()
        self.crashes += 1
        with self.context.catalog.write() as connection:
            heartbeats.bury_everyone(connection, self.context.now())
        self.scene.worker(WORKER, control=8, downloads=8)
        later = self.context.now() + self.crashes * 3 * RESEND_SECONDS
        with self.context.catalog.write() as connection:
            again = admission.unstarted(connection, later)
            messages = [*map(bundle_message, again), *dispatch(connection, later)]
        self.broker.publish(messages)

    def stands_for(self) -> str | None:
        with self.context.catalog.read() as connection:
            row = references.get(connection, HOUSE, NAME)
        return None if row is None else str(row.digest)

    def counts(self) -> tuple[int, int]:
        """How many transfers and waits there have ever been."""
        with self.context.catalog.read() as connection:
            rows = [connection.execute(select(table)).all() for table in (transfers, waits)]
        return len(rows[0]), len(rows[1])


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Harness]:
    catalog = Catalog(prepared_sqlite(tmp_path))
    sealer = Sealer(Fernet.generate_key().decode())
    broker, fake_registry = FakeBroker(), FakeRegistry()
    fake_registry.put(IMAGE)
    scene = Scene(catalog)
    scene.worker(WORKER, control=8, downloads=8)
    context = WorkerContext(
        catalog=catalog,
        content=MemoryStore(),
        registries=fake_registry.client,
        sealer=sealer,
        wire=broker,
    )
    renewer = LeaseRenewer(catalog, worker=WORKER, lease_seconds=20, stopping=threading.Event())
    queue = JobService(catalog, sealer, broker, Platform("linux", "amd64"))
    yield Harness(context, broker, fake_registry, renewer, queue, scene)
    context.close()


def _result(harness: Harness, job: str) -> Any:
    row = harness.scene.job_row(job)
    return row.state, row.error, (row.result or {}).get("digest")


GOOD = ("succeeded", None, str(IMAGE.digest))
BLOBS = sorted(str(digest) for digest in IMAGE.blobs)


def test_a_pull_brings_each_blob_once(harness: Harness) -> None:
    job = harness.pull()
    harness.run_all()
    assert _result(harness, job) == GOOD
    assert sorted(harness.fake_registry.bodies()) == BLOBS


def test_every_bell_may_ring_twice(harness: Harness) -> None:
    job = harness.pull()
    harness.run_all(times=2)
    assert _result(harness, job) == GOOD
    assert sorted(harness.fake_registry.bodies()) == BLOBS


def test_a_bell_may_ring_after_the_end(harness: Harness) -> None:
    job = harness.pull()
    late = list(harness.broker.waiting)
    harness.run_all()
    before, asked = harness.scene.job_row(job), len(harness.fake_registry.requests)
    for message in late:
        harness.run(message)
    assert (harness.scene.job_row(job), len(harness.fake_registry.requests)) == (before, asked)


def test_an_advance_that_is_run_again_after_a_death_wants_nothing_twice(harness: Harness) -> None:
    job = harness.pull()
    harness.run(harness.broker.waiting.pop(0))
    before = harness.counts()
    with harness.context.catalog.write() as connection:
        connection.execute(update(job_rows).where(job_rows.c.id == job).values(due=True))
        assert jobs.claim(connection, job, WORKER, harness.context.now()) is not None
    harness.dies()
    run_batch(job, WORKER, harness.context, harness.renewer)
    assert harness.counts() == before


def test_a_pull_ends_although_its_worker_dies_after_every_step(harness: Harness) -> None:
    job = harness.pull()
    for _ in range(100):
        if not harness.broker.waiting:
            break
        harness.run(harness.broker.waiting.pop(0))
        harness.dies()
    assert _result(harness, job) == GOOD
    assert sorted(harness.fake_registry.bodies()) == BLOBS


def test_a_tag_that_moves_meanwhile_does_not_mix_two_images(harness: Harness) -> None:
    job = harness.pull()
    harness.run(harness.broker.waiting.pop(0))
    harness.fake_registry.put(OTHER)
    harness.run_all()
    assert _result(harness, job) == GOOD
    assert harness.stands_for() == str(IMAGE.digest)


def test_two_pulls_of_one_image_bring_each_blob_once(harness: Harness) -> None:
    both = [harness.pull(), harness.pull()]
    harness.run_all()
    assert [_result(harness, job) for job in both] == [GOOD, GOOD]
    assert sorted(harness.fake_registry.bodies()) == BLOBS


def test_pulling_what_is_there_moves_nothing(harness: Harness) -> None:
    harness.pull()
    harness.run_all()
    before = len(harness.fake_registry.bodies())
    again = harness.pull()
    harness.run_all()
    assert harness.scene.job_row(again).result["up_to_date"] is True
    assert len(harness.fake_registry.bodies()) == before


def test_an_older_pull_does_not_put_the_older_image_back(harness: Harness) -> None:
    harness.scene.limit("max_concurrent_downloads", 8)
    older = harness.pull()
    harness.run(harness.broker.waiting.pop(0))
    held_up = list(harness.broker.waiting)
    harness.broker.waiting.clear()
    harness.fake_registry.put(OTHER)
    newer = harness.pull()
    harness.run_all()
    harness.broker.waiting += held_up
    harness.run_all()
    assert harness.scene.job_row(older).superseded_by == newer
    assert harness.stands_for() == str(OTHER.digest)


def test_a_pull_of_an_image_that_is_not_there_fails_and_says_so(harness: Harness) -> None:
    harness.fake_registry.routes.clear()
    job = harness.pull()
    harness.run_all()
    row = harness.scene.job_row(job)
    assert (row.state, row.error["code"], row.error["side"], row.error["subject"]) == (
        "failed",
        "manifest-not-found",
        "source",
        NAME,
    )
