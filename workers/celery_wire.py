"""The wire over Celery and Redis."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any

import redis
from kombu.pools import producers
from redis.backoff import NoBackoff
from redis.retry import Retry

from workers.app import KEY_PREFIX, app
from workers.wire import Message

log = logging.getLogger(__name__)

CHANNEL = f"{KEY_PREFIX}jobs"
_QUIET_SECONDS = 1.0  # after a failure; the tick rings again every second anyway
_LISTEN_SECONDS = 1.0  # so late an end is noticed, where Redis cannot tell of it


class CeleryWire:
    """Publishes by Celery, announces by Redis' publish and subscribe."""

    def __init__(self, broker_url: str) -> None:
        """Use the Redis at *broker_url*, in Celery's notation; connects when first needed."""
        app.conf.update(broker_url=broker_url)
        self._producers: Any = producers[app.connection_for_write(broker_url)]
        self._redis = redis.Redis.from_url(
            redis_url(broker_url),
            socket_connect_timeout=2,
            socket_timeout=2,
            retry=Retry(NoBackoff(), 0),
        )
        self._quiet_until = 0.0
        self._lock = threading.Lock()

    def publish(self, messages: Iterable[Message]) -> None:
        """Send each message to its queue; an unreachable broker costs one short wait."""
        pending = list(messages)
        if not pending or time.monotonic() < self._quiet_until:
            return
        try:
            with self._producers.acquire(block=True) as producer:
                for message in pending:
                    app.send_task(
                        message.task,
                        args=[message.id],
                        queue=message.queue.value,
                        argsrepr=message.label,
                        kwargsrepr="",
                        ignore_result=True,
                        producer=producer,
                        retry=False,
                    )
        except Exception as error:  # noqa: BLE001 -- kombu raises what its transports raise
            self._failed("cannot ring", error)

    def announce(self, jobs: Iterable[str]) -> None:
        """Publish the ids on the channel."""
        self._publish(CHANNEL, jobs)

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
            self._publish(waking, [""])
            thread.join()

        return close

    def close(self) -> None:
        """Let go of the connections."""
        self._redis.close()
        self._producers.force_close_all()

    def _publish(self, channel: str, texts: Iterable[str]) -> None:
        if time.monotonic() < self._quiet_until:
            return
        try:
            for text in texts:
                self._redis.publish(channel, text)
        except redis.RedisError as error:
            self._failed("cannot announce", error)

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
            except redis.RedisError as error:
                self._failed("cannot listen", error)
                end.wait(_QUIET_SECONDS)

    def _failed(self, what: str, error: Exception) -> None:
        with self._lock:
            first = time.monotonic() >= self._quiet_until
            self._quiet_until = time.monotonic() + _QUIET_SECONDS
        if first:
            log.warning("the broker does not answer, %s: %s", what, type(error).__name__)


def redis_url(broker_url: str) -> str:
    """Celery's notation of a broker's URL as redis-py writes it."""
    scheme, separator, rest = broker_url.partition("://")
    if scheme == "redis+socket":
        path, _, query = rest.partition("?")
        database = query.removeprefix("virtual_host=") or "0"
        return f"unix://{path}?db={database}"
    return f"{scheme}{separator}{rest}"
