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
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar
from uuid import uuid4

from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as kombu_redis
from kombu.utils.json import dumps
from kombu.utils.scheduling import round_robin_cycle
from redis.exceptions import ConnectionError, ResponseError  # noqa: A004 -- those that kombu knows

FRONT_HEADER = "transship-front"  # a message that has it is delivered before all others
WAKING = "transship.waking"  # lists by which acknowledgements end an outstanding BRPOP
WAKING_SECONDS = 10
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
            if reply and reply[0].decode().startswith(WAKING):
                return None
            admits = type(self).admits
            if reply and admits is not None and not admits(reply[0].decode(), reply[1]):
                return None
        return reply


class QoS(kombu_redis.QoS):
    """What was received and not acknowledged, told by queue."""

    channel: Channel

    def held(self, queue: str) -> int:
        """How many messages of *queue* are not acknowledged."""
        dirty: Any = self._dirty
        delivered: Any = self._delivered
        return sum(
            tag not in dirty and message.delivery_info["routing_key"] == queue
            for tag, message in list(delivered.items())
        )

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge, and let the next message of its queue come."""
        delivered: Any = self._delivered
        message = delivered.get(delivery_tag)
        super().ack(delivery_tag)
        if message is not None:
            self.channel.has_room(message.delivery_info["routing_key"])


class OpenQueues:
    """The queues in turn, without those of which as many messages are held as can be worked on."""

    def __init__(self, channel: Channel) -> None:
        """Choose for *channel*; kombu tells which queues there are."""
        self._channel = channel
        self._all: Any = round_robin_cycle()

    def update(self, queues: Iterable[str]) -> None:
        """Choose among *queues* from now on."""
        self._all.update(queues)

    def consume(self, n: int) -> list[str]:
        """The open queues among the next *n*."""
        return self._channel.open_queues(self._all.consume(n))

    def rotate(self, last_used: str) -> None:
        """Let the others go before *last_used*."""
        self._all.rotate(last_used)


class Channel(kombu_redis.Channel):
    """A channel that reports to `link`, and does nothing after its connection was closed.

    Of each queue it takes no more messages than `threads` says, so that one queue's cannot keep
    another's from a thread, nor a worker's from another worker.
    """

    QoS = QoS
    threads: ClassVar[Mapping[str, int]] = {}  # of this process, by queue; no bound where none is

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waking = f"{WAKING}.{uuid4().hex}"
        self._asked: frozenset[str] = frozenset()  # the queues of the outstanding BRPOP
        self._queue_cycle = OpenQueues(self)

    def open_queues(self, queues: list[str]) -> list[str]:
        """Those of *queues* to ask for messages, and what ends the asking when another is open."""
        # First nothing: what is acknowledged from here on wakes us, or is counted.
        self._asked = frozenset()
        found = [one for one in queues if self._is_open(one)]
        self._asked = frozenset(found)
        return found if len(found) == len(queues) else [*found, self._waking]

    def has_room(self, queue: str) -> None:
        """A message of *queue* was acknowledged: ask for the next one."""
        if queue in self._asked or queue not in self.threads or self._closed_for_good:
            return
        with self.conn_or_acquire() as client:
            key = self._waking  # that of the first priority
            client.pipeline().lpush(key, "").expire(key, WAKING_SECONDS).execute()

    def _is_open(self, queue: str) -> bool:
        most = self.threads.get(queue)
        qos: Any = self.qos
        return most is None or qos.held(queue) < most

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
        super()._brpop_start(timeout)  # type: ignore[misc]
        link.asked()

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
    """Let every connection of this process to a Redis use this transport."""
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:{Transport.__name__}"
