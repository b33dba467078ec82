"""Squash as a job: from the store and from a registry, once, whoever dies."""

from __future__ import annotations

import gzip
import io
import json
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from tests.contract.catalog.shelves import id_of, small
from tests.support.images import ARM64, Image, ImageIndex, build_image, build_index
from tests.support.tars import entries_of
from tests.unit.workers.handlers.local import Local, local
from tests.unit.workers.handlers.test_pull_again import harness
from transship.store.catalog.content import blobs, layers
from transship.store.catalog.db.schema import jobs as job_rows
from transship.store.images.view.local_content import Opened, open_image
from transship.store.layers.codecs.formats import open_reader
from transship.store.oci import mediatypes
from transship.store.oci.digest import Digest
from transship.store.oci.manifest import Manifest, parse_manifest
from transship.workers.process.batch import run_batch

__all__ = ["harness", "local"]

BASE = small("base")
APP = build_image("app", layers=3, layer_bytes=3000, base=BASE)
NAME = "docker.io/library/app:1"
SQUASHED = "docker.io/library/sq:1"
EPOCH = 1_600_000_000


@pytest.fixture
def held(local: Local) -> Local:
    """A store that holds both."""
    local.shelves.hold(BASE, "docker.io/library/base:1")
    local.shelves.hold(APP, NAME)
    return local


def squashed(local: Local, **spec: Any) -> Opened:
    """Squash app:1 to sq:1, and open that."""
    job = local.submit(kind="squash", **{"reference": "app:1", "target": "sq:1", **spec})
    result = local.result(job)
    assert result["reference"] == SQUASHED
    assert local.names()[SQUASHED] == result["digest"]
    found = local.shelves.find("sq:1")
    assert found.image is not None
    opened = open_image(found.image, local.content)
    assert opened.config is not None
    return opened


def layer_of(local: Local, opened: Opened, number: int) -> bytes:
    raw = local.content.read(opened.layers[number].blob.digest, max_bytes=1 << 24)
    with open_reader(io.BytesIO(raw)) as reader:
        return b"".join(iter(lambda: reader.read(1 << 20), b""))


def test_all_layers_become_one(held: Local) -> None:
    opened = squashed(held)
    (layer,) = opened.layers
    tar = layer_of(held, opened, 0)
    assert Digest.of(tar) == layer.diff_id
    names = set(entries_of(tar))
    assert "etc/layers/2" in names
    assert not any(".wh." in name for name in names)
    assert "etc/layers/1" not in names  # the layer above removed it
    assert opened.config is not None
    assert opened.config.history[-1]["comment"] == f"create new from {id_of(APP)}"


def test_those_above_a_parent_become_one_on_top_of_its_layers(held: Local) -> None:
    opened = squashed(held, parent="base:1")
    assert opened.config is not None
    assert [layer.diff_id for layer in opened.layers[:-1]] == list(BASE.diff_ids)
    assert [layer.blob for layer in opened.layers[:-1]] == list(BASE.manifest.layers)
    assert opened.config.history[-1]["comment"] == f"merge {id_of(APP)} to {id_of(BASE)}"


def test_the_last_ones_become_one(held: Local) -> None:
    opened = squashed(held, last=2)
    kept = APP.manifest.layers[:3]
    assert [layer.blob.digest for layer in opened.layers[:-1]] == [one.digest for one in kept]
    assert len(opened.layers) == 4


def test_the_original_stays_and_the_new_one_has_no_parent(held: Local) -> None:
    before = held.names()
    squashed(held, parent="base:1")
    assert {name: held.names()[name] for name in before} == before
    assert held.shelves.find("app:1").local.id == id_of(APP)


def test_a_squash_is_told_of_as_the_tag_that_it_gives(held: Local) -> None:
    opened = squashed(held)
    assert opened.config is not None
    assert held.events() == [("tag", str(opened.config.digest), "sq:1")]


def test_what_was_computed_is_known_as_verified(held: Local) -> None:
    (layer,) = squashed(held).layers
    with held.catalog.read() as connection:
        assert layers.diff_id_of(connection, str(layer.blob.digest)) == str(layer.diff_id)
        sizes = layers.diff_sizes(connection, [str(layer.blob.digest)])
    assert sizes[str(layer.blob.digest)] % 512 == 0


