"""/metrics tells what SQL says of the whole cluster, and costs little."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import insert, text

from tests.contract.catalog.prepared import prepared_sqlite
from tests.contract.catalog.scene import HERE, THERE, Scene, wanted
from tests.unit.api.serving import Api
from transship.api.views.liveness import Liveness
from transship.api.views.metrics import FRESH_SECONDS, STORE_FRESH_SECONDS, Metrics
from transship.store.catalog.content import collection
from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.db.schema import jobs as job_rows
from transship.store.catalog.scheduling import heartbeats, rejections, waits
from transship.store.catalog.scheduling.admission import limits, parking
from transship.store.catalog.scheduling.heartbeats import Threads
from transship.store.oci.digest import Digest
from transship.store.settings import Settings
from transship.workers.process.bootstrap import make_context
from transship.workers.runtime.context import WorkerContext
from transship.workers.runtime.wire import LocalWire

Figures = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def figures(exposed: str) -> Figures:
    """Every sample of a page by its name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(exposed)
        for sample in family.samples
    }


class Cluster:
    """A catalog and a store, and what is said of them."""

    def __init__(self, directory: Path) -> None:
        self.catalog = Catalog(prepared_sqlite(directory))
        wire = LocalWire(Threads(control=1, downloads=1, uploads=1, local=1))
        self.context: WorkerContext = make_context(
            Settings(home=directory / "home"), self.catalog, wire
        )
        self.scene = Scene(self.catalog, now=time.time())
        self.clock = 0.0
        self.metrics = Metrics(self.context, Liveness(lambda: self.clock), lambda: self.clock)

    def read(self, *, after: float = STORE_FRESH_SECONDS) -> Figures:
        """What is said *after* so many seconds."""
        self.clock += after
        return figures(self.metrics.exposition().decode())

    def value(self, name: str, **labels: str) -> float:
        """One figure, afresh."""
        return self.read(after=FRESH_SECONDS)[f"transship_{name}", tuple(sorted(labels.items()))]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    made.context.close()


def test_it_is_served_as_prometheus_reads_it(api: Api) -> None:
    answer = api.http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    told = figures(answer.text)
    assert told["transship_workers", ()] == 0
    assert told["process_open_fds", ()] > 0


def test_every_metric_says_what_it_is(cluster: Cluster) -> None:
    cluster.scene.submit("a job")
    families = cluster.metrics.families()
    assert len({family.name for family in families}) == len(families)
    for family in families:
        assert family.name.startswith("transship_")
        assert family.help.endswith(".")


def test_jobs_are_counted_by_kind_and_state(cluster: Cluster) -> None:
    cluster.scene.submit("waits")
    cluster.scene.submit("waits too", kind="copy")
    cluster.scene.end(cluster.scene.job("ends"), "failed")
    assert cluster.value("jobs", kind="pull", state="queued") == 1
    assert cluster.value("jobs", kind="copy", state="queued") == 1
    assert cluster.value("jobs", kind="pull", state="failed") == 1
    assert cluster.value("recently_ended_jobs", kind="pull", state="failed") == 1


def test_what_was_moved_is_told_for_a_while(cluster: Cluster) -> None:
    scene = cluster.scene
    scene.worker("a worker", control=1, downloads=1)
    job = scene.job("a pull")
    scene.want(job, "a blob", size=100)
    scene.complete(scene.running("a blob"))
    scene.end(job)
    name = ("transship_recently_moved_bytes", (("kind", "pull"), ("state", "succeeded")))
    assert cluster.read()[name] == 100
    with cluster.catalog.write() as connection:
        connection.execute(text("UPDATE jobs SET finished_at = finished_at - 301"))
    assert name not in cluster.read()


def test_a_mirror_has_moved_what_its_images_have(cluster: Cluster) -> None:
    scene = cluster.scene
    scene.worker("a worker", control=2, downloads=1)
    scene.submit("a mirror", kind="mirror")
    for n in range(2):
        child = scene.job(f"{n}", kind="copy", parent="a mirror", child_key=f"{n}", root="a mirror")
        scene.want(child, f"blob {n}", size=100)
        scene.complete(scene.running(f"blob {n}"))
        scene.end(child)
    mirror = scene.take("a mirror")
    assert mirror is not None
    scene.end(mirror)
    told = cluster.read()
    for kind in ("copy", "mirror"):
        labels = (("kind", kind), ("state", "succeeded"))
        assert told["transship_recently_moved_bytes", labels] == 200


