"""A copy whose worker dies just as it has found the target up to date."""

from __future__ import annotations

from dataclasses import dataclass, field

import httpx
import pytest

from tests.unit.workers.handlers.local import DiedError, Local, local
from tests.unit.workers.handlers.test_pull_again import IMAGE, NAME, WORKER, harness
from transship.workers.process.batch import run_batch

__all__ = ["harness", "local"]


@dataclass
class Target:
    """A registry of one repository, which knows tags by their digest and blobs by their size."""

    tags: dict[str, str] = field(default_factory=dict)
    blobs: dict[str, int] = field(default_factory=dict)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        kind, name = request.url.path.removeprefix("/v2/app/").split("/")
        if request.method == "PUT":
            self.tags[name] = str(IMAGE.digest)
            return httpx.Response(201)
        if name not in (self.blobs if kind == "blobs" else self.tags):
            return httpx.Response(404)
        if kind == "blobs":
            return httpx.Response(200, headers={"Content-Length": str(self.blobs[name])})
        headers = {
            "Content-Type": IMAGE.manifest.media_type,
            "Content-Length": str(len(IMAGE.manifest.raw)),
            "Docker-Content-Digest": self.tags[name],
        }
        return httpx.Response(200, headers=headers)


@pytest.fixture
def target(local: Local) -> Target:
    made = Target(blobs={str(blob.digest): blob.size for blob in IMAGE.manifest.blobs})
    local.harness.fake_registry.routes["https://t.test/v2/app/"] = made
    return made


def _dies_over_what_is_up_to_date(local: Local, target: Target) -> str:
    target.tags["1"] = str(IMAGE.digest)
    job = local.submit(kind="copy", source=NAME, destination="t.test/app")
    with local.dying(after=1000), pytest.raises(DiedError):
        run_batch(job, WORKER, local.context, local.harness.renewer)
    local.harness.dies()
    return job


def test_a_copy_that_is_taken_up_again_brings_a_tag_that_went_meanwhile(
    local: Local, target: Target
) -> None:
    job = _dies_over_what_is_up_to_date(local, target)
    target.tags.clear()
    result = local.result(job)
    assert (result["up_to_date"], target.tags) == (False, {"1": str(IMAGE.digest)})


def test_what_it_lacks_then_is_what_counts(local: Local, target: Target) -> None:
    job = _dies_over_what_is_up_to_date(local, target)
    target.tags.clear()
    gone, size = target.blobs.popitem()
    run_batch(job, WORKER, local.context, local.harness.renewer)
    row = local.row(job)
    assert (row.state, row.checkpoint["absent"]) == ("running", [gone])
    assert (row.blobs_total, row.blobs_skipped) == (len(IMAGE.blobs), len(IMAGE.blobs) - 1)
    assert (row.bytes_total, row.bytes_skipped) == (IMAGE.size, IMAGE.size - size)


def test_a_copy_that_is_taken_up_again_over_the_same_target_ends(
    local: Local, target: Target
) -> None:
    job = _dies_over_what_is_up_to_date(local, target)
    assert local.result(job)["up_to_date"] is True
