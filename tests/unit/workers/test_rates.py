"""Requests and bytes a second, in this process and shared over Redis."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import fakeredis
import pytest

from tests.contract.catalog.prepared import prepared_sqlite
from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.scheduling.admission import limits
from transship.workers.broker.rates import BURST_SECONDS, Buckets, LocalBuckets, Rates
from transship.workers.broker.redis_rates import TIMEOUT_SECONDS, RedisBuckets

HERE = "here.test"
BROKER = "redis://127.0.0.1:6379/0"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def redis_buckets(monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisBuckets]:
    server = fakeredis.FakeServer()
    monkeypatch.setattr(
        "redis.Redis.from_url",
        lambda *_, **__: fakeredis.FakeRedis(server=server),
    )
    buckets = RedisBuckets(BROKER)
    yield buckets
    buckets.close()


def test_a_bucket_gives_the_burst_at_once_and_then_makes_wait() -> None:
    clock = Clock()
    buckets = LocalBuckets(clock)
    assert buckets.take("a", BURST_SECONDS) == 0
    assert buckets.take("a", 2) == pytest.approx(2)
    assert buckets.take("a", 1) == pytest.approx(3)


def test_what_was_not_used_does_not_pile_up_beyond_the_burst() -> None:
    clock = Clock()
    buckets = LocalBuckets(clock)
    buckets.take("a", 1)
    clock.now += 3600
    assert buckets.take("a", 1) == pytest.approx(1 - BURST_SECONDS)


def test_buckets_do_not_share() -> None:
    buckets = LocalBuckets(Clock())
    buckets.take("a", 100)
    assert buckets.take("b", BURST_SECONDS) == 0


def test_processes_share_a_bucket_in_redis(redis_buckets: RedisBuckets) -> None:
    other = RedisBuckets(BROKER)
    redis_buckets.take("a", 10)
    assert 19 < other.take("a", 10) <= 20
    other.close()


def test_while_redis_is_away_each_process_keeps_to_the_rate() -> None:
    buckets = RedisBuckets("redis://127.0.0.1:1/0")
    buckets.take("a", 10)
    assert 19 < buckets.take("a", 10) <= 20
    buckets.close()


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog(prepared_sqlite(tmp_path))
    yield opened
    opened.close()


def _limited(catalog: Catalog, buckets: Buckets, **changes: float) -> Rates:
    with catalog.write() as connection:
        limits.override_registry(connection, HERE, changes)
    return Rates(catalog, buckets)


def test_without_a_rate_nobody_waits(catalog: Catalog) -> None:
    rates = Rates(catalog, LocalBuckets(Clock()))
    assert [rates.request(HERE) for _ in range(100)] == [0] * 100
    assert rates.bytes(HERE, 2**40) == 0


def test_requests_are_spread_over_the_second(catalog: Catalog) -> None:
    rates = _limited(catalog, LocalBuckets(Clock()), requests_per_second=2)
    waits = [rates.request(HERE) for _ in range(3)]
    assert waits == pytest.approx([0.5 - BURST_SECONDS, 1 - BURST_SECONDS, 1.5 - BURST_SECONDS])


def test_the_rate_of_one_registry_does_not_slow_another(catalog: Catalog) -> None:
    rates = _limited(catalog, LocalBuckets(Clock()), requests_per_second=0.1)
    rates.request(HERE)
    assert rates.request("there.test") == 0


def test_bytes_are_waited_for_as_they_are_used(catalog: Catalog) -> None:
    clock = Clock()
    rates = _limited(catalog, LocalBuckets(clock), bytes_per_second=1_000_000)
    waited = 0.0
    for _ in range(1000):
        wait = rates.bytes(HERE, 10_000)
        clock.now += wait
        waited += wait
    assert waited == pytest.approx(10, abs=BURST_SECONDS + 0.11)


def test_a_changed_rate_is_noticed(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = Rates(catalog, LocalBuckets(Clock()))
    assert rates.bytes(HERE, 10**6) == 0
    with catalog.write() as connection:
        limits.override_registry(connection, HERE, {"bytes_per_second": 1000})
    monkeypatch.setattr("transship.workers.broker.rates.RELOAD_SECONDS", -1.0)
    assert rates.bytes(HERE, 10**6) > 900


def test_nobody_waits_for_a_redis_that_hangs() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        buckets = RedisBuckets(f"redis://127.0.0.1:{listener.getsockname()[1]}/0")
        took = []
        for _ in range(50):
            began = time.monotonic()
            buckets.take(HERE, 0.0)
            took.append(time.monotonic() - began)
        buckets.close()
    assert max(took) < TIMEOUT_SECONDS + 0.2
    assert sorted(took)[-2] < 0.1  # one caller finds it out for all
