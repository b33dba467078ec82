"""Maintenance belongs to one worker at a time, and a cluster without work is quiet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import event

from tests.contract.catalog.prepared import prepared_sqlite
from tests.support.maintenance import (
    await_another,
    interleaved,
    kill_owner,
    living_owner,
    log_runs,
    longest_pause,
    runs,
)
from tests.support.postgres import PostgresCluster
from tests.support.processes import wait_until
from tests.support.server import Server
from transship.store.catalog.db.engine import Catalog
from transship.store.home import prepare_home
from transship.store.settings import Settings
from transship.workers.process.bootstrap import make_context, open_catalog, write_defaults
from transship.workers.process.worker import Worker, threads_for
from transship.workers.runtime.wire import LocalWire, Queue

WORKERS = 4
QUIET_SECONDS = 12.0
MAX_A_SECOND = 1.5
DEATHS = 3
LEASE_SECONDS = 3.0


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield prepared_sqlite(tmp_path)
        return
    with PostgresCluster() as cluster, cluster.database() as name:
        made = Catalog(cluster.url(name))
        made.prepare()
        made.close()
        yield cluster.url(name)


@contextmanager
def _worker(home: Path, url: str, begun: list[float]) -> Iterator[Worker]:
    """A worker with a catalog of its own, whose transactions are counted."""
    settings = Settings.model_validate({"home": home, "database_url": url})
    prepare_home(settings.home)
    catalog = open_catalog(settings)
    write_defaults(catalog, settings)
    threads = threads_for(set(Queue))
    wire = LocalWire(threads)
    context = make_context(settings, catalog, wire)
    database = cast("Any", catalog)._database
    for engine in (database._writer, database._reader):
        event.listen(engine, "begin", lambda _: begun.append(time.monotonic()))
    worker = Worker(context, threads)
    wire.attach(worker.run)
    worker.start()
    try:
        yield worker
    finally:
        worker.leave(1.0)
        wire.close()
        worker.stop()
        context.close()


@pytest.mark.slow
def test_four_workers_without_work_are_quiet(tmp_path: Path, url: str) -> None:
    begun: list[float] = []
    with ExitStack() as stack:
        for _ in range(WORKERS):
            stack.enter_context(_worker(tmp_path / "home", url, begun))
        wait_until(
            lambda: time.monotonic() - begun[-1] > 1.0, 30, "a second in which nothing happens"
        )
        since = time.monotonic()
        time.sleep(QUIET_SECONDS)  # what is asked is what happens in a time
        number = sum(at >= since for at in begun)
    assert number <= MAX_A_SECOND * QUIET_SECONDS
    assert number >= WORKERS * int(QUIET_SECONDS / 5)  # their heartbeats


def test_the_maintenance_passes_on_when_its_worker_is_killed(
    start_server: Callable[..., Server],
) -> None:
    server = start_server(workers=2, TRANSSHIP_LEASE_SECONDS=str(LEASE_SECONDS))
    log_runs(server.catalog)
    for _ in range(DEATHS):
        kill_owner(server)
    done = runs(server.catalog)
    assert len({run.fence for run in done}) == DEATHS + 1
    assert interleaved(done) == []
    assert longest_pause(done) < LEASE_SECONDS


def test_a_worker_that_ends_in_order_gives_the_maintenance_up_at_once(
    start_server: Callable[..., Server],
) -> None:
    server = start_server(workers=2)
    owner = living_owner(server)
    server.worker_of(owner).stop()
    await_another(server, owner)
