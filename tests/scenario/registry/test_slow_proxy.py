"""The proxy that other tests count with: its counts and its log are exact."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.processes import wait_until
from tests.support.proxy import Action, SlowProxy
from tests.support.redis import RedisProcess
from tests.support.registries import RegistryProcess
from transship.store.oci.digest import Digest

DATA = b"0123456789" * 20_000
DIGEST = Digest.of(DATA)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    with RegistryProcess(tmp_path_factory.mktemp("registry")) as process:
        begun = httpx.post(f"{process.url}/v2/app/blobs/uploads/")
        stored = httpx.put(f"{begun.headers['location']}&digest={DIGEST}", content=DATA)
        assert stored.status_code == 201
        yield process


@pytest.fixture
def proxy(registry: RegistryProcess) -> Iterator[SlowProxy]:
    with SlowProxy(registry.host) as made:
        yield made


def blob_url(proxy: SlowProxy) -> str:
    return f"{proxy.url}/v2/app/blobs/{DIGEST}"


def fetch_many(proxy: SlowProxy, *, times: int, at_once: int) -> None:
    slots = threading.Semaphore(at_once)

    def fetch() -> None:
        with slots:
            assert httpx.get(blob_url(proxy)).content == DATA

    threads = [threading.Thread(target=fetch) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)


def test_a_client_that_keeps_to_a_limit_is_never_seen_beyond_it(proxy: SlowProxy) -> None:
    fetch_many(proxy, times=60, at_once=3)
    assert proxy.peak_blob_bodies <= 3


def test_bodies_that_are_held_together_are_counted_together(proxy: SlowProxy) -> None:
    go_on = threading.Event()
    proxy.on_request = lambda _: Action(hold_until=go_on)
    fetching = threading.Thread(target=fetch_many, args=(proxy,), kwargs={"times": 4, "at_once": 4})
    fetching.start()
    wait_until(lambda: proxy.blob_bodies == 4, 10, "four bodies")
    go_on.set()
    fetching.join(30)
    assert (proxy.peak_blob_bodies, proxy.blob_bodies) == (4, 0)


def test_the_log_holds_range_status_and_bytes(proxy: SlowProxy) -> None:
    httpx.get(blob_url(proxy), headers={"Range": "bytes=10-19"})
    [request] = proxy.requests()
    assert (request.method, request.range, request.status, request.bytes_sent) == (
        "GET",
        "bytes=10-19",
        206,
        10,
    )


def test_a_body_that_is_cut_is_logged_as_far_as_it_went(proxy: SlowProxy) -> None:
    proxy.on_request = lambda _: Action(cut_after=1234)
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(blob_url(proxy))
    assert proxy.requests()[0].bytes_sent == 1234


def test_a_body_can_be_slow(proxy: SlowProxy) -> None:
    proxy.bytes_per_second = len(DATA) / 0.5
    assert httpx.get(blob_url(proxy)).content == DATA
    [request] = proxy.requests()
    assert request.ended is not None
    assert request.ended - request.started > 0.4


def test_a_client_that_goes_away_is_noticed(proxy: SlowProxy) -> None:
    never = threading.Event()
    proxy.on_request = lambda _: Action(hold_until=never)
    with httpx.Client() as client, client.stream("GET", blob_url(proxy)):
        wait_until(lambda: proxy.blob_bodies == 1, 10, "the body to be held")
    wait_until(lambda: proxy.requests()[0].cut_by_client, 5, "the proxy to notice")
    assert proxy.blob_bodies == 0


def test_redis_answers_and_restarts_empty(tmp_path: Path) -> None:
    with RedisProcess(tmp_path / "r") as redis:
        before = redis.process.pid
        redis.restart()
        assert redis.answers()
        assert redis.process.pid != before
