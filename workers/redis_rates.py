"""The buckets of `workers.rates` in Redis, for all workers together.

Where Redis does not answer, each process keeps to the rate by itself meanwhile: a courtesy is not
worth a failure.
"""

from __future__ import annotations

import logging
import time

import redis

from workers.app import KEY_PREFIX
from workers.celery_wire import redis_url
from workers.rates import BURST_SECONDS, LocalBuckets

log = logging.getLogger(__name__)

AWAY_SECONDS = 1.0  # after a failure Redis is left alone for so long

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
        self._redis = redis.Redis.from_url(
            redis_url(broker_url), socket_connect_timeout=1, socket_timeout=1
        )
        self._take = self._redis.register_script(_TAKE)
        self._meanwhile = LocalBuckets()
        self._away_until = 0.0

    def take(self, key: str, seconds: float) -> float:
        """Move the bucket ahead in Redis, or one of this process while Redis is away."""
        if time.monotonic() >= self._away_until:
            try:
                waiting: bytes = self._take(
                    keys=[f"{KEY_PREFIX}rate:{key}"],
                    args=[round(seconds * 1e6), round(BURST_SECONDS * 1e6)],
                )
                return int(waiting) / 1e6
            except redis.RedisError as error:
                self._away_until = time.monotonic() + AWAY_SECONDS
                log.warning("rates are kept by each process for itself: %s", type(error).__name__)
        return self._meanwhile.take(key, seconds)

    def close(self) -> None:
        """Let go of the connections."""
        self._redis.close()
