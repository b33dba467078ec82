"""Workers and Redis die; jobs end all the same, and nothing is fetched twice without need."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from redis import Redis

from tests.support.images import build_image, push_to_registry
from tests.support.processes import wait_until
from tests.support.proxy import Action, ProxiedRequest, SlowProxy
from tests.support.redis import RedisProcess
from tests.support.registries import RegistryProcess
from tests.support.server import Server

PATIENCE_SECONDS = 40.0


def test_a_worker_killed_at_half_a_blob_is_replaced_and_its_half_is_kept(
    source: RegistryProcess, start_server: Callable[..., Server]
) -> None:
    image = build_image("big", layers=1, layer_bytes=6_000_000)
    push_to_registry(source.url, "team/big", "1", image)
    layer = image.manifest.layers[0]
    with SlowProxy(source.host, bytes_per_second=layer.size / 8, host_name="localhost") as proxy:
        server = start_server(workers=2)
        job = server.submit(kind="pull", reference=f"{proxy.host}/team/big:1")

        def half_done() -> str | None:
            for row in server.transfer_rows():
                if row.digest == str(layer.digest) and row.state == "running":
                    return row.owner if row.bytes_done > layer.size / 2 else None
            return None

        owner = wait_until(half_done, 30, "half of the layer")
        assert owner is not None
        server.worker_of(owner).kill()
        killed = time.monotonic()
        proxy.bytes_per_second = None
        ended = server.client.wait(job)
        took = time.monotonic() - killed

        assert ended["state"] == "succeeded"
        assert took < PATIENCE_SECONDS
        assert ended["result"]["digest"] == str(image.descriptor.digest)
        again = [r for r in proxy.requests() if r.blob_digest == str(layer.digest)][-1]
        start = re.fullmatch(r"bytes=(\d+)-(\d+)", again.range or "")
        assert start is not None
        assert int(start[1]) > layer.size * 0.4
        assert int(start[2]) == layer.size - 1


def test_jobs_end_although_redis_forgets_everything(
    source: RegistryProcess, redis: RedisProcess, start_server: Callable[..., Server]
) -> None:
    for number in range(8):
        push_to_registry(source.url, f"team/app{number}", "1", build_image(f"app {number}"))
    gate: list[float] = []

    def hold(request: ProxiedRequest) -> Action | None:
        return Action(hold_seconds=1.0) if request.is_blob_get and not gate else None

    with SlowProxy(source.host, on_request=hold, host_name="localhost") as proxy:
        server = start_server(workers=2)
        jobs = [
            server.submit(kind="pull", reference=f"{proxy.host}/team/app{n}:1") for n in range(8)
        ]
        wait_until(lambda: proxy.blob_bodies >= 3, 20, "bodies on their way")
        waiting = [j for j in server.client.jobs()["items"] if j["finished_at"] is None]
        assert len(waiting) >= 5
        Redis.from_url(redis.url).flushall()
        gate.append(1.0)
        states = [server.client.wait(job)["state"] for job in jobs]
    assert states == ["succeeded"] * 8
