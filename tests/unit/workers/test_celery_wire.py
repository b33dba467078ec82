"""Celery's wire, on a Redis that lives in this process."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import fakeredis
import pytest

from tests.support.processes import free_port, wait_until
from tests.support.redis import RedisProcess
from transship.workers.broker.app import app
from transship.workers.broker.celery_wire import (
    CHANNEL,
    CLOSING_SECONDS,
    CeleryWire,
    _without_password,
)
from transship.workers.broker.redis_client import redis_url
from transship.workers.runtime.wire import Message, Queue, TaskEvent


def in_queue(wire: CeleryWire, name: str) -> list[Any]:
    """What lies in a queue, the next to be delivered last."""
    found: Any = wire._redis.lrange(f"transship:transship.{name}", 0, -1)
    return list(found)


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
    (raw,) = wait_until(lambda: in_queue(wire, "downloads"), 10, "the message")
    envelope = json.loads(raw)
    assert json.loads(base64.b64decode(envelope["body"]))[:2] == [["42"], {}]
    assert envelope["headers"]["task"] == "transship.download"
    assert envelope["headers"]["argsrepr"] == LABEL
    assert in_queue(wire, "uploads") == in_queue(wire, "control") == []


def test_what_is_dispatched_goes_before_what_strangers_sent(wire: CeleryWire) -> None:
    wire._redis.lpush("transship:transship.control", "a stranger's", "and another")
    wire.publish([Message(Queue.CONTROL, "transship.pull", "x", "y")])
    wait_until(lambda: len(in_queue(wire, "control")) == 3, 10, "the message")
    assert json.loads(in_queue(wire, "control")[-1])["headers"]["task"] == "transship.pull"


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
    monkeypatch.setattr("transship.workers.broker.celery_wire._LISTEN_SECONDS", 60.0)
    heard: list[str] = []
    close = wire.listen(heard.append)
    wait_until(lambda: wire._redis.pubsub_numsub(CHANNEL)[0][1], 10, "the subscription")
    began = time.monotonic()
    close()
    assert time.monotonic() - began < 10
    assert heard == []


@pytest.fixture(params=["hangs", "is away"])
def lost_port(request: pytest.FixtureRequest) -> Iterator[int]:
    """Where no Redis answers: nobody listens, or whoever does says nothing."""
    if request.param == "is away":
        yield free_port()
        return
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        yield listener.getsockname()[1]


def test_nobody_waits_for_a_broker_that_is_lost(lost_port: int) -> None:
    wire = CeleryWire(f"redis://127.0.0.1:{lost_port}/0")
    began = time.monotonic()
    for _ in range(500):
        wire.publish([Message(Queue.CONTROL, "transship.pull", "x", "y")])
        wire.announce(["x"])
    assert time.monotonic() - began < 0.5
    wait_until(lambda: not wire.reachable(), 10, "the loss to be noticed")
    began = time.monotonic()
    wire.close()
    assert time.monotonic() - began < CLOSING_SECONDS + 0.5


def test_listening_to_a_broker_that_is_lost_ends_in_time(lost_port: int) -> None:
    wire = CeleryWire(f"redis://127.0.0.1:{lost_port}/0")
    close = wire.listen(lambda _: None)
    began = time.monotonic()
    close()
    assert time.monotonic() - began < CLOSING_SECONDS + 0.5
    wire.close()


def test_what_is_too_much_is_dropped_and_reported_once(
    lost_port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("transship.workers.broker.celery_wire.MAX_WAITING", 10)
    wire = CeleryWire(f"redis://127.0.0.1:{lost_port}/0")
    wire.announce(str(n) for n in range(10_000))
    assert sum("are dropped" in one.message for one in caplog.records) == 1
    wire.close()


class Monitor:
    """A receiver of Celery's events, as Flower has one."""

    def __init__(self, url: str) -> None:
        self.events: list[dict[str, Any]] = []
        self._connection = app.connection_for_read(url)
        self._receiver = app.events.Receiver(
            self._connection, handlers={"*": self.events.append}, app=app
        )
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with suppress(Exception):  # its connection is closed meanwhile
            self._receiver.capture(limit=None, timeout=None, wakeup=False)

    def close(self) -> None:
        self._receiver.should_stop = True
        self._thread.join(10)
        self._connection.release()


