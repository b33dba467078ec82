"""Connections of our own to the broker, beside those of Celery."""

from __future__ import annotations

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry


def redis_url(broker_url: str) -> str:
    """Celery's notation of a broker's URL as redis-py writes it."""
    scheme, separator, rest = broker_url.partition("://")
    if scheme == "redis+socket":
        path, _, query = rest.partition("?")
        database = query.removeprefix("virtual_host=") or "0"
        return f"unix://{path}?db={database}"
    return f"{scheme}{separator}{rest}"


def impatient_redis(broker_url: str, *, timeout: float) -> redis.Redis:
    """A client of the broker that waits for *timeout* seconds at most, and repeats nothing."""
    return redis.Redis.from_url(
        redis_url(broker_url),
        socket_connect_timeout=timeout,
        socket_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
    )
