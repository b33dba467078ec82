"""What only saves work decides nothing: registries that refuse it, or answer it uselessly.

Their users have reported each of these, and other tools bring the image through.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from tests.scenario.faulted import CHUNK, LAYER, Faulted
from tests.support.registry_simulator import Quirks, digest_of
from transship.store.catalog.db.schema import events
from transship.workers.specs import CopySpec, PullSpec

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
TAGS = ("1", "2", "3", "4", "5")

AT_EITHER = {
    **{f"HEAD is answered {n}": Quirks(head_status=n) for n in (400, 403, 404, 405, 500, 501)},
}
AT_SOURCE = {
    f"a link with {name}": Quirks(page=2, link=link)
    for name, link in {
        "another scheme": '<https://localhost/v2/app/tags/list?{query}>; rel="next"',
        "another host": '<http://inside.test:8080/v2/app/tags/list?{query}>; rel="next"',
        "another mount's path": '</repository/x/v2/app/tags/list?{query}>; rel="next"',
        "no path": '<?{query}>; rel="next"',
        "no brackets": '/v2/app/tags/list?{query}; rel="next"',
        "no quotes": "</v2/app/tags/list?{query}>; rel=next",
    }.items()
}
AT_TARGET = {
    **{f"a manifest is answered {n}": Quirks(manifest_status=n) for n in (200, 202, 203, 204, 206)},
    "a part of each chunk is kept": Quirks(keeps_of_chunk=CHUNK // 2 + 1),
    "nothing is kept after the first chunk": Quirks(keeps_first_chunk=True),
    "chunks are refused after the first": Quirks(keeps_of_chunk=0),
    "it takes itself for another host": Quirks(takes_itself_for="http://inside.test:5000"),
    "it takes itself for https": Quirks(takes_itself_for="https://localhost"),
}


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transship.workers.registry.upload_sessions.UPLOAD_CHUNK_BYTES", CHUNK)
    monkeypatch.setattr("transship.workers.registry.uploads.CHUNKED_FROM_BYTES", 2 * CHUNK)


@pytest.fixture
def between(tmp_path: Path) -> Iterator[Callable[..., Faulted]]:
    made: list[Faulted] = []

    def make(*, source: Quirks | None = None, target: Quirks | None = None) -> Faulted:
        made.append(Faulted(tmp_path, [], target, source_quirks=source))
        for tag in TAGS:
            made[-1].source.tags["app"][tag] = made[-1].digest
        return made[-1]

    yield make
    for one in made:
        one.close()


def _succeeds_at_once(story: Faulted, verb: str) -> None:
    if verb == "pull":
        story.submit(PullSpec(reference=f"{story.before_source.host}/app:1"))
        found = story.go_on()
    else:
        found = story.mirror() if verb == "mirror" else story.copy()
        assert story.arrived
    assert (found.state, found.tries) == ("succeeded", 1)
    if verb == "mirror":
        assert set(story.target.tags["app"]) == set(TAGS)


@pytest.mark.parametrize("verb", ["copy", "mirror", "pull"])
@pytest.mark.parametrize("name", [*AT_EITHER, *AT_SOURCE])
def test_a_source_is_read(between: Callable[..., Faulted], name: str, verb: str) -> None:
    _succeeds_at_once(between(source={**AT_EITHER, **AT_SOURCE}[name]), verb)


@pytest.mark.parametrize("verb", ["copy", "mirror"])
@pytest.mark.parametrize("name", [*AT_EITHER, *AT_TARGET])
def test_a_destination_is_written_to(between: Callable[..., Faulted], name: str, verb: str) -> None:
    _succeeds_at_once(between(target={**AT_EITHER, **AT_TARGET}[name]), verb)


@pytest.mark.parametrize("verb", ["copy", "pull"])
@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"size": -190}, "size"),
        ({"mediaType": OCI_MANIFEST}, "type"),
        ({"size": 7, "mediaType": OCI_MANIFEST}, "size"),
    ],
)
def test_what_an_index_says_wrongly_of_a_manifest_is_told_and_no_obstacle(
    between: Callable[..., Faulted], wrong: dict[str, Any], told: str, verb: str
) -> None:
    story = between()
    raw = story.source.manifests["app"][story.digest][1]
    child = raw.replace(OCI_MANIFEST.encode(), DOCKER_MANIFEST.encode())
    digest = story.source.add_manifest("app", "child", DOCKER_MANIFEST, child)
    described = {"mediaType": DOCKER_MANIFEST, "digest": digest, "size": len(child)}
    described |= {**wrong, "size": len(child) + wrong.get("size", 0)}
    platform = {"os": "linux", "architecture": "amd64"}
    index = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [{**described, "platform": platform}],
        }
    ).encode()
    story.source.add_manifest("app", "index", OCI_INDEX, index)
    source, target = story.before_source.host, story.before_target.host
    if verb == "pull":
        story.submit(PullSpec(reference=f"{source}/app:index"))
    else:
        story.submit(CopySpec(source=f"{source}/app:index", destination=f"{target}/app:index"))
    assert (story.go_on().state, story.state) == ("succeeded", "succeeded")
    if verb == "copy":
        assert story.target.tags["app"]["index"] == digest_of(index)
        assert story.target.manifests["app"][digest] == (DOCKER_MANIFEST, child)
        assert LAYER in story.target.blobs["app"].values()
    with story.catalog.read() as connection:
        (warning,) = connection.execute(
            select(events.c.data).where(events.c.job == story.job, events.c.type == "warning")
        ).scalars()
    assert warning["message"].startswith(f"{digest} is described with {told}")


def test_a_tag_that_cannot_be_is_told_and_the_others_arrive(
    between: Callable[..., Faulted],
) -> None:
    story = between()
    story.source.tags["app"]["not a tag"] = story.digest
    _succeeds_at_once(story, "mirror")
    with story.catalog.read() as connection:
        (warning,) = connection.execute(
            select(events.c.data).where(events.c.job == story.job, events.c.type == "warning")
        ).scalars()
    assert "lists what cannot be a tag: 'not a tag'" in warning["message"]
