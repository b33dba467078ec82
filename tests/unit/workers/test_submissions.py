"""What other services send is stored once, whatever fails, and removed only afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import pytest
from cryptography.fernet import Fernet
from redis import Redis
from sqlalchemy import select

from tests.contract.catalog.prepared import prepared_sqlite
from tests.support.processes import wait_until
from tests.support.redis import RedisProcess
from tests.unit.workers.test_incoming import SPEC, message
from transship.api.views.jobs import job_summaries
from transship.store.catalog.access.credentials import Sealer
from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.db.schema import jobs
from transship.store.catalog.scheduling import rejections
from transship.store.catalog.scheduling.heartbeats import Threads
from transship.store.errors import (
    DatabaseUnavailableError,
    DiskFullError,
    StoreError,
    TransshipError,
)
from transship.store.oci.platform import Platform
from transship.workers.broker.incoming import Rights
from transship.workers.broker.submissions import Submissions
from transship.workers.jobs.service import JobService
from transship.workers.jobs.submission import Submission
from transship.workers.runtime.wire import LocalWire
from transship.workers.specs import KINDS

QUEUE = "transship:transship.submit"
CONTROL = "transship.control"


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    made = Catalog(prepared_sqlite(tmp_path))
    yield made
    made.close()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisProcess]:
    with RedisProcess(tmp_path / "redis") as server:
        yield server


class Place:
    """A queue of submissions, and what becomes of them.

    Attributes:
        fails: What `JobService.submit` raises; None: it works.
        poison: The id of a job over which it breaks.
    """

    def __init__(self, catalog: Catalog, url: str, *, consumes: bool = True) -> None:
        self.catalog = catalog
        self.redis = Redis.from_url(url)
        self.wire = LocalWire(Threads(control=1, downloads=1, uploads=1, local=1))
        self.fails: Exception | None = None
        self.poison = ""
        self.batches: list[int] = []
        queue = JobService(
            catalog, Sealer(Fernet.generate_key().decode()), self.wire, Platform.host()
        )
        submit = queue.submit

        def watched(wanted: list[Submission]) -> list[str | TransshipError]:
            if self.fails is not None:
                raise self.fails
            if any(_names[one.id] == self.poison for one in wanted):
                raise OverflowError("an int is too large")
            self.batches.append(len(wanted))
            return submit(wanted)

        queue.submit = watched  # type: ignore[assignment, method-assign]
        self.submissions = Submissions(
            url,
            catalog,
            queue,
            self.wire,
            rights=Rights(kinds=frozenset(KINDS)),
            tasks={"transship.pull"},
            queues={CONTROL},
            consumes=consumes,
        )
        self.submissions.start()

    def send(self, *raw: bytes) -> None:
        self.redis.lpush(QUEUE, *raw)

    def left(self) -> int:
        found: Any = self.redis.llen(QUEUE)
        return int(found)

    def states(self) -> dict[str, str]:
        with self.catalog.read() as connection:
            return {_names[row.id]: row.state for row in connection.execute(select(jobs))}

    def rejected(self) -> list[str]:
        with self.catalog.read() as connection:
            return [one.reason for one in rejections.newest(connection, 100)]

    def await_empty(self) -> None:
        wait_until(lambda: self.left() == 0, 20, "the queue to be empty")

    def close(self) -> None:
        self.submissions.stop()
        self.wire.close()
        self.redis.close()


@contextmanager
def placed(catalog: Catalog, url: str, **options: Any) -> Iterator[Place]:
    place = Place(catalog, url, **options)
    try:
        yield place
    finally:
        place.close()


@pytest.fixture
def place(catalog: Catalog, redis: RedisProcess) -> Iterator[Place]:
    with placed(catalog, redis.url) as made:
        yield made


_names: dict[str, str] = {}


def uuid_of(name: str) -> str:
    """The id of the job that a test calls *name*."""
    made = str(uuid5(NAMESPACE_OID, name))
    _names[made] = name
    return made


def submission(id_: str, spec: object = SPEC) -> bytes:
    return message({"id": uuid_of(id_), "spec": spec})


def test_many_are_stored_together_in_their_order(catalog: Catalog, redis: RedisProcess) -> None:
    with Redis.from_url(redis.url) as client:
        client.lpush(QUEUE, *(submission(f"j{n:03}") for n in range(100)))
    with placed(catalog, redis.url) as place:
        place.await_empty()
        assert len(place.batches) < 30
    with catalog.read() as connection:
        found = list(connection.execute(select(jobs.c.id).order_by(jobs.c.seq)).scalars())
    assert [_names[one] for one in found] == [f"j{n:03}" for n in range(100)]


def test_messages_of_other_priorities_are_stored_too(place: Place) -> None:
    place.redis.lpush(f"{QUEUE}\x06\x169", submission("x"))
    wait_until(lambda: place.states() == {"x": "queued"}, 10, "the job")


def test_sent_twice_is_stored_once(place: Place) -> None:
    place.send(submission("x"), submission("x"))
    place.await_empty()
    assert (place.states(), place.rejected()) == ({"x": "queued"}, [])


@pytest.mark.parametrize(
    "error",
    [DatabaseUnavailableError("away"), DiskFullError("full"), StoreError("failed")],
    ids=lambda error: type(error).__name__,
)
def test_nothing_is_dropped_while_the_database_is_away(
    place: Place, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    place.fails = error
    place.send(*(submission(f"j{n}") for n in range(20)))
    wait_until(lambda: "submissions wait" in caplog.text, 10, "a failure")
    assert (place.left(), place.states()) == (20, {})
    place.fails = None
    place.await_empty()
    assert len(place.states()) == 20


def test_only_the_culprit_of_a_batch_is_affected(place: Place) -> None:
    place.poison = "j7"
    place.send(*(submission(f"j{n}") for n in range(10)))
    place.await_empty()
    assert place.states() == {f"j{n}": "failed" if n == 7 else "queued" for n in range(10)}


def test_a_bad_spec_becomes_a_failed_job_that_can_be_shown(place: Place) -> None:
    place.send(
        submission("x", {"kind": "pull"}), submission("y", 5), submission("x", {"kind": "pull"})
    )
    place.await_empty()
    assert (place.states(), place.rejected()) == ({"x": "failed", "y": "failed"}, [])
    with place.catalog.read() as connection:
        views = job_summaries(connection, connection.execute(select(jobs)).all())
    for view in views:
        assert view.error is not None
        assert (view.error.code, view.requested_by) == ("invalid-spec", "broker")
    assert {_names[view.id]: view.kind for view in views} == {"x": "pull", "y": "unknown"}


def test_a_kind_that_needs_a_body_fails(place: Place) -> None:
    place.send(submission("x", {"kind": "load"}))
    place.await_empty()
    assert place.states() == {"x": "failed"}


def test_what_has_no_id_is_kept_among_the_rejected(place: Place) -> None:
    place.send(b"\xff\0 hello", message({"spec": SPEC}))
    place.await_empty()
    assert place.states() == {}
    assert sorted(place.rejected()) == ["the message is not JSON", "there is no id that is text"]


def test_an_id_that_another_job_has_is_rejected(place: Place) -> None:
    place.send(submission("x"))
    place.await_empty()
    place.send(submission("x", {**SPEC, "reference": "here.test/app:2"}), submission("x", {}))
    place.await_empty()
    assert place.states() == {"x": "queued"}
    assert place.rejected() == [f"the id {uuid_of('x')!r} belongs to another job"] * 2


def test_several_workers_store_everything_once(catalog: Catalog, redis: RedisProcess) -> None:
    with placed(catalog, redis.url) as one, placed(catalog, redis.url) as other:
        one.send(*(submission(f"j{n}") for n in range(200)))
        one.await_empty()
        wait_until(lambda: len(one.states()) == 200, 10, "the jobs")
        assert sum(one.batches) + sum(other.batches) == 200
        assert one.rejected() == []


@pytest.mark.parametrize(
    "raw", [submission("x"), b"hello", message(args=[5], task="transship.pull")]
)
def test_what_is_not_for_celery_is_sent_on(place: Place, raw: bytes) -> None:
    assert not place.submissions.admits(CONTROL, raw)
    wait_until(lambda: [*place.states(), *place.rejected()], 10, "it to be stored")


def test_what_is_for_celery_is_left_to_it(place: Place) -> None:
    assert place.submissions.admits(CONTROL, message(args=["x"], task="transship.pull"))
    assert place.submissions.admits("a reply queue", b"hello")


def test_what_redis_does_not_take_back_is_stored_from_here(
    catalog: Catalog, redis: RedisProcess
) -> None:
    with placed(catalog, redis.url, consumes=False) as place:
        place.redis.config_set("maxmemory", "1")
        for n in range(30):
            assert not place.submissions.admits(CONTROL, submission(f"j{n}"))
        wait_until(lambda: len(place.states()) == 30, 20, "the jobs")


def test_a_worker_of_other_queues_leaves_them_alone(catalog: Catalog, redis: RedisProcess) -> None:
    with placed(catalog, redis.url, consumes=False) as other:
        other.send(submission("x"))
        other.submissions.stop()
        assert (other.left(), other.states()) == (1, {})
