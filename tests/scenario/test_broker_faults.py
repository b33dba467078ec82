"""Redis fails in each of its ways while a worker is busy; afterwards new jobs are taken up."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis

from tests.support.images import build_image, push_to_registry
from tests.support.processes import ChildProcess, wait_until
from tests.support.proxy import SlowProxy
from tests.support.redis import RedisProcess
from tests.support.registries import RegistryProcess
from tests.support.server import Server

# A reconnect within 5 s, then a message that was lost is sent again within 5 s; the rest is load.
PATIENCE_SECONDS = 20.0


@contextmanager
def replica(redis: RedisProcess) -> Iterator[None]:
    with Redis.from_url(redis.url) as client:
        client.replicaof("127.0.0.1", "1")
        yield
        client.replicaof("NO", "ONE")


@contextmanager
def lost_master(redis: RedisProcess) -> Iterator[None]:
    with Redis.from_url(redis.url) as client:
        client.config_set("replica-serve-stale-data", "no")
        client.replicaof("127.0.0.1", "1")
        yield
        client.replicaof("NO", "ONE")


@contextmanager
def hanging(redis: RedisProcess) -> Iterator[None]:
    redis.process.send(signal.SIGSTOP)
    yield
    redis.process.send(signal.SIGCONT)


@contextmanager
def other_password(redis: RedisProcess) -> Iterator[None]:
    with Redis.from_url(redis.url) as client, Redis.from_url(redis.url, password="x") as admin:
        client.config_set("requirepass", "x")
        admin.client_kill_filter(_type="normal", skipme=True)
        yield
        admin.config_set("requirepass", "")


@contextmanager
def no_permission(redis: RedisProcess) -> Iterator[None]:
    with Redis.from_url(redis.url) as client:
        client.execute_command("ACL", "SETUSER", "default", "-brpop", "-lpush", "-rpush", "-set")
        yield
        client.execute_command("ACL", "SETUSER", "default", "+@all")


@contextmanager
def without_replicas(redis: RedisProcess) -> Iterator[None]:
    with Redis.from_url(redis.url) as client:
        client.config_set("min-replicas-to-write", "1")
        yield
        client.config_set("min-replicas-to-write", "0")


@contextmanager
def without_memory(redis: RedisProcess) -> Iterator[None]:
    with Redis.from_url(redis.url) as client:
        client.config_set("maxmemory", "1")
        yield
        client.config_set("maxmemory", "0")


@contextmanager
def killed(redis: RedisProcess) -> Iterator[None]:
    redis.process.kill()
    yield
    redis.restart()


# Those under which the consumer cannot take messages, and admission must not count its threads.
CUTTING = [replica, lost_master, hanging, other_password, no_permission, without_replicas, killed]
FAULTS = [*CUTTING, without_memory]


@dataclass(frozen=True, slots=True)
class Busy:
    """A server whose one worker downloads something that does not end."""

    redis: RedisProcess
    server: Server
    proxy: SlowProxy
    fast: str

    def health(self) -> Any:
        """What /readyz answers, which is 200 all the time."""
        answer = httpx.get(f"{self.server.url}/readyz", trust_env=False, timeout=10)
        assert answer.status_code == 200
        return answer.json()

    def degraded(self) -> list[str]:
        """What keeps jobs from moving."""
        found: list[str] = self.health()["degraded"]
        return found


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Busy]:
    directory = tmp_path_factory.mktemp("busy")
    with (
        RegistryProcess(directory / "source", host_name="localhost") as source,
        SlowProxy(source.host, hold_blob_seconds=600.0, host_name="localhost") as proxy,
        RedisProcess(directory / "redis") as redis,
    ):
        for name in ("slow", "fast"):
            push_to_registry(source.url, f"team/{name}", "1", build_image(name, layers=1))
        (directory / "server").mkdir()
        with Server(directory / "server", workers=1, redis=redis) as server:
            server.submit(kind="pull", reference=f"{proxy.host}/team/slow:1")
            wait_until(lambda: proxy.blob_bodies > 0, 30, "a body on its way")
            yield Busy(redis, server, proxy, f"{source.host}/team/fast:1")


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_new_work_goes_on_after_a_fault_while_old_work_runs(
    busy: Busy, fault: Callable[[RedisProcess], Any]
) -> None:
    server = busy.server
    wait_until(lambda: busy.degraded() == [], 20, "all to be well")
    with fault(busy.redis):
        wait_until(lambda: "broker" in busy.degraded(), 15, "the fault to be noticed")
        if fault in CUTTING:
            wait_until(lambda: not any(busy.health()["threads"].values()), 15, "no threads")
        job = server.submit(kind="pull", reference=busy.fast)
    wait_until(lambda: server.job_row(job).state == "succeeded", PATIENCE_SECONDS, "the new job")
    wait_until(lambda: busy.degraded() == [], 10, "all to be well again")
    assert "running" in {row.state for row in server.transfer_rows()}  # the old one
    assert [worker.exit_status for worker in server.workers] == [None]


# A worker whose event loop fails as soon as a file is there.
BREAKS = """
import sys
from pathlib import Path
from transship.workers.process.consumer import Consumer

on_ready = Consumer.on_ready

def breaking(self):
    on_ready(self)
    loop = self.hub.create_loop

    def steps(*arguments, **options):
        for step in loop(*arguments, **options):
            if Path(path).exists():
                raise RuntimeError("it is broken")
            yield step

    self.hub.create_loop = steps

path = sys.argv.pop(1)
Consumer.on_ready = breaking
from transship.api.cli import main
sys.exit(main())
"""


def test_a_worker_whose_consumer_has_ended_hands_back_and_fails(
    source: RegistryProcess, start_server: Callable[..., Server], tmp_path: Path
) -> None:
    push_to_registry(source.url, "team/held", "1", build_image("held", layers=1))
    with SlowProxy(source.host, hold_blob_seconds=60.0, host_name="localhost") as proxy:
        server = start_server(workers=0)
        broken = tmp_path / "broken"
        worker = ChildProcess(
            [sys.executable, "-P", "-c", BREAKS, broken, "worker"],
            directory=tmp_path,
            name="breaking",
            environ=server.environ,
        )
        try:
            worker.wait_ready(server.live_workers, 30)
            server.submit(kind="pull", reference=f"{proxy.host}/team/held:1")
            wait_until(lambda: proxy.blob_bodies > 0, 30, "a body on its way")
            broken.touch()
            assert worker.wait(20) == 1
        finally:
            worker.stop()
        assert server.live_workers() == {}
        assert {(row.state, row.owner, row.crashes) for row in server.transfer_rows()} <= {
            ("pending", None, 0),
            ("done", None, 0),
        }
