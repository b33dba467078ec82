"""The limit holds across workers, and a blob wanted twenty times moves once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from tests.support.images import build_image, push_to_registry
from tests.support.proxy import SlowProxy
from tests.support.registries import RegistryProcess
from tests.support.server import Server

HOLD_SECONDS = 2.0


def test_twenty_pulls_share_bodies_and_keep_to_three_at_a_time(
    source: RegistryProcess, start_server: Callable[..., Server]
) -> None:
    images = [build_image("shared", layers=4, labels={"variant": str(n)}) for n in range(8)]
    for number, image in enumerate(images):
        push_to_registry(source.url, "team/app", f"v{number}", image)
    blobs = {str(blob) for image in images for blob in image.blobs}
    assert len(blobs) == 4 + 8

    with SlowProxy(source.host, hold_blob_seconds=HOLD_SECONDS, host_name="localhost") as proxy:
        server = start_server(workers=2)
        jobs = [
            server.submit(kind="pull", reference=f"{proxy.host}/team/app:v{n % 8}")
            for n in range(20)
        ]
        ended = [server.client.wait(job) for job in jobs]

        assert [job["state"] for job in ended] == ["succeeded"] * 20
        assert proxy.peak_blob_bodies == 3
        bodies = Counter(r.blob_digest for r in proxy.requests() if r.is_blob_get)
        assert bodies == dict.fromkeys(blobs, 1)

    served_by = {row.served_by for row in server.transfer_rows()}
    assert served_by == set(server.live_workers())
    assert [job["result"]["digest"] for job in ended] == [
        str(images[n % 8].descriptor.digest) for n in range(20)
    ]
