"""Kombu's Redis transport, in which every fault of Redis is a lost connection.

A Redis that answers with an error cannot be used, whatever the error says: it became a replica, is
loading, is out of memory, wants another password, or has lost its cluster. Kombu's own commands are
right, so the only thing to do is to reconnect until it is well again. Kombu would take most of
these replies for faults of the program, and end the worker.

A channel that is closed after Redis has gone wants to return its messages, and tasks that end later
want to acknowledge theirs. Kombu 5.7 then asks a closed connection for its parameters, and the
AttributeError ends the worker. Here that is a connection error too, and acknowledgements are
dropped: the message comes again, and finds its row taken or done.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, ClassVar

from kombu import transport as kombu_transports
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as kombu_redis
from kombu.utils.json import dumps
from redis.exceptions import ConnectionError, ResponseError  # noqa: A004 -- those that kombu knows

FRONT_HEADER = "transship-front"  # a message that has it is delivered before all others
LOST_SECONDS = 3.0  # an answer to BRPOP takes one second at most


class Link:
    """Whether the consumer of this process hears from Redis. Safe to use from many threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing has been heard yet."""
        self._clock = clock
        self._connected = False
        self._asked_at: float | None = None

    def asked(self) -> None:
        """The consumer has asked for a message, and waits for an answer."""
        self._asked_at = self._clock()

    def heard(self) -> None:
        """Redis has answered, be it that there is no message."""
        self._asked_at = None
        self._connected = True

    def lost(self) -> None:
        """The connection is gone."""
        self._connected = False

    def is_up(self) -> bool:
        """Whether the consumer is connected and no answer is overdue."""
        asked_at = self._asked_at
        return self._connected and (asked_at is None or self._clock() - asked_at < LOST_SECONDS)


link = Link()


class Client(kombu_redis.PrefixedStrictRedis):
    """Kombu's client. What it receives goes to Celery only if `admits` says so."""

    admits: ClassVar[Callable[[str, bytes], bool] | None] = None

    def parse_response(self, connection: Any, command_name: Any, **options: Any) -> Any:
        """Read a reply."""
        reply = super().parse_response(connection, command_name, **options)
        if command_name == "BRPOP":
            link.heard()
            admits = type(self).admits
            if reply and admits is not None and not admits(reply[0].decode(), reply[1]):
                return None
        return reply


class Channel(kombu_redis.Channel):
    """A channel that reports to `link`, and does nothing after its connection was closed."""

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        """Acknowledge, unless the connection is closed."""
        if not self._closed_for_good:
            super().basic_ack(delivery_tag, multiple=multiple)

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Reject, unless the connection is closed."""
        if not self._closed_for_good:
            super().basic_reject(delivery_tag, requeue=requeue)

    def _put(self, queue: str, message: Any, **kwargs: Any) -> None:
        if FRONT_HEADER not in (message.get("headers") or {}):
            super()._put(queue, message, **kwargs)
            return
        # Consumers take from the right; other publishers push on the left.
        if (batch := kwargs.get("_publish_batch")) is not None:
            batch.add("rpush", queue, dumps(message))
            return
        with self.conn_or_acquire() as client:
            client.rpush(queue, dumps(message))

    def _brpop_start(self, timeout: float | None = None) -> None:
        link.asked()
        super()._brpop_start(timeout)  # type: ignore[misc]

    def _get_client(self) -> Any:
        super()._get_client()  # type: ignore[misc] # checks the version of redis-py
        return functools.partial(Client, global_keyprefix=self.global_keyprefix)

    def _connparams(self, asynchronous: bool = False) -> Any:
        if self._closed_for_good:
            raise ConnectionError("the connection to Redis is closed")
        return super()._connparams(asynchronous=asynchronous)  # type: ignore[misc]

    @property
    def _closed_for_good(self) -> bool:
        transport: Any = self.connection  # kombu takes it away in some orders of closing
        return transport is None or transport.client is None


class Transport(kombu_redis.Transport):
    """See the module."""

    Channel = Channel
    connection_errors = (*kombu_redis.Transport.connection_errors, ResponseError)


def install() -> None:
    """Let every connection of this process to a Redis use this transport, from now on."""
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:{Transport.__name__}"
        # Somebody may have had one already.
        vars(kombu_transports)["_transport_cache"].pop(scheme, None)