def test_the_same_squash_at_the_same_time_gives_the_same_image(held: Local) -> None:
    first = squashed(held, source_date_epoch=EPOCH)
    second = squashed(held, source_date_epoch=EPOCH)
    assert first.manifest.digest == second.manifest.digest
    assert first.config is not None
    assert first.config.created == "2020-09-13T12:26:40Z"
    entries = entries_of(layer_of(held, first, 0)).values()
    assert max(entry.mtime for entry, _ in entries) == EPOCH * 10**9


def test_zstd_is_written_if_it_is_asked_for(held: Local) -> None:
    opened = squashed(held, compress="zstd")
    assert opened.manifest.layers[-1].media_type == mediatypes.OCI_LAYER_ZSTD
    assert entries_of(layer_of(held, opened, 0))


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        ({"parent": "app:1"}, "invalid-request"),
        ({"reference": "base:1", "parent": "app:1"}, "invalid-request"),
        ({"parent": "nothing"}, "not-found"),
        ({"reference": "nothing"}, "not-found"),
        ({"last": 6}, "invalid-request"),
        ({"platforms": ["linux/s390x"], "reference": "multi:1"}, "platform-not-found"),
    ],
)
def test_what_cannot_be_squashed_fails(held: Local, spec: dict[str, Any], code: str) -> None:
    _index(held)
    before = held.names()
    given = {"reference": "app:1", "target": "sq:1", **spec}
    assert held.failure(held.submit(kind="squash", **given))[0] == code
    assert held.names() == before


def test_a_target_that_something_newer_wrote_stays(held: Local) -> None:
    older = held.submit(kind="squash", reference="app:1", target="sq:1")
    newer = held.submit(kind="squash", reference="app:1", target="sq:1", last=1)
    result = held.result(newer)
    held.result(older)
    assert held.row(older).superseded_by == newer
    assert held.names()[SQUASHED] == result["digest"]


# --- indexes -------------------------------------------------------------------------------------


def _index(local: Local, **more: Any) -> ImageIndex:
    images = [build_image("m", layers=2, layer_bytes=900, platform=p) for p in (ARM64, None) if p]
    index = build_index([small("m"), *images], attestations=True)
    local.shelves.hold(index, "docker.io/library/multi:1", **more)
    with local.catalog.write() as connection:
        blobs.add(connection, {str(index.digest): len(index.index.raw)}, local.shelves.now)
    return index


def test_every_platform_of_an_index_is_squashed(local: Local) -> None:
    index = _index(local)
    job = local.submit(kind="squash", reference="multi:1", target="sq:1")
    result = local.result(job)
    assert [one["platform"] for one in result["images"]] == ["linux/amd64", "linux/arm64"]
    assert [one["layers"] for one in result["images"]] == [1, 1]
    assert [one["squashed_from"]["image_id"] for one in result["images"]] == [
        id_of(image) for image in index.images[:2]
    ]
    for platform in (image.platform for image in index.images[:2]):
        found = local.shelves.find("sq:1", platform)
        assert found.root.media_type == index.index.media_type
        assert found.image is not None
        assert found.image.layers == 1


def test_one_platform_of_it_is_an_image_by_itself(local: Local) -> None:
    _index(local)
    spec = {"reference": "multi:1", "target": "sq:1", "platforms": ["linux/arm64"]}
    result = local.result(local.submit(kind="squash", **spec))
    assert result["image_id"] == result["images"][0]["image_id"]
    assert local.shelves.find("sq:1").root.media_type == mediatypes.OCI_MANIFEST


def test_of_an_index_held_in_part_that_part_is_squashed(local: Local) -> None:
    index = build_index([small("m"), small("m", platform=ARM64)])
    local.shelves.hold(index, "docker.io/library/multi:1", only=index.images[1:])
    result = local.result(local.submit(kind="squash", reference="multi:1", target="sq:1"))
    assert [one["platform"] for one in result["images"]] == ["linux/arm64"]


# --- from and to registries ----------------------------------------------------------------------