def job_event(type_: str, job: str = "job-1", **fields: Any) -> TaskEvent:
    """What is told of a pull."""
    return TaskEvent(type_, job, "pull", "here.test/app:1", 1_700_000_000.5, fields)


def test_a_monitor_is_told_of_jobs_in_order(tmp_path: Path) -> None:
    with RedisProcess(tmp_path / "redis") as redis:
        wire = CeleryWire(redis.url, shown_as="worker@here")
        monitor = Monitor(redis.url)

        def heard() -> bool:
            wire.report([job_event("task-received", "first")])
            return bool(monitor.events)

        wait_until(heard, 10, "the monitor to listen")
        wire.report(
            [
                *(job_event(type_) for type_ in ("task-received", "task-started")),
                job_event("task-failed", exception="source: why"),
            ]
        )
        wire.report(job_event("task-received", f"n{n}") for n in range(1000))
        wait_until(lambda: monitor.events[-1]["uuid"] == "n999", 10, "all events")
        wire.close()
        monitor.close()
    told = [one for one in monitor.events if one["uuid"] == "job-1"]
    assert [one["type"] for one in told] == ["task-received", "task-started", "task-failed"]
    expected = {
        "hostname": "worker@here",
        "name": "transship.pull",
        "args": "here.test/app:1",
        "timestamp": 1_700_000_000.5,
        "exception": "source: why",
    }
    assert {name: told[-1][name] for name in expected} == expected
    assert sum(one["uuid"].startswith("n") for one in monitor.events) == 1000


def test_without_a_name_for_monitors_nothing_is_told(wire: CeleryWire) -> None:
    wire.report([job_event("task-received")])
    assert wire._events.empty()


def test_nobody_waits_to_tell_of_jobs_where_the_broker_is_lost(lost_port: int) -> None:
    wire = CeleryWire(f"redis://127.0.0.1:{lost_port}/0", shown_as="worker@here")
    began = time.monotonic()
    for _ in range(500):
        wire.report([job_event("task-received"), job_event("task-started")])
    assert time.monotonic() - began < 0.5
    wait_until(lambda: not wire.reachable(), 10, "the loss to be noticed")
    began = time.monotonic()
    wire.close()
    assert time.monotonic() - began < CLOSING_SECONDS + 0.5


def test_events_that_are_too_many_are_dropped_and_take_no_room_from_messages(
    lost_port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("transship.workers.broker.celery_wire.MAX_WAITING", 10)
    wire = CeleryWire(f"redis://127.0.0.1:{lost_port}/0", shown_as="worker@here")
    wire.report(job_event("task-received") for _ in range(10_000))
    assert wire._events.qsize() <= 10
    assert not any("are dropped" in one.message for one in caplog.records)
    wire.close()


def test_it_reports_a_broker_that_is_back(tmp_path: Path) -> None:
    port = free_port()
    wire = CeleryWire(f"redis://127.0.0.1:{port}/0")
    wait_until(lambda: not wire.reachable(), 10, "the loss to be noticed")
    with RedisProcess(tmp_path / "redis", port=port):
        wait_until(wire.reachable, 10, "the broker to be found again")
        wire.publish([Message(Queue.CONTROL, "transship.pull", "x", "y")])
        wait_until(lambda: in_queue(wire, "control"), 10, "the message")
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


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://ann:s3cret@r.test:6379/0", "redis://r.test:6379/0"),
        ("redis://r.test/1?password=s3cret", "redis://r.test/1"),
        ("redis+socket:///run/redis.sock", "redis+socket:///run/redis.sock"),
    ],
)
def test_the_brokers_address_is_shown_without_secrets(url: str, shown: str) -> None:
    assert _without_password(url) == shown
