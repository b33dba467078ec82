"""The manifests below an index are asked for side by side, each once."""

from __future__ import annotations

import threading

import httpx

from tests.support.images import build_image, build_index
from tests.unit.workers.handlers.test_pull_again import NAME, Harness, harness
from transship.store.catalog.access.tenants import HOUSE
from transship.workers.jobs.submission import Submission
from transship.workers.specs import parse_spec

__all__ = ["harness"]

TOGETHER_SECONDS = 10.0
IMAGES = [build_image(f"part {n}", layers=1, layer_bytes=100) for n in range(4)]
INDEX = build_index(IMAGES)


def test_children_of_an_index_are_fetched_at_the_same_time(harness: Harness) -> None:
    for image in IMAGES:
        harness.fake_registry.put(image)
    index = (INDEX.index.media_type, INDEX.index.raw)
    harness.fake_registry._things |= {"manifests/1": index, f"manifests/{INDEX.digest}": index}
    all_here = threading.Barrier(len(IMAGES), timeout=TOGETHER_SECONDS)

    def meeting(request: httpx.Request) -> httpx.Response:
        all_here.wait()
        return harness.fake_registry._thing(request)

    for image in IMAGES:
        harness.fake_registry.routes[f"https://r.test/v2/app/manifests/{image.digest}"] = meeting
    spec = parse_spec({"kind": "pull", "reference": NAME, "all_platforms": True})
    (job,) = harness.queue.submit([Submission(spec=spec, requested_by="ada", tenant=HOUSE)])
    harness.run_all()
    row = harness.scene.job_row(str(job))
    assert row.state == "succeeded", row.error
    assert row.result["digest"] == str(INDEX.digest)
    asked = [
        r.url.path.rpartition("/")[2] for r in harness.fake_registry.requests if r.method == "GET"
    ]
    digests = [str(INDEX.digest), *(str(image.digest) for image in IMAGES)]
    assert [asked.count(digest) for digest in digests] == [1] * len(digests)