def test_what_lies_in_a_registry_is_brought_in_first(local: Local) -> None:
    local.harness.fake_registry.put(APP)
    local.shelves.hold(BASE, "docker.io/library/base:1")
    job = local.submit(
        kind="squash", reference="registry:r.test/app:1", target="sq:1", parent="base:1"
    )
    result = local.result(job)
    # What is held came from elsewhere: this registry has to show its bytes, too.
    brought = {str(blob.digest) for blob in APP.manifest.blobs}
    assert sorted(local.harness.fake_registry.bodies()) == sorted(brought)
    assert result["images"][0]["layers"] == len(BASE.manifest.layers) + 1
    row = local.row(job)
    assert row.bytes_total == row.bytes_moved + row.bytes_skipped == APP.size
    assert row.blobs_moved == len(brought)


def test_a_parent_may_lie_there_as_well_and_only_its_config_is_brought(local: Local) -> None:
    local.shelves.hold(APP, NAME)
    local.harness.fake_registry.put(BASE)
    result = local.result(
        local.submit(
            kind="squash", reference="app:1", target="sq:1", parent="registry:r.test/app:1"
        )
    )
    assert local.harness.fake_registry.bodies() == [str(BASE.manifest.config.digest)]
    assert result["images"][0]["layers"] == len(BASE.manifest.layers) + 1


def test_an_image_that_is_not_there_fails_the_job(local: Local) -> None:
    local.harness.fake_registry.routes.clear()
    job = local.submit(kind="squash", reference="registry:r.test/app:1", target="sq:1")
    assert local.failure(job) == ("manifest-not-found", "source")


# --- deaths --------------------------------------------------------------------------------------


@pytest.mark.parametrize("reference", ["multi:1", "app:1"])
def test_a_squash_ends_whenever_its_worker_dies(held: Local, reference: str) -> None:
    _index(held)
    spec = {"kind": "squash", "reference": reference, "target": "sq:1", "source_date_epoch": EPOCH}
    expected = held.result(held.submit(**{**spec, "target": "other:1"}))["digest"]
    held.content.discard_drafts("")
    job = held.submit(**spec)
    crashes = 0
    while held.row(job).state != "succeeded":
        with held.dying(crashes), pytest.raises(BaseException):  # noqa: B017, PT011
            run_batch(job, "another", held.context, held.harness.renewer)
        assert held.names().get(SQUASHED) in (None, expected)
        crashes += 3
        with held.catalog.write() as connection:  # as if it had got further in between
            connection.execute(update(job_rows).where(job_rows.c.id == job).values(crashes=0))
        held.harness.dies()
        if SQUASHED in held.names():
            held.run(job)
    assert crashes > 3
    assert held.names()[SQUASHED] == expected
    assert [event for event in held.events() if event[2] == "sq:1"] == [
        ("tag", held.shelves.find("sq:1").local.id, "sq:1")
    ]


def test_what_a_dead_owner_left_behind_is_dropped(held: Local) -> None:
    job = held.submit(kind="squash", reference="app:1", target="sq:1")
    held.content.draft(job).write(b"half a layer")
    held.result(job)
    assert held.content.discard_drafts(job) == 0


def test_an_image_that_lost_a_layer_is_not_squashed(held: Local) -> None:
    held.content.remove(APP.manifest.layers[2].digest)
    held.content.erase(APP.manifest.layers[2].digest)
    job = held.submit(kind="squash", reference="app:1", target="sq:1")
    assert held.failure(job) == ("blob-missing", "store")
    assert held.content.discard_drafts(job) == 0


def test_a_layer_that_is_no_tar_says_which_one_it_is(local: Local) -> None:
    broken = _with_last_layer(APP, gzip.compress(b"no tar at all" * 100))
    local.shelves.hold(broken, NAME)
    job = local.submit(kind="squash", reference="app:1", target="sq:1")
    row = local.run(job)
    assert (row.state, row.error["code"]) == ("failed", "invalid-layer")
    assert row.error["subject"].startswith("layer 5")


def _with_last_layer(image: Image, blob: bytes) -> Image:
    document = json.loads(image.manifest.raw)
    document["layers"][-1] |= {"digest": str(Digest.of(blob)), "size": len(blob)}
    manifest = parse_manifest(json.dumps(document).encode())
    assert isinstance(manifest, Manifest)
    return replace(image, manifest=manifest, blobs={**image.blobs, Digest.of(blob): blob})
