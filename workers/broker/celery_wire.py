"""The wire over Celery and Redis. Nobody who publishes waits for Redis: a thread sends."""

from __future__ import annotations

import logging
import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import redis
from kombu.pools import producers

from transship.workers.broker.app import app
from transship.workers.broker.names import KEY_PREFIX
from transship.workers.broker.redis_client import impatient_redis
from transship.workers.broker.redis_transport import FRONT_HEADER
from transship.workers.runtime.wire import Message, TaskEvent

log = logging.getLogger(__name__)

CHANNEL = f"{KEY_PREFIX}jobs"
MAX_WAITING = 10_000  # messages for a Redis that is slow; more are dropped. As many events
CLOSING_SECONDS = 1.0  # at most for each thread, whatever Redis does
_MAX_TOGETHER = 500
_MAX_EVENTS = 200  # sent together: what is dispatched meanwhile waits for them
_PROBE = f"{KEY_PREFIX}probe"
_PROBE_SECONDS = 1.0  # so often Redis is written to, when there is nothing to send
_OVERDUE_SECONDS = 3.0
_QUIET_SECONDS = 1.0  # after a failure; the scheduler sends again what was lost
_LISTEN_SECONDS = 1.0  # so late an end is noticed, where Redis cannot tell of it
_TIMEOUT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class _Announcement:
    channel: str
    text: str


