"""Kombu's Redis transport, whose workers live through a lost connection.

A channel that is closed when Redis has gone wants to give messages back, and tasks that end
meanwhile want to acknowledge theirs. Kombu 5.7 then asks a connection that is closed already for
its parameters, and the AttributeError ends the whole worker. Here it is a connection error like any
other, and acknowledgements are dropped: the message comes again, and finds its row taken or done.
"""

from __future__ import annotations

from typing import Any

from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as kombu_redis
from redis.exceptions import ConnectionError  # noqa: A004 -- the one that kombu knows


class Channel(kombu_redis.Channel):
    """A channel that has nothing to say once its connection is closed."""

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        """Acknowledge, while there is somebody to tell."""
        if not self._closed_for_good:
            super().basic_ack(delivery_tag, multiple=multiple)

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Reject, while there is somebody to tell."""
        if not self._closed_for_good:
            super().basic_reject(delivery_tag, requeue=requeue)

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


def install() -> None:
    """Let every connection of this process to a Redis use this transport."""
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:{Transport.__name__}"
