"""Two hosts that do at once what must not be done at once.

In each test the first host is held in the middle of its transaction, with everything done and
nothing committed, until the second has gone as far as it gets.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import psycopg
import pytest
from cryptography.fernet import Fernet
from sqlalchemy import Connection, text

from tests.contract.catalog.scene import FAILURE, HERE, THERE, Scene, named, new_job, wanted
from tests.support.postgres import PostgresCluster
from tests.support.processes import wait_until
from transship.store.catalog.access.credentials import Sealer
from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.content import references
from transship.store.catalog.db import postgresql
from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.scheduling import events, jobs, targets, transfers, waits
from transship.store.catalog.scheduling.admission import admission, job_admission
from transship.store.catalog.scheduling.heartbeats import Threads
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.errors import ConflictError
from transship.store.oci.platform import Platform
from transship.workers.jobs.service import JobService
from transship.workers.jobs.stopping import stop_jobs
from transship.workers.jobs.submission import Submission
from transship.workers.runtime.wire import LocalWire
from transship.workers.specs import as_json, fingerprint, fix_platforms, parse_spec

pytestmark = pytest.mark.parametrize("url", ["postgresql"], indirect=True)

PATIENCE_SECONDS = 20
NOW = 1_000_000.0
ANOTHER = "a worker on another host"
R = TypeVar("R")


@dataclass
class Hosts:
    """A scene on one host, and another host with the same database."""

    scene: Scene
    other: Catalog
    cluster: PostgresCluster

    @contextmanager
    def meanwhile(self, act: Callable[[], R]) -> Iterator[tuple[Connection, list[R]]]:
        """A transaction of the first host, during which the second begins to *act*.

        What the second returned is in the list when the block is left.
        """
        answers: list[R] = []
        failures: list[BaseException] = []

        def run() -> None:
            try:
                answers.append(act())
            except BaseException as error:  # noqa: BLE001 -- the test's own thread raises it
                failures.append(error)

        second = threading.Thread(target=run)
        with self.scene.catalog.write() as connection:
            yield connection, answers
            second.start()
            wait_until(
                lambda: not second.is_alive() or self._waits(), PATIENCE_SECONDS, "the second host"
            )
        second.join(PATIENCE_SECONDS)
        if failures:
            raise failures[0]

    def _waits(self) -> bool:
        with psycopg.connect(self.cluster.url()) as connection:
            row = connection.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()
        assert row is not None
        return bool(row[0])

    def elsewhere(self, act: Callable[[Connection], R]) -> Callable[[], R]:
        """The second host's transaction."""

        def run() -> R:
            with self.other.write() as connection:
                return act(connection)

        return run


@pytest.fixture
def hosts(scene: Scene, url: str, cluster: PostgresCluster) -> Iterator[Hosts]:
    other = Catalog(url)
    yield Hosts(scene, other, cluster)
    other.close()


# --- the same blob -------------------------------------------------------------------------------


def test_two_that_want_a_blob_get_one_transfer(hosts: Hosts) -> None:
    scene = hosts.scene
    one, two = scene.job("one"), scene.job("two", owner=ANOTHER)
    want_it = hosts.elsewhere(lambda c: waits.want(c, [(two, [wanted("a")])], NOW))
    with hosts.meanwhile(want_it) as (connection, _):
        waits.want(connection, [(one, [wanted("a")])], NOW)
    assert scene.transfers_of("a") == 1
    claim = scene.running("a")
    with scene.catalog.read() as connection:
        assert set(waits.jobs_of(connection, claim.id, limit=9)) == {"one", "two"}


def test_a_blob_that_is_cancelled_and_wanted_at_once_is_still_moved(hosts: Hosts) -> None:
    scene = hosts.scene
    one, two = scene.job("one"), scene.job("two", owner=ANOTHER)
    scene.want(one, "a")
    want_it = hosts.elsewhere(lambda c: waits.want(c, [(two, [wanted("a")])], NOW))
    with hosts.meanwhile(want_it) as (connection, _):
        waits.abandon(connection, ["one"], NOW)
    assert scene.running("a").sources[0].job == "two"


def test_a_blob_that_is_wanted_and_cancelled_at_once_is_still_moved(hosts: Hosts) -> None:
    scene = hosts.scene
    one, two = scene.job("one"), scene.job("two", owner=ANOTHER)
    scene.want(one, "a")
    cancel = hosts.elsewhere(lambda c: waits.abandon(c, ["one"], NOW))
    with hosts.meanwhile(cancel) as (connection, _):
        waits.want(connection, [(two, [wanted("a")])], NOW)
    assert scene.running("a").sources[0].job == "two"