class CeleryWire:
    """Publishes by Celery, announces by Redis' publish and subscribe."""

    def __init__(self, broker_url: str, *, shown_as: str | None = None) -> None:
        """Use the Redis at *broker_url*, in Celery's notation. The thread starts at once.

        Monitors know this process as *shown_as*; None: they are told nothing.
        """
        app.conf.update(broker_url=broker_url)
        self._producers: Any = producers[app.connection_for_write(broker_url)]
        self._redis = impatient_redis(broker_url, timeout=_TIMEOUT_SECONDS)
        self._address = _without_password(broker_url)
        self._waiting: queue.Queue[Message | _Announcement | None] = queue.Queue(MAX_WAITING)
        self._dispatcher: Any = None
        if shown_as is not None:
            # It has no connection of its own: `publish` is given the thread's.
            self._dispatcher = app.events.Dispatcher(
                hostname=shown_as, enabled=False, buffer_while_offline=False
            )
        self._events: queue.Queue[TaskEvent] = queue.Queue(MAX_WAITING)
        self._dropping = False
        self._end = threading.Event()
        self._up = True
        self._answered_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="wire", daemon=True)
        self._thread.start()

    def publish(self, messages: Iterable[Message]) -> None:
        """Let the thread send each message to its queue."""
        for message in messages:
            self._put(message)

    def announce(self, jobs: Iterable[str]) -> None:
        """Let the thread publish the ids on the channel."""
        for job in jobs:
            self._put(_Announcement(CHANNEL, job))

    def report(self, events: Iterable[TaskEvent]) -> None:
        """Let the thread send them when no message waits. Those that are too many are lost."""
        if self._dispatcher is None:
            return
        try:
            for event in events:
                self._events.put_nowait(event)
        except queue.Full:
            log.debug("the broker is too slow, monitors miss some events of jobs")
        if self._waiting.empty():  # else it is awake
            self._put(None)

    @property
    def broker(self) -> str | None:
        """The address of the Redis."""
        return self._address

    def reachable(self) -> bool:
        """Whether Redis took what was last sent, a few seconds ago at most."""
        return self._up and time.monotonic() - self._answered_at < _OVERDUE_SECONDS

    def listen(self, on_job: Callable[[str], None]) -> Callable[[], None]:
        """Subscribe on a thread of its own, again and again while Redis is away."""
        end = threading.Event()
        waking = f"{CHANNEL}.{uuid.uuid4()}"  # nobody else listens there
        thread = threading.Thread(
            target=self._listen, args=(on_job, waking, end), name="announcements", daemon=True
        )
        thread.start()

        def close() -> None:
            end.set()
            self._put(_Announcement(waking, ""))
            thread.join(CLOSING_SECONDS)

        return close

    def close(self) -> None:
        """Send what waits, for a second at most, and let go of the connections."""
        self._end.set()
        self._put(None)
        self._thread.join(CLOSING_SECONDS)
        if not self._thread.is_alive():  # else it waits for Redis, as closing would
            self._redis.close()
            self._producers.force_close_all()

    def _put(self, item: Message | _Announcement | None) -> None:
        try:
            self._waiting.put_nowait(item)
        except queue.Full:
            if not self._dropping:
                self._dropping = True
                log.warning("the broker is too slow, messages are dropped and sent again later")

    def _run(self) -> None:
        while True:
            batch = self._next_batch()
            events = self._next_events()
            try:
                self._send(batch)
                self._send_events(events)
                if not batch and not events:
                    self._redis.set(_PROBE, 1, ex=10)  # a replica answers a PING, and takes nothing
            except Exception as error:  # noqa: BLE001 -- kombu raises what its transports raise
                self._failed("cannot publish", error)
                # What waits would be late, and the scheduler will have sent it again.
                self._drop_all()
                if self._end.wait(_QUIET_SECONDS):
                    return
                continue
            self._answered_at = time.monotonic()
            self._up = True
            self._dropping = False
            if self._end.is_set() and self._waiting.empty() and self._events.empty():
                return

    def _next_batch(self) -> list[Message | _Announcement]:
        batch: list[Message | _Announcement] = []
        try:
            item = self._waiting.get(timeout=_PROBE_SECONDS if self._events.empty() else 0)
            while item is not None:
                batch.append(item)
                if len(batch) >= _MAX_TOGETHER:
                    break
                item = self._waiting.get_nowait()
        except queue.Empty:
            pass
        return batch

    def _next_events(self) -> list[TaskEvent]:
        events: list[TaskEvent] = []
        with suppress(queue.Empty):
            while len(events) < _MAX_EVENTS:
                events.append(self._events.get_nowait())
        return events

    def _send(self, batch: list[Message | _Announcement]) -> None:
        if messages := [one for one in batch if isinstance(one, Message)]:
            with self._producers.acquire(block=True) as producer, producer.batch():
                for message in reversed(messages):  # each goes before the others
                    app.send_task(
                        message.task,
                        args=[message.id],
                        queue=message.queue.value,
                        argsrepr=message.label,
                        kwargsrepr="",
                        headers={FRONT_HEADER: True},
                        ignore_result=True,
                        producer=producer,
                        retry=False,
                    )
        if news := [one for one in batch if isinstance(one, _Announcement)]:
            with self._redis.pipeline(transaction=False) as pipeline:
                for one in news:
                    pipeline.publish(one.channel, one.text)
                pipeline.execute()

    def _send_events(self, events: list[TaskEvent]) -> None:
        if not events:
            return
        with self._producers.acquire(block=True) as producer:
            for event in events:
                self._dispatcher.publish(
                    event.type,
                    {
                        "uuid": event.job,
                        "name": f"transship.{event.kind}",
                        "args": event.label,
                        "kwargs": "",
                        "timestamp": event.at,
                        **event.fields,
                    },
                    producer,
                )

    def _drop_all(self) -> None:
        waiting: tuple[queue.Queue[Any], ...] = (self._waiting, self._events)
        for one in waiting:
            with suppress(queue.Empty):
                while True:
                    one.get_nowait()

    def _listen(self, on_job: Callable[[str], None], waking: str, end: threading.Event) -> None:
        while not end.is_set():
            try:
                pubsub: Any = self._redis.pubsub  # which redis-py leaves untyped
                with pubsub(ignore_subscribe_messages=True) as subscription:
                    subscription.subscribe(CHANNEL, waking)
                    while not end.is_set():
                        message: dict[str, Any] | None = subscription.get_message(
                            timeout=_LISTEN_SECONDS
                        )
                        if message is not None and not end.is_set():
                            on_job(message["data"].decode())
                        if message is None and not self.reachable():
                            break  # a connection that is cut silently never says so
            except redis.RedisError as error:
                self._failed("cannot listen", error)
            if not self.reachable():
                end.wait(_QUIET_SECONDS)

    def _failed(self, what: str, error: Exception) -> None:
        if self._up:
            log.warning("the broker does not answer, %s: %s", what, type(error).__name__)
        self._up = False


def _without_password(url: str) -> str:
    """*url* without a user and a password, which may also be in its query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
