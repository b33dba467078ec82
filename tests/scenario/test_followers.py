"""What it costs the API that somebody looks at a large mirror: of a core, as the kernel counts."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.postgres import PostgresCluster
from tests.support.redis import RedisProcess
from tests.support.server import Server, bearer
from transship.store.catalog.scheduling import jobs
from transship.store.catalog.scheduling.jobs import End, NewJob
from transship.workers.broker.celery_wire import CeleryWire

pytestmark = [pytest.mark.long, pytest.mark.timeout(180)]

CHILDREN = 10_000
FOLLOWERS = 3
SECONDS = 20.0
ENDING_A_SECOND = 10
MAX_SHARE = 0.05  # of a core


class Mirror:
    """A mirror of ten thousand images in a cluster without workers; a worker that is made up."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.wire = CeleryWire(server.redis.url)
        self._next = count()
        children = [
            self._job(f"child{n}", parent="mirror", child_key=str(n)) for n in range(CHILDREN)
        ]
        with server.catalog.write() as connection:
            jobs.create(connection, [self._job("mirror", kind="mirror")], time.time())
        for first in range(0, CHILDREN, 1000):
            with server.catalog.write() as connection:
                jobs.create(connection, children[first : first + 1000], time.time())
        with server.catalog.write() as connection:
            assert jobs.claim(connection, "mirror", "made up", time.time()) is not None

    @staticmethod
    def _job(id_: str, **more: Any) -> NewJob:
        fields: dict[str, Any] = {
            "kind": "copy",
            "spec": {},
            "label": f"registry.test/app:{id_}",
            "registry": "registry.test",
            "priority": 0,
            "requested_by": "somebody",
            "root": "mirror",
            **more,
        }
        return NewJob(id=id_, **fields)

    def end_one(self) -> None:
        """An image is done, and whoever follows is told."""
        now = time.time()
        with self.server.catalog.write() as connection:
            lease = jobs.claim(connection, f"child{next(self._next)}", "made up", now)
            assert lease is not None
            jobs.finish(connection, [End(lease, "succeeded", {"changed": True})], now)
        self.wire.announce([lease.id, "mirror"])


class Follower:
    """Reads the events of the mirror as they come, and counts them."""

    def __init__(self, server: Server) -> None:
        self.lines = 0
        self._client = httpx.Client(base_url=server.url, headers=bearer(server.home), timeout=30)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        headers = {"Accept": "application/x-ndjson"}
        with (
            suppress(httpx.TransportError),  # the server leaves first
            self._client.stream("GET", "/api/v1/jobs/mirror/events", headers=headers) as response,
        ):
            for _ in response.iter_lines():
                self.lines += 1

    def close(self) -> None:
        """To be called when the server has stopped."""
        self._thread.join(10)
        self._client.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    with ExitStack() as stack:
        settings: dict[str, str] = {}
        if request.param == "postgresql":
            postgres = stack.enter_context(PostgresCluster())
            settings["TRANSSHIP_DATABASE_URL"] = postgres.url(
                stack.enter_context(postgres.database())
            )
        redis = stack.enter_context(RedisProcess(tmp_path / "redis"))
        yield stack.enter_context(Server(tmp_path, workers=0, redis=redis, **settings))


def cpu_seconds(pid: int) -> float:
    """What a process has used, with what it asked of the kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def work(mirror: Mirror, a_second: int, seconds: float) -> None:
    """End so many images a second, evenly."""
    began = time.monotonic()
    for n in range(int(seconds * a_second)):
        mirror.end_one()
        time.sleep(max(0.0, began + (n + 1) / a_second - time.monotonic()))
    time.sleep(max(0.0, began + seconds - time.monotonic()))


def test_following_a_mirror_of_ten_thousand_costs_the_api_next_to_nothing(server: Server) -> None:
    mirror = Mirror(server)
    followers = [Follower(server) for _ in range(FOLLOWERS)]
    shares: dict[str, float] = {}
    for what, a_second in (("nothing happens", 0), ("ten images a second", ENDING_A_SECOND)):
        work(mirror, a_second, 8.0)  # the first looks are free
        before, seen = cpu_seconds(server.api.pid), [one.lines for one in followers]
        work(mirror, a_second, SECONDS)
        shares[what] = (cpu_seconds(server.api.pid) - before) / SECONDS
        read = [one.lines - old for one, old in zip(followers, seen, strict=True)]
        print(f"{what}: {shares[what]:.1%} of a core, {read} lines")
        assert min(read) >= SECONDS * a_second * 0.9
    mirror.wire.close()
    server.stop()
    for one in followers:
        one.close()
    assert all(share < MAX_SHARE for share in shares.values()), shares
