"""The buckets of `transship.workers.broker.rates` in Redis, for all workers together.

While Redis does not answer, each process keeps to the rate by itself: a courtesy is not worth a
failure, and not worth waiting either.
"""

from __future__ import annotations

import logging
import threading
import time

import redis

from transship.workers.broker.names import KEY_PREFIX
from transship.workers.broker.rates import BURST_SECONDS, LocalBuckets
from transship.workers.broker.redis_client import impatient_redis

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 0.3  # so long one caller waits for a Redis that hangs
AWAY_SECONDS = 5.0  # after a failure Redis is left alone for so long

# Redis' own clock, in microseconds; scripts run one at a time.
_TAKE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local paid = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now - tonumber(ARGV[2]))
paid = paid + tonumber(ARGV[1])
redis.call('SET', KEYS[1], string.format('%.0f', paid),
           'PX', math.ceil((paid - now) / 1000) + 60000)
return string.format('%.0f', math.max(0, paid - now))
"""


class RedisBuckets:
    """Buckets that all workers share."""

    def __init__(self, broker_url: str) -> None:
        """Keep them in the Redis at *broker_url*, in Celery's notation."""
        self._redis = impatient_redis(broker_url, timeout=TIMEOUT_SECONDS)
        self._take = self._redis.register_script(_TAKE)
        self._meanwhile = LocalBuckets()
        self._away = False
        self._away_until = 0.0
        self._probing = threading.Lock()

    def take(self, key: str, seconds: float) -> float:
        """Move the bucket ahead in Redis, or one of this process while Redis is away.

        After a failure one caller every five seconds finds out whether Redis is back.
        """
        if not self._away:
            return self._taken(key, seconds)
        if time.monotonic() >= self._away_until and self._probing.acquire(blocking=False):
            try:
                return self._taken(key, seconds)
            finally:
                self._probing.release()
        return self._meanwhile.take(key, seconds)

    def close(self) -> None:
        """Let go of the connections."""
        self._redis.close()

    def _taken(self, key: str, seconds: float) -> float:
        try:
            waiting: bytes = self._take(
                keys=[f"{KEY_PREFIX}rate:{key}"],
                args=[round(seconds * 1e6), round(BURST_SECONDS * 1e6)],
            )
        except redis.RedisError as error:
            if not self._away:
                log.warning("each process keeps rates by itself: %s", type(error).__name__)
            self._away = True
            self._away_until = time.monotonic() + AWAY_SECONDS
            return self._meanwhile.take(key, seconds)
        self._away = False
        return int(waiting) / 1e6