def test_no_transaction_is_open_while_the_disk_or_the_broker_is_asked(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    database: Any = cluster.catalog._database
    open_: list[int] = []
    content, wire = cluster.context.content, cluster.context.wire
    partials, reachable = content.partials, wire.reachable

    def walk() -> Any:
        open_.append(database._reader.pool.checkedout())
        return partials()

    def ask() -> bool:
        open_.append(database._reader.pool.checkedout())
        return reachable()

    monkeypatch.setattr(content, "partials", walk)
    monkeypatch.setattr(wire, "reachable", ask)
    cluster.read()
    assert open_ == [0, 0]


def test_transfers_and_slots_by_direction(cluster: Cluster) -> None:
    scene = cluster.scene
    scene.worker("a worker", control=1, downloads=2)
    scene.want(scene.job("a job"), "one", "two", "three")
    scene.running("one")
    assert cluster.value("transfers", direction="download", state="running") == 1
    assert cluster.value("transfers", direction="download", state="admitted") == 1
    assert cluster.value("transfers", direction="download", state="pending") == 1
    assert cluster.value("transfers", direction="upload", state="pending") == 0
    assert cluster.value("transfer_slots_in_use", direction="download") == 2
    assert cluster.value("transfer_slots", direction="download") == 3


def test_small_blobs_share_a_slot_and_uploads_wait_blocked(cluster: Cluster) -> None:
    scene = cluster.scene
    scene.worker("a worker", control=1, downloads=2)
    lease = scene.job("a copy")
    with cluster.catalog.write() as connection:
        wishes = [
            wanted(one, direction="upload", size=9, registry=THERE, after=wanted(one, size=9))
            for one in ("one", "two")
        ]
        waits.want(connection, [(lease, wishes)], scene.now)
    scene.admit()
    assert cluster.value("transfers", direction="download", state="admitted") == 2
    assert cluster.value("transfer_slots_in_use", direction="download") == 1
    assert cluster.value("transfers", direction="upload", state="blocked") == 2
    assert cluster.value("transfer_slots_in_use", direction="upload") == 0


def test_a_limit_that_is_changed_is_told_as_it_is(cluster: Cluster) -> None:
    cluster.scene.limit("max_concurrent_uploads", 0)
    assert cluster.value("transfer_slots", direction="upload") == 0


def test_registries_that_are_left_alone_are_named(cluster: Cluster) -> None:
    with cluster.catalog.write() as connection:
        parking.park(connection, HERE, 60, time.time())
        limits.override_registry(connection, THERE, {"paused": True})
    assert 50 < cluster.value("registry_parked_seconds", registry=HERE) <= 60
    assert cluster.value("registry_paused", registry=THERE) == 1
    assert ("transship_registry_paused", (("registry", HERE),)) not in cluster.read()


def test_workers_that_beat_and_stay_are_counted(cluster: Cluster) -> None:
    cluster.scene.worker("one", control=8, downloads=16)
    cluster.scene.worker("two", downloads=16)
    assert cluster.value("workers") == 2
    assert cluster.value("worker_threads", queue="downloads") == 32
    with cluster.catalog.write() as connection:
        heartbeats.retire(connection, "two")
    assert cluster.value("workers") == 1
    assert cluster.value("worker_threads", queue="downloads") == 16
    assert cluster.value("worker_threads", queue="local") == 0


def test_what_is_degraded_is_told(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cluster.value("degraded", what="broker") == 0
    assert cluster.value("degraded", what="control") == 1
    cluster.scene.worker("one", control=8)
    assert cluster.value("degraded", what="control") == 0
    monkeypatch.setattr(cluster.context.wire, "reachable", lambda: False)
    assert cluster.value("degraded", what="broker") == 1


def test_rejected_messages_are_counted(cluster: Cluster) -> None:
    assert cluster.value("rejected_messages") == 0
    with cluster.catalog.write() as connection:
        rejections.record(connection, [("not JSON", b"x"), ("not JSON", b"y")], 0)
    assert cluster.value("rejected_messages") == 2


def test_a_job_that_nobody_takes_up_grows_old(cluster: Cluster) -> None:
    scene = cluster.scene
    assert cluster.value("oldest_waiting_job_seconds", queue="control") == 0
    scene.now -= 500
    scene.submit("an old one of low priority", priority=-10)
    scene.submit("elsewhere", queue="local")
    scene.now += 200
    scene.submit("old")
    assert 299 < cluster.value("oldest_waiting_job_seconds", queue="control") < 320
    assert 499 < cluster.value("oldest_waiting_job_seconds", queue="local") < 520
    assert scene.take("old") is not None
    assert cluster.value("oldest_waiting_job_seconds", queue="control") == 0


def test_the_store_is_told_with_what_limits_it(cluster: Cluster) -> None:
    content = cluster.context.content
    digest = content.put(b"twelve bytes")
    content.put(b"gone")
    content.remove(Digest.of(b"gone"))
    with content.ingest(Digest.of(b"a whole"), fence=1) as ingest:
        ingest.write(b"a")
    with cluster.catalog.write() as connection:
        from_store = {"digest": str(digest), "size": 12}
        connection.execute(
            text(
                "INSERT INTO blobs (digest, size, created_at, used_at, collection)"
                " VALUES (:digest, :size, 0, 0, 0)"
            ),
            from_store,
        )
        collection.note_space(connection, short=True)
    told = {name: value for (name, labels), value in cluster.read().items() if not labels}
    assert told["transship_store_blobs"] == 1
    assert told["transship_store_bytes"] == 12
    assert (told["transship_store_partials"], told["transship_store_partial_bytes"]) == (1, 1)
    assert (told["transship_store_trash_blobs"], told["transship_store_trash_bytes"]) == (1, 4)
    assert told["transship_store_free_bytes"] > 0
    assert told["transship_store_min_free_bytes"] == 2**30
    assert told["transship_store_short_of_space"] == 1
    assert "transship_store_max_bytes" not in told


def test_those_who_ask_within_a_second_are_told_the_same(cluster: Cluster) -> None:
    queued = ("transship_jobs", (("kind", "pull"), ("state", "queued")))
    assert queued not in cluster.read()
    cluster.scene.submit("a job")
    assert queued not in cluster.read(after=FRESH_SECONDS / 2)
    assert queued in cluster.read(after=FRESH_SECONDS)


def _many(count: int) -> list[dict[str, Any]]:
    ended = {"succeeded": 70, "failed": 80, "cancelled": 85}
    rows = []
    for n in range(count):
        state = next((state for state, share in ended.items() if n % 100 < share), "queued")
        rows.append(
            {
                **{c.name: None for c in job_rows.c if c.nullable},
                **{c.name: 0 for c in job_rows.c if not c.nullable and c.name != "seq"},
                "id": f"{n:032x}",
                "kind": ("pull", "copy", "mirror")[n % 3],
                "state": state,
                "queue": "control",
                "root": f"{n:032x}",
                "registry": HERE,
                "label": "registry.test/team/app:1",
                "fingerprint": "f" * 64,
                "requested_by": "a test",
                "idempotency_key": str(n),
                "spec": {"kind": "pull", "reference": "registry.test/team/app:1"},
                "checkpoint": {"digest": "sha256:" + "a" * 64, "more": "y" * 200},
                "created_at": 1.0,
                "finished_at": None if state == "queued" else float(n),
                "due": state == "queued",
            }
        )
    return rows


def test_twenty_thousand_jobs_are_counted_without_looking_at_each(cluster: Cluster) -> None:
    """To read the rows takes several times as long as to read the index."""
    with cluster.catalog.write() as connection:
        rows = _many(20_000)
        for start in range(0, len(rows), 5000):
            connection.execute(insert(job_rows), rows[start : start + 5000])
        connection.execute(text("ANALYZE"))

    def took(act: Any) -> float:
        begun = time.perf_counter()
        act()
        return time.perf_counter() - begun

    def every_row() -> None:
        with cluster.catalog.read() as connection:
            connection.execute(text("SELECT kind, max(length(spec)) FROM jobs GROUP BY kind")).all()

    scrape = min(took(cluster.read) for _ in range(5))
    assert scrape < min(took(every_row) for _ in range(5))
    assert sum(
        value for (name, _), value in cluster.read().items() if name == "transship_jobs"
    ) == len(rows)


def test_no_command_pays_for_it() -> None:
    loaded = "import sys, transship.api.cli.root, transship.api.app"
    code = f"{loaded}; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
