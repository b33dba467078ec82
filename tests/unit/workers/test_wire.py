"""The wire of one process: thread pools."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest

from tests.support.processes import wait_until
from transship.store.catalog.scheduling.heartbeats import Threads
from transship.workers.runtime.wire import LocalWire, Message, Queue

PATIENCE_SECONDS = 10


def _message(id_: str, queue: Queue = Queue.CONTROL) -> Message:
    return Message(queue, "transship.pull", id_, f"label of {id_}")


@pytest.fixture
def wire() -> Iterator[LocalWire]:
    made = LocalWire(Threads(control=1, downloads=1, uploads=1, local=1))
    yield made
    made.close()


def test_each_message_is_run(wire: LocalWire) -> None:
    seen: list[str] = []
    wire.attach(lambda message: seen.append(message.id))
    wire.publish(_message(str(number)) for number in range(5))
    wait_until(lambda: len(seen) == 5, PATIENCE_SECONDS, "all messages")
    assert seen == ["0", "1", "2", "3", "4"]


def test_queues_do_not_wait_for_each_other(wire: LocalWire) -> None:
    all_at_once = threading.Barrier(4)

    def run(_: Message) -> None:
        all_at_once.wait(PATIENCE_SECONDS)

    wire.attach(run)
    wire.publish(_message("1", queue) for queue in Queue)
    wire.close()
    assert not all_at_once.broken


def test_a_body_that_fails_does_not_take_its_thread_with_it(
    wire: LocalWire, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    def run(message: Message) -> None:
        if message.id == "bad":
            raise ValueError("oops")
        seen.append(message.id)

    wire.attach(run)
    with caplog.at_level(logging.ERROR):
        wire.publish([_message("bad"), _message("good")])
        wait_until(lambda: seen, PATIENCE_SECONDS, "the message after")
    assert "label of bad failed" in caplog.text


def test_nothing_is_raised_when_nobody_is_attached(
    wire: LocalWire, caplog: pytest.LogCaptureFixture
) -> None:
    wire.publish([_message("1")])
    wire.close()
    assert caplog.records == []


def test_publishing_after_the_end_is_no_error(wire: LocalWire) -> None:
    seen: list[str] = []
    wire.attach(lambda message: seen.append(message.id))
    wire.close()
    wire.publish([_message("1")])
    assert seen == []


def test_closing_waits_for_what_runs_and_drops_the_rest(wire: LocalWire) -> None:
    begun, go_on = threading.Event(), threading.Event()
    ended: list[str] = []

    def run(message: Message) -> None:
        begun.set()
        go_on.wait(PATIENCE_SECONDS)
        ended.append(message.id)

    wire.attach(run)
    wire.publish([_message("running"), _message("waiting")])
    assert begun.wait(PATIENCE_SECONDS)
    closing = threading.Thread(target=wire.close)
    closing.start()
    wait_until(
        lambda: wire._pools[Queue.CONTROL]._work_queue.qsize() <= 1, PATIENCE_SECONDS, "the drop"
    )
    wait_until(lambda: wire._pools[Queue.CONTROL]._shutdown, PATIENCE_SECONDS, "the shutdown")
    go_on.set()
    closing.join(PATIENCE_SECONDS)
    assert ended == ["running"]


def test_every_listener_hears_of_every_job(wire: LocalWire) -> None:
    heard: list[list[str]] = [[], []]
    for one in heard:
        wire.listen(one.append)
    wire.announce(["a", "b"])
    assert heard == [["a", "b"], ["a", "b"]]


def test_who_has_stopped_listening_hears_nothing(wire: LocalWire) -> None:
    heard: list[str] = []
    close = wire.listen(heard.append)
    close()
    wire.announce(["a"])
    assert heard == []
