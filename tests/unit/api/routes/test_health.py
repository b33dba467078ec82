"""/livez and /readyz."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from store.catalog import heartbeats
from store.catalog.heartbeats import Threads
from tests.unit.api.serving import Api

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


def test_without_workers_it_is_not_ready(api: Api) -> None:
    answer = api.http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["status"] == "no worker for control, downloads, uploads, local"


def test_with_a_worker_for_each_queue_it_is_ready(api: Api) -> None:
    with worker(api, ALL):
        answer = api.http.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["threads"] == {"control": 1, "downloads": 2, "uploads": 3, "local": 4}


def test_the_queue_that_nobody_serves_is_named(api: Api) -> None:
    with worker(api, Threads(control=1, downloads=1, local=1)):
        answer = api.http.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "no worker for uploads")