def test_a_source_that_is_struck_while_another_is_brought_leaves_the_other(hosts: Hosts) -> None:
    scene = hosts.scene
    one, two = scene.job("one"), scene.job("two", owner=ANOTHER)
    scene.want(one, "a")
    claim = scene.running("a")
    elsewhere = [wanted("a", registry=THERE)]
    want_it = hosts.elsewhere(lambda c: waits.want(c, [(two, elsewhere)], NOW))
    with hosts.meanwhile(want_it) as (connection, _):
        transfers.exclude(connection, claim, claim.sources[0], FAILURE, NOW)
    assert scene.running("a").sources[0].registry == THERE
    assert scene.is_due("one")


# --- limits and turns ----------------------------------------------------------------------------


def test_two_that_admit_keep_to_one_limit(hosts: Hosts) -> None:
    scene = hosts.scene
    scene.want(scene.job("many"), *named("many", 8))
    scene.limit("max_concurrent_downloads", 3)
    admit = hosts.elsewhere(lambda c: admission.admit(c, "download", NOW))
    with hosts.meanwhile(admit) as (connection, admitted):
        assert len(admission.admit(connection, "download", NOW)) == 3
    assert admitted == [[]]


def test_two_that_ring_keep_to_the_threads_and_ring_nobody_twice(hosts: Hosts) -> None:
    scene = hosts.scene
    scene.no_workers()
    scene.worker("few", control=4)
    for name in named("job", 8):
        scene.submit(name, registry=name)
    dispatch = hosts.elsewhere(lambda c: job_admission.take_due(c, NOW))
    with hosts.meanwhile(dispatch) as (connection, dispatched):
        assert len(job_admission.take_due(connection, NOW)) == 4
    assert dispatched == [[]]


def test_an_admitted_transfer_is_taken_up_by_one(hosts: Hosts) -> None:
    scene = hosts.scene
    scene.want(scene.job("one"), "a")
    scene.admit()
    number = scene.transfer("a").bundle
    claim = hosts.elsewhere(lambda c: transfers.claim(c, "download", number, ANOTHER, NOW))
    with hosts.meanwhile(claim) as (connection, claimed):
        assert transfers.claim(connection, "download", number, "a worker", NOW) != []
    assert claimed == [[]]


def test_a_due_job_is_taken_up_by_one(hosts: Hosts) -> None:
    hosts.scene.submit("one")
    claim = hosts.elsewhere(lambda c: jobs.claim(c, "one", ANOTHER, NOW))
    with hosts.meanwhile(claim) as (connection, claimed):
        assert jobs.claim(connection, "one", "a worker", NOW) is not None
    assert claimed == [None]


# --- wake-ups ------------------------------------------------------------------------------------


def test_a_job_that_is_let_go_while_its_last_blob_arrives_is_due(hosts: Hosts) -> None:
    scene = hosts.scene
    lease = scene.job("one")
    scene.want(lease, "a")
    claim = scene.running("a")
    let_go = hosts.elsewhere(lambda c: jobs.release(c, lease, now=NOW))
    with hosts.meanwhile(let_go) as (connection, _):
        transfers.complete(connection, [(claim, claim.sources[0])], NOW)
    assert scene.is_due("one")


def test_a_job_whose_last_blob_arrives_while_it_is_let_go_is_due(hosts: Hosts) -> None:
    scene = hosts.scene
    lease = scene.job("one")
    scene.want(lease, "a")
    claim = scene.running("a")
    arrive = hosts.elsewhere(lambda c: transfers.complete(c, [(claim, claim.sources[0])], NOW))
    with hosts.meanwhile(arrive) as (connection, _):
        jobs.release(connection, lease, now=NOW)
    assert scene.is_due("one")


def test_a_job_whose_last_two_blobs_arrive_at_once_is_due(hosts: Hosts) -> None:
    scene = hosts.scene
    lease = scene.job("one")
    scene.want(lease, "a", "b")
    first, second = scene.running("a"), scene.claim("b")
    assert second is not None
    scene.release(lease)
    arrive = hosts.elsewhere(lambda c: transfers.complete(c, [(second, second.sources[0])], NOW))
    with hosts.meanwhile(arrive) as (connection, _):
        transfers.complete(connection, [(first, first.sources[0])], NOW)
    assert scene.is_due("one")


def _parent_with_two_children(scene: Scene) -> tuple[JobLease, JobLease]:
    parent = scene.job("parent", kind="mirror")
    children = [
        scene.job(name, parent="parent", child_key=name, root="parent", owner=owner)
        for name, owner in (("first", "a worker"), ("second", ANOTHER))
    ]
    scene.release(parent)
    assert not scene.is_due("parent")
    return children[0], children[1]


