"""An urgent pull behind a mirror of two thousand images."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.support.images import Image, build_image, push_to_registry
from tests.support.processes import wait_until
from tests.support.proxy import Action, ProxiedRequest, SlowProxy
from tests.support.registries import RegistryProcess
from tests.support.server import Server

TAGS = 2000
DIFFERENT = 40
URGENT = 3  # pulls, one after another
HOLD_SECONDS = 0.3
LATENCY_SECONDS = 0.05


@pytest.fixture
def crowded(source: RegistryProcess) -> Iterator[SlowProxy]:
    """A registry some way off, with a repository of two thousand tags."""
    images = [build_image(f"crowd {n}", layers=1) for n in range(DIFFERENT)]
    for number, image in enumerate(images):
        push_to_registry(source.url, "team/crowd", f"v{number}", image)
    with httpx.Client(base_url=source.url) as client, ThreadPoolExecutor(8) as threads:

        def tag(number: int) -> None:
            image: Image = images[number % DIFFERENT]
            client.put(
                f"/v2/team/crowd/manifests/v{number}",
                content=image.manifest.raw,
                headers={"Content-Type": image.manifest.media_type},
            ).raise_for_status()

        list(threads.map(tag, range(DIFFERENT, TAGS)))

    def script(request: ProxiedRequest) -> Action | None:
        return Action(
            delay_seconds=LATENCY_SECONDS,
            hold_seconds=HOLD_SECONDS if request.is_blob_get else None,
        )

    with SlowProxy(source.host, on_request=script, host_name="localhost") as proxy:
        yield proxy


@pytest.mark.slow
def test_an_urgent_pull_begins_within_a_second_and_gets_the_next_slot(
    source: RegistryProcess,
    target: RegistryProcess,
    crowded: SlowProxy,
    start_server: Callable[..., Server],
) -> None:
    images = [build_image(f"urgent {n}", layers=2) for n in range(URGENT)]
    for number, image in enumerate(images):
        push_to_registry(source.url, "team/urgent", f"v{number}", image)
    server = start_server(workers=2)
    mirror = server.submit(
        kind="mirror", source=f"{crowded.host}/team/crowd", destination=f"{target.host}/crowd"
    )
    wait_until(lambda: crowded.blob_bodies == 3, 60, "the mirror to use every slot")

    waited = []
    for number, image in enumerate(images):
        began = time.monotonic()
        reference = f"{crowded.host}/team/urgent:v{number}"
        job = server.submit(kind="pull", reference=reference, priority=50)
        assert server.client.wait(job)["state"] == "succeeded"
        path = f"/v2/team/urgent/manifests/v{number}"
        waited.append(next(r for r in crowded.requests() if r.path == path).started - began)
        _assert_next_slot(server, image)
    assert server.client.job(mirror)["state"] == "running"
    server.client.cancel(mirror)
    # A machine whose disk stalls delays one of them; what holds up urgent jobs delays them all.
    assert statistics.median(waited) < 1.0


def _assert_next_slot(server: Server, urgent: Image) -> None:
    wanted = {str(blob) for blob in urgent.blobs}
    rows = [row for row in server.transfer_rows() if row.digest in wanted]
    asked = min(row.created_at for row in rows)
    # Whatever got a slot after the urgent ones had asked for theirs did so behind them.
    last = max(row.started_at for row in rows)
    between = [
        row
        for row in server.transfer_rows()
        if row.direction == "download"
        and row.digest not in wanted
        and row.started_at is not None
        and asked < row.started_at < last
    ]
    assert (
        len({row.bundle for row in between}) <= 3
    )  # those that had been admitted, and not begun, before
