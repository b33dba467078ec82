"""Celery's wire, on a Redis that lives in this process."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator

import fakeredis
import pytest

from tests.support.processes import free_port, wait_until
from workers.celery_wire import CHANNEL, CeleryWire, redis_url
from workers.wire import Message, Queue

LABEL = "sha256:0123456789ab… 31 MB"


@pytest.fixture
def port() -> Iterator[int]:
    """Where a fake Redis listens."""
    port = free_port()
    server = fakeredis.TcpFakeServer(("127.0.0.1", port), server_type="redis")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield port
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def wire(port: int) -> Iterator[CeleryWire]:
    """A wire over it."""
    made = CeleryWire(f"redis://127.0.0.1:{port}/0")
    yield made
    made.close()


def test_a_message_holds_an_id_and_how_it_reads_and_nothing_else(wire: CeleryWire) -> None:
    wire.publish([Message(Queue.DOWNLOADS, "transship.download", "42", LABEL)])
    queued = wire._redis.lrange("transship:transship.downloads", 0, -1)
    assert isinstance(queued, list)
    (raw,) = queued
    envelope = json.loads(raw)
    assert json.loads(base64.b64decode(envelope["body"]))[:2] == [["42"], {}]
    assert envelope["headers"]["task"] == "transship.download"
    assert envelope["headers"]["argsrepr"] == LABEL
    assert wire._redis.llen("transship:transship.uploads") == 0
    assert wire._redis.llen("transship:transship.control") == 0


def test_an_announcement_reaches_a_listener(wire: CeleryWire) -> None:
    heard: list[str] = []
    close = wire.listen(heard.append)
    try:

        def announced() -> bool:
            wire.announce(["job-1"])
            return "job-1" in heard

        wait_until(announced, 10, "the announcement")
    finally:
        close()


def test_a_listener_ends_without_waiting_for_news(
    wire: CeleryWire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.celery_wire._LISTEN_SECONDS", 60.0)
    heard: list[str] = []
    close = wire.listen(heard.append)
    wait_until(lambda: wire._redis.pubsub_numsub(CHANNEL)[0][1], 10, "the subscription")
    began = time.monotonic()
    close()
    assert time.monotonic() - began < 10
    assert heard == []


def test_a_broker_that_is_away_costs_little_and_raises_nothing() -> None:
    wire = CeleryWire(f"redis://127.0.0.1:{free_port()}/0")
    began = time.monotonic()
    for _ in range(50):
        wire.publish([Message(Queue.CONTROL, "transship.pull", "x", "y")])
        wire.announce(["x"])
    assert time.monotonic() - began < 10
    wire.close()


@pytest.mark.parametrize(
    ("celery", "redis"),
    [
        ("redis://host:1/2", "redis://host:1/2"),
        ("rediss://:pw@host/0", "rediss://:pw@host/0"),
        ("redis+socket:///run/r.sock", "unix:///run/r.sock?db=0"),
        ("redis+socket:///run/r.sock?virtual_host=3", "unix:///run/r.sock?db=3"),
    ],
)
def test_celerys_urls_are_read_as_redis_py_writes_them(celery: str, redis: str) -> None:
    assert redis_url(celery) == redis