def test_a_parent_whose_last_two_children_end_at_once_is_due(hosts: Hosts) -> None:
    first, second = _parent_with_two_children(hosts.scene)
    end = hosts.elsewhere(lambda c: jobs.finish(c, [jobs.End(second, "succeeded")], NOW))
    with hosts.meanwhile(end) as (connection, _):
        jobs.finish(connection, [jobs.End(first, "succeeded")], NOW)
    assert hosts.scene.is_due("parent")


def test_hosts_that_took_no_turns_would_wake_that_parent_too(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What its children come to is a row: the second waits for it, and then sees the first."""
    monkeypatch.setattr(postgresql, "_TURN", text("SELECT 1, 1000000.0"))
    first, second = _parent_with_two_children(hosts.scene)
    end = hosts.elsewhere(lambda c: jobs.finish(c, [jobs.End(second, "succeeded")], NOW))
    with hosts.meanwhile(end) as (connection, _):
        jobs.finish(connection, [jobs.End(first, "succeeded")], NOW)
    assert hosts.scene.is_due("parent")


def test_a_job_that_is_let_go_while_it_is_cancelled_hears_of_it(hosts: Hosts) -> None:
    scene = hosts.scene
    lease = scene.job("one")
    scene.want(lease, "a")
    let_go = hosts.elsewhere(lambda c: jobs.release(c, lease, now=NOW))
    with hosts.meanwhile(let_go) as (connection, _):
        stop_jobs(connection, "one", "cancelled", NOW)
    assert scene.is_due("one")
    assert scene.job_row("one").stop_requested == "cancelled"


# --- names and keys ------------------------------------------------------------------------------


@pytest.mark.parametrize("other_body", [False, True])
def test_a_key_that_two_hosts_get_at_once_makes_one_job(hosts: Hosts, *, other_body: bool) -> None:
    spec = parse_spec({"kind": "pull", "reference": f"{HERE}/app:1"})
    another = parse_spec({"kind": "pull", "reference": f"{HERE}/app:2"})
    host = Platform.parse("linux/amd64")
    fixed = fix_platforms(spec, host)
    first = new_job(
        "first",
        spec=as_json(fixed),
        fingerprint=fingerprint(spec),
        requested_by="a client",
        idempotency_key="a key",
    )
    sealer = Sealer(Fernet.generate_key().decode())
    wire = LocalWire(Threads(control=1, downloads=1, uploads=1, local=1))  # nobody is at its end
    queue = JobService(hosts.other, sealer, wire, host)
    second = Submission(
        spec=another if other_body else spec,
        requested_by="a client",
        tenant=HOUSE,
        idempotency_key="a key",
    )
    with hosts.meanwhile(lambda: queue.submit([second])) as (connection, answers):
        jobs.create(connection, [first], NOW)
    wire.close()
    ((answer,),) = answers
    if other_body:
        assert isinstance(answer, ConflictError)
    else:
        assert answer == "first"


def test_a_reference_that_two_hosts_write_at_once_is_the_newer_ones(hosts: Hosts) -> None:
    scene = hosts.scene
    older, newer = scene.job("older"), scene.job("newer", owner=ANOTHER)
    write = hosts.elsewhere(lambda c: _publish(c, older))
    with hosts.meanwhile(write) as (connection, superseded_by):
        assert _publish(connection, newer) is None
    assert superseded_by == ["newer"]
    with scene.catalog.read() as connection:
        row = references.get(connection, HOUSE, "here.test/app:1")
    assert row is not None
    assert row.digest == "of newer"


def _publish(connection: Connection, lease: JobLease) -> str | None:
    digest = f"of {lease.id}"
    return references.publish(
        connection, HOUSE, "here.test/app:1", digest, "a media type", seq=lease.seq, now=NOW
    )


def test_a_name_in_a_registry_is_held_by_one_of_two_hosts(hosts: Hosts) -> None:
    scene = hosts.scene
    one, two = scene.job("one"), scene.job("two", owner=ANOTHER)
    hold = hosts.elsewhere(lambda c: targets.hold(c, [(two, "there.test/app:1")]))
    with hosts.meanwhile(hold) as (connection, held):
        assert targets.hold(connection, [(one, "there.test/app:1")]) == [None]
    assert held == [[""]]


# --- order ---------------------------------------------------------------------------------------


def test_whoever_has_seen_an_event_has_seen_all_with_smaller_ids(hosts: Hosts) -> None:
    """So that a stream of events can go on after the last one that arrived."""
    scene = hosts.scene
    scene.submit("one")
    begin = scene.events_of("one")[-1].id

    def record_and_look() -> list[str]:
        with hosts.other.write() as connection:
            events.record(connection, "one", "second", NOW)
        with hosts.other.read() as connection:
            return [one.type for one in events.of_job(connection, "one", after=begin)]

    with hosts.meanwhile(record_and_look) as (connection, seen):
        events.record(connection, "one", "first", NOW)
    assert seen == [["first", "second"]]
