"""A worker that was stopped, taken for dead, and continued after its successor has finished."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

from tests.support.images import build_image, push_to_registry
from tests.support.processes import ChildProcess, wait_until
from tests.support.proxy import Action, ProxiedRequest, SlowProxy
from tests.support.registries import RegistryProcess
from tests.support.server import Server

LEASE_SECONDS = "2"
SLOWLY = 200_000  # bytes a second, for the one that is to be stopped in the middle


def test_a_download_that_wakes_up_changes_nothing(
    source: RegistryProcess, start_server: Callable[..., Server]
) -> None:
    image = build_image("zombie", layers=1, layer_bytes=4_000_000)
    push_to_registry(source.url, "team/app", "1", image)
    layer = str(image.manifest.layers[0].digest)
    first = threading.Event()

    def script(request: ProxiedRequest) -> Action | None:
        if request.blob_digest == layer and not first.is_set():
            first.set()
            return Action(bytes_per_second=SLOWLY)
        return None

    with SlowProxy(source.host, on_request=script, host_name="localhost") as proxy:
        server = start_server(workers=2, TRANSSHIP_LEASE_SECONDS=LEASE_SECONDS)
        job = server.submit(kind="pull", reference=f"{proxy.host}/team/app:1")
        wait_until(lambda: _bytes_of(server, layer) > 0, 30, "bytes to arrive")
        owner = _owner_of(server, layer)
        zombie = server.worker_of(owner)
        _suspend(server, zombie)

        ended = server.client.wait(job)
        assert ended["state"] == "succeeded"
        blob = server.home / "blobs" / "sha256" / layer.partition(":")[2]
        before = (blob.stat().st_ino, blob.stat().st_mtime_ns, blob.read_bytes())

        zombie.send(signal.SIGCONT)
        wait_until(
            lambda: (
                "held by another worker now" in zombie.log
                or "the lease could not be renewed" in zombie.log
            ),
            30,
            "the zombie to notice",
        )

    assert (blob.stat().st_ino, blob.stat().st_mtime_ns, blob.read_bytes()) == before
    (row,) = [row for row in server.transfer_rows() if row.digest == layer]
    assert (row.state, row.owner) == ("done", None)
    assert row.served_by != owner
    assert _busy(server) == 0
    assert [path.name for path in (server.home / "ingests").iterdir()] == []
    again = server.client.wait(server.submit(kind="pull", reference=f"{source.host}/team/app:1"))
    assert again["state"] == "succeeded"


def test_a_job_that_wakes_up_publishes_nothing(
    source: RegistryProcess, target: RegistryProcess, start_server: Callable[..., Server]
) -> None:
    """Its last look before others can see its tag is at its lease."""
    image = build_image("zombie job", layers=1)
    push_to_registry(source.url, "team/app", "1", image)
    held, seen = threading.Event(), threading.Event()

    def script(request: ProxiedRequest) -> Action | None:
        if request.method == "PUT" and "/manifests/" in request.path and not seen.is_set():
            seen.set()
            held.wait(60)
            return Action(status=503)
        return None

    with SlowProxy(target.host, on_request=script, host_name="localhost") as proxy:
        server = start_server(workers=2, TRANSSHIP_LEASE_SECONDS=LEASE_SECONDS)
        job = server.submit(
            kind="copy",
            source=f"{source.host}/team/app:1",
            destination=f"{proxy.host}/other/app:1",
        )
        wait_until(seen.is_set, 30, "the manifest to be put")
        row = server.job_row(job)
        zombie = server.worker_of(row.owner)
        _suspend(server, zombie)
        ended = server.client.wait(job)
        assert ended["state"] == "succeeded"
        assert server.job_row(job).fence > row.fence
        held.set()
        zombie.send(signal.SIGCONT)
        wait_until(lambda: len(server.live_workers()) == 2, 30, "the zombie to register anew")
        assert server.job_row(job).finished_at is not None
    assert server.client.job(job)["finished_at"] == ended["finished_at"]


def _suspend(server: Server, process: ChildProcess) -> None:
    """Stop a process, but not in the middle of a commit: SQLite's lock would be its for ever."""
    with server.catalog.write():
        process.send(signal.SIGSTOP)


def _bytes_of(server: Server, digest: str) -> int:
    return sum(row.bytes_done for row in server.transfer_rows() if row.digest == digest)


def _owner_of(server: Server, digest: str) -> str:
    (owner,) = [row.owner for row in server.transfer_rows() if row.digest == digest]
    assert owner is not None
    return str(owner)


def _busy(server: Server) -> int:
    return sum(row.state in ("admitted", "running") for row in server.transfer_rows())
