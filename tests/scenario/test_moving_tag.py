"""A tag that moves while jobs run: each job means one image from start to end."""

from __future__ import annotations

import threading
from collections.abc import Callable

import httpx

from tests.support.images import Image, build_image, push_to_registry
from tests.support.processes import wait_until
from tests.support.proxy import Action, ProxiedRequest, SlowProxy
from tests.support.registries import RegistryProcess
from tests.support.server import Server
from transship.store.oci import mediatypes
from transship.store.oci.manifest import Manifest, parse_manifest

JOBS = 10


def whole_image_at(registry: RegistryProcess, repository: str, tag: str) -> Manifest:
    """What stands at a tag, every blob of it checked to be there."""
    with httpx.Client(base_url=registry.url) as http:
        accept = {"Accept": ", ".join(mediatypes.ACCEPT)}
        answer = http.get(f"/v2/{repository}/manifests/{tag}", headers=accept)
        assert answer.status_code == 200
        manifest = parse_manifest(answer.content, answer.headers["Content-Type"])
        assert isinstance(manifest, Manifest)
        for blob in manifest.blobs:
            held = http.head(f"/v2/{repository}/blobs/{blob.digest}")
            assert held.status_code == 200
            assert int(held.headers["Content-Length"]) == blob.size
    return manifest


def test_each_of_ten_jobs_delivers_one_whole_image_though_the_tag_moves(
    source: RegistryProcess, target: RegistryProcess, start_server: Callable[..., Server]
) -> None:
    before = [build_image(f"before {n}", layers=3) for n in range(JOBS)]
    after = [build_image(f"after {n}", layers=3) for n in range(JOBS)]
    for n, image in enumerate(before):
        push_to_registry(source.url, f"team/app{n}", "now", image)
    moved = threading.Event()

    def hold(request: ProxiedRequest) -> Action | None:
        return Action(hold_until=moved) if request.is_blob_get else None

    with SlowProxy(source.host, on_request=hold, host_name="localhost") as proxy:
        server = start_server(workers=2)
        jobs = [
            server.submit(
                kind="copy",
                source=f"{proxy.host}/team/app{n}:now",
                destination=f"{target.host}/copied/app{n}",
            )
            for n in range(JOBS)
        ]
        wait_until(lambda: proxy.blob_bodies == 3, 20, "bodies on their way")
        for n, image in enumerate(after):
            push_to_registry(source.url, f"team/app{n}", "now", image)
        moved.set()
        ended = [server.client.wait(job) for job in jobs]

    assert [job["state"] for job in ended] == ["succeeded"] * JOBS
    delivered: list[Manifest] = []
    for n, job in enumerate(ended):
        manifest = whole_image_at(target, f"copied/app{n}", "now")
        assert str(manifest.digest) == job["result"]["digest"]
        assert manifest.raw in {before[n].manifest.raw, after[n].manifest.raw}
        delivered.append(manifest)
    assert any(is_of(manifest, before) for manifest in delivered)


def is_of(manifest: Manifest, images: list[Image]) -> bool:
    """Whether the manifest is one of these images'."""
    return manifest.digest in {image.digest for image in images}
