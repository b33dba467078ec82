"""SIGTERM: what runs is handed back within ten seconds, and nothing is lost or counted as a try."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
from sqlalchemy import select

from tests.support.images import build_image, push_to_registry
from tests.support.processes import wait_until
from tests.support.proxy import Action, ProxiedRequest, SlowProxy
from tests.support.registries import RegistryProcess
from tests.support.server import Server, bearer
from transship.store.catalog.db.schema import jobs, workers

GRACE_SECONDS = 10.0


def job_row(server: Server, job: str) -> Any:
    with server.catalog.read() as connection:
        return connection.execute(select(jobs).where(jobs.c.id == job)).one()


def threads_counted(server: Server) -> int:
    with server.catalog.read() as connection:
        rows = connection.execute(select(workers)).all()
    return sum(row.control + row.downloads + row.uploads + row.local for row in rows)


def end(server: Server) -> float:
    """Ask the only worker to end; how many seconds it took."""
    begun = time.monotonic()
    server.workers[0].send(signal.SIGTERM)
    assert server.workers[0].wait(GRACE_SECONDS) == 0, server.workers[0].log
    return time.monotonic() - begun


def test_a_download_is_handed_back_and_the_next_worker_goes_on_where_it_was(
    source: RegistryProcess, start_server: Callable[..., Server]
) -> None:
    image = build_image("half", layers=1, layer_bytes=6_000_000)
    push_to_registry(source.url, "team/half", "1", image)
    layer = image.manifest.layers[0]
    with SlowProxy(source.host, bytes_per_second=layer.size / 8, host_name="localhost") as proxy:
        server = start_server(workers=1)
        job = server.submit(kind="pull", reference=f"{proxy.host}/team/half:1")

        def row() -> Any:
            found = [r for r in server.transfer_rows() if r.digest == str(layer.digest)]
            return found[0] if found else None

        wait_until(lambda: (r := row()) and r.bytes_done > layer.size / 4, 30, "a part of it")
        end(server)

        left = row()
        assert (left.state, left.owner) == ("pending", None)
        assert (left.tries, left.attempts, left.crashes) == (0, 0, 0)
        assert server.live_workers() == {}
        (partial,) = (server.home / "ingests").glob(f"sha256-{layer.digest.hex}.*")
        kept = partial.stat().st_size
        assert kept >= layer.size / 4

        proxy.bytes_per_second = None
        server.restart_workers()
        ended = server.client.wait(job)
    assert ended["state"] == "succeeded", ended
    asked = [r for r in proxy.requests() if r.is_blob_get and r.blob_digest == str(layer.digest)]
    assert [r.range for r in asked][1:] == [f"bytes={kept}-{layer.size - 1}"]
    assert row().tries == 1


def test_an_upload_is_handed_back(
    source: RegistryProcess, target: RegistryProcess, start_server: Callable[..., Server]
) -> None:
    push_to_registry(source.url, "team/up", "1", build_image("up", layers=1))
    with SlowProxy(target.host, hold_upload_seconds=60.0, host_name="localhost") as proxy:
        server = start_server(workers=1)
        job = server.submit(
            kind="copy", source=f"{source.host}/team/up:1", destination=f"{proxy.host}/up:1"
        )
        wait_until(lambda: proxy.upload_bodies > 0, 30, "a body on its way")
        end(server)
        left = [r for r in server.transfer_rows() if r.direction == "upload"]
        assert {(r.state, r.owner, r.tries) for r in left} == {("pending", None, 0)}
        proxy.hold_upload_seconds = 0.0
        server.restart_workers()
        assert server.client.wait(job)["state"] == "succeeded"


def test_a_job_that_waits_for_an_answer_is_handed_back(
    source: RegistryProcess, start_server: Callable[..., Server]
) -> None:
    push_to_registry(source.url, "team/mute", "1", build_image("mute", layers=1))
    answers = threading.Event()

    def mute(request: ProxiedRequest) -> Action | None:
        if "/manifests/" in request.path and not answers.is_set():
            return Action(delay_seconds=55.0)
        return None

    with SlowProxy(source.host, on_request=mute, host_name="localhost") as proxy:
        server = start_server(workers=1)
        job = server.submit(kind="pull", reference=f"{proxy.host}/team/mute:1")
        wait_until(lambda: any("/manifests/" in r.path for r in proxy.requests()), 30, "a request")
        took = end(server)
        assert took < 5, "it looks up while it waits, and need not be cut off"
        left = job_row(server, job)
        assert (left.state, left.owner, left.attempts, left.crashes) == ("running", None, 0, 0)
        assert left.due
        answers.set()
        server.restart_workers()
        assert server.client.wait(job)["state"] == "succeeded"


def test_a_worker_counts_for_nothing_before_it_has_left(
    source: RegistryProcess, start_server: Callable[..., Server]
) -> None:
    push_to_registry(source.url, "team/held", "1", build_image("held", layers=1))
    with SlowProxy(source.host, hold_blob_seconds=60.0, host_name="localhost") as proxy:
        server = start_server(workers=1)
        server.submit(kind="pull", reference=f"{proxy.host}/team/held:1")
        wait_until(lambda: proxy.blob_bodies > 0, 30, "a body on its way")
        seen: list[tuple[int, int]] = []
        server.workers[0].send(signal.SIGTERM)
        while server.workers[0].exit_status is None:
            seen.append((threads_counted(server), len(server.live_workers())))
        assert (0, 1) in seen, seen


def test_the_api_is_not_ready_any_more_while_it_still_serves(
    source: RegistryProcess, start_server: Callable[..., Server]
) -> None:
    push_to_registry(source.url, "team/poll", "1", build_image("poll", layers=1))
    server = start_server(workers=1)
    with (
        SlowProxy(source.host, hold_blob_seconds=60.0, host_name="localhost") as proxy,
        httpx.Client(
            base_url=server.url, headers=bearer(server.home), timeout=70, trust_env=False
        ) as http,
    ):
        assert http.get("/readyz").status_code == 200
        job = server.submit(kind="pull", reference=f"{proxy.host}/team/poll:1")
        wait_until(lambda: proxy.blob_bodies > 0, 30, "a body on its way")
        polled: list[httpx.Response] = []

        def poll() -> None:
            polled.append(http.get(f"/api/v1/jobs/{job}", params={"wait": 60}))

        waiting = threading.Thread(target=poll)
        waiting.start()
        begun = time.monotonic()
        server.api.send(signal.SIGTERM)
        seen: list[tuple[int, str]] = []
        while True:
            try:
                answer = httpx.get(f"{server.url}/readyz", trust_env=False)
            except httpx.TransportError:
                break
            seen.append((answer.status_code, answer.json()["status"]))
        waiting.join(GRACE_SECONDS)
        server.api.wait(GRACE_SECONDS)
        assert time.monotonic() - begun < GRACE_SECONDS
        assert (503, "this process is stopping") in seen
        assert re.fullmatch(r"(200 )*(503 )+", "".join(f"{status} " for status, _ in seen))
        assert polled[0].status_code == 200
        assert polled[0].json()["state"] == "running"
