"""/livez and /readyz."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.unit.api.serving import Api
from transship.store.catalog.scheduling import heartbeats
from transship.store.catalog.scheduling.heartbeats import Threads
from transship.store.errors import DatabaseUnavailableError

ALL = Threads(control=1, downloads=2, uploads=3, local=4)


@contextmanager
def worker(api: Api, threads: Threads) -> Iterator[str]:
    with api.catalog.write() as connection:
        heartbeats.register(connection, "w", pid=1, threads=threads, now=0)
    yield "w"
    with api.catalog.write() as connection:
        heartbeats.unregister(connection, "w")


def test_the_process_answers(api: Api) -> None:
    answer = api.http.get("/livez")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_without_workers_jobs_are_accepted(api: Api) -> None:
    answer = api.http.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    assert answer.json()["degraded"] == ["control", "downloads", "uploads", "local"]


def test_with_a_worker_for_each_queue_nothing_is_degraded(api: Api) -> None:
    with worker(api, ALL):
        answer = api.http.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok",
        "degraded": [],
        "threads": {"control": 1, "downloads": 2, "uploads": 3, "local": 4},
    }


def test_the_queue_that_nobody_serves_is_named(api: Api) -> None:
    with worker(api, Threads(control=1, downloads=1, local=1)):
        answer = api.http.get("/readyz")
    assert (answer.status_code, answer.json()["degraded"]) == (200, ["uploads"])


def test_a_broker_that_does_not_answer_is_named(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.wire, "reachable", lambda: False)
    with worker(api, ALL):
        answer = api.http.get("/readyz")
    assert (answer.status_code, answer.json()["degraded"]) == (200, ["broker"])


def test_without_the_catalog_no_job_can_be_accepted(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise DatabaseUnavailableError("the database does not answer", subject="here")

    monkeypatch.setattr(api.catalog, "read", away)
    answer = api.http.get("/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "database-unavailable")
