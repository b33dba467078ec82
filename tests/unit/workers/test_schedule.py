"""Runs of stored mirrors, as the maintenance starts them."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from sqlalchemy import select

from tests.support.scheduling import scheduler_of
from tests.unit.workers.handlers.test_pull_again import Harness, harness
from transship.store.catalog.access import credentials
from transship.store.catalog.access.credentials import NamedCredential, SealedCredential
from transship.store.catalog.db.schema import jobs as job_rows
from transship.store.catalog.scheduling import mirrors
from transship.workers.jobs import schedule
from transship.workers.specs import as_json, parse_spec

__all__ = ["harness"]

SPEC = as_json(
    parse_spec(
        {
            "kind": "mirror",
            "deadline": 600,
            "entries": [{"source": "r.test/app:1", "destination": "t.test/app"}],
        }
    )
)


def _keep(harness: Harness, name: str = "nightly", spec: dict[str, Any] = SPEC) -> None:
    with harness.context.catalog.write() as connection:
        mirrors.put(connection, name, spec=spec, interval=3600, enabled=True, now=time.time())


def _jobs(harness: Harness) -> list[Any]:
    with harness.context.catalog.read() as connection:
        query = select(job_rows).where(job_rows.c.parent.is_(None)).order_by(job_rows.c.seq)
        return list(connection.execute(query))


def test_maintenance_starts_what_is_due_once(harness: Harness) -> None:
    _keep(harness)
    scheduler = scheduler_of(harness.context)
    for _ in range(2):
        scheduler.once()
    (job,) = _jobs(harness)
    assert (job.kind, job.requested_by, job.spec) == ("mirror", "mirror nightly", SPEC)
    assert job.deadline == pytest.approx(time.time() + 600, abs=60)
    assert [message.id for message in harness.broker.waiting] == [job.id]


def test_workers_that_look_at_the_same_time_start_it_once(harness: Harness) -> None:
    _keep(harness)
    barrier = threading.Barrier(4)

    def look(worker: str) -> None:
        barrier.wait()
        scheduler_of(harness.context, worker).once()

    threads = [threading.Thread(target=look, args=(f"w{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(_jobs(harness)) == 1


def test_a_run_has_the_credentials_of_the_server_for_its_registries(harness: Harness) -> None:
    _keep(harness)
    sealer = harness.context.sealer
    with harness.context.catalog.write() as connection:
        for host in ("r.test", "else.test"):
            sealed = SealedCredential(host, sealer.seal({"username": "ann", "password": "x"}), "f")
            credentials.keep_named(connection, NamedCredential(host, sealed, 0))
        ready = [schedule.Ready.of(mirrors.get(connection, "nightly"))]
        schedule.start_due(connection, ready, sealer, time.time())
    (job,) = _jobs(harness)
    with harness.context.catalog.read() as connection:
        assert credentials.of_root(connection, job.id).keys() == {"r.test"}


def test_one_that_cannot_be_started_does_not_keep_the_others(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    _keep(harness, "broken", {"kind": "mirror", "entries": [], "of": "another version"})
    _keep(harness, "sound")
    scheduler_of(harness.context).once()
    assert [job.requested_by for job in _jobs(harness)] == ["mirror sound"]
    assert "the mirror broken cannot be started" in caplog.text
