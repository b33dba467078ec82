"""Load: all of an archive becomes visible at once, or nothing of it."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from tests.contract.catalog.shelves import id_of, small
from tests.support.images import AMD64, ARM64, Image, build_artifact, build_index
from tests.unit.store.archives.archives import docker_files, encoded, layout_files, tar
from tests.unit.workers.handlers.local import Local, local
from tests.unit.workers.handlers.test_pull_again import harness
from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.content import layers, lineage
from transship.store.catalog.content.layers import Pair
from transship.store.catalog.db.schema import jobs as job_rows
from transship.store.images.view.local_content import open_image
from transship.store.oci import mediatypes
from transship.store.oci.digest import Digest
from transship.workers.handlers import load
from transship.workers.process.batch import run_batch

__all__ = ["harness", "local"]

APP, OTHER = small("app"), small("other")
NAME = "docker.io/library/app:1"


def two(*, without: bool = False) -> bytes:
    """An archive of two images; of the second the last layer may be missing."""
    files = docker_files(APP, OTHER, tags=None)
    if without:
        gone = next(path for path in files if OTHER.manifest.layers[-1].digest.hex[:12] in path)
        del files[gone]
    return tar(files)


def test_an_archive_becomes_images_under_its_names(local: Local) -> None:
    job = local.send(tar(docker_files(APP, tags=("app:1", "web:2"))), kind="load")
    result = local.result(job)
    assert result["loaded"] == ["app:1", "web:2"]
    assert (result["moved"], result["superseded"]) == ([], {})
    (image,) = result["images"]
    assert image["image_id"] == id_of(APP)
    assert image["references"] == [NAME, "docker.io/library/web:2"]
    assert local.names() == dict.fromkeys(image["references"], image["digest"])
    assert local.events() == [("load", id_of(APP), id_of(APP))]


def test_all_that_an_image_consists_of_is_held_and_nothing_else_is_named(local: Local) -> None:
    local.result(local.send(tar(docker_files(APP)), kind="load"))
    found = local.shelves.find("app:1")
    assert found.image is not None
    parts = {str(blob.digest) for blob in APP.manifest.blobs} | {found.image.digest}
    assert parts <= local.recorded()
    with local.catalog.read() as connection:
        for layer, diff_id in zip(APP.manifest.layers, APP.diff_ids, strict=True):
            assert layers.diff_id_of(connection, str(layer.digest)) == str(diff_id)


def test_it_is_leased_until_the_job_has_ended(local: Local) -> None:
    job = local.send(tar(docker_files(APP)), kind="load")
    assert {str(blob.digest) for blob in APP.manifest.blobs} <= local.leased(job)
    local.result(job)
    assert local.leased(job) == set()


@pytest.mark.parametrize("compress", [bz2.compress, lzma.compress], ids=["bzip2", "xz"])
def test_layers_that_no_manifest_can_name_become_gzip(local: Local, compress: Any) -> None:
    files = {
        path: compress(gzip.decompress(body)) if path.endswith("layer.tar") else body
        for path, body in docker_files(APP).items()
    }
    result = local.result(local.send(tar(files), kind="load"))
    assert result["images"][0]["image_id"] == id_of(APP)
    found = local.shelves.find("app:1")
    assert found.image is not None
    layers_held = open_image(found.image, local.content).layers
    assert [layer.diff_id for layer in layers_held] == list(APP.diff_ids)
    for layer in layers_held:
        assert layer.blob.media_type == mediatypes.DOCKER_LAYER_GZIP
        body = local.content.open(layer.blob.digest).read()
        assert Digest.of(gzip.decompress(body)) == layer.diff_id


def test_images_without_a_name_are_told_by_their_ids(local: Local) -> None:
    assert local.result(local.send(two(), kind="load"))["loaded"] == [id_of(APP), id_of(OTHER)]
    assert local.names() == {}
    assert local.images() == {id_of(APP), id_of(OTHER)}


def test_of_two_images_of_which_one_is_broken_none_is_loaded(local: Local) -> None:
    job = local.send(two(without=True), kind="load")
    assert local.failure(job) == ("invalid-archive", "request")
    assert (local.images(), local.names(), local.events()) == (set(), {}, [])


def test_a_name_that_stood_for_another_image_is_reported(local: Local) -> None:
    local.shelves.hold(OTHER, NAME)
    result = local.result(local.send(tar(docker_files(APP)), kind="load"))
    assert result["moved"] == ["app:1"]
    assert result["loaded"] == ["app:1"]


def test_a_name_that_stood_for_the_same_image_is_not(local: Local) -> None:
    archive = tar(docker_files(APP))
    for _ in range(2):
        assert local.result(local.send(archive, kind="load"))["moved"] == []
    assert len(local.images()) == 1


def test_a_name_that_something_newer_wrote_stays(local: Local) -> None:
    older = local.send(tar(docker_files(APP)), kind="load")
    local.result(newer := local.send(tar(docker_files(OTHER)), kind="load"))
    result = local.result(older)
    assert result["superseded"] == {NAME: newer}
    assert result["images"][0]["references"] == []
    assert local.shelves.find("app:1").local.id == id_of(OTHER)


def test_an_index_comes_with_all_its_images(local: Local) -> None:
    index = build_index([small("app"), small("app", platform=ARM64)], attestations=True)
    archive = tar(layout_files(index, annotations={"org.opencontainers.image.ref.name": "v1"}))
    result = local.result(local.send(archive, kind="load", repository="r.test/multi"))
    assert result["loaded"] == ["r.test/multi:v1"]
    (image,) = result["images"]
    assert image["digest"] == str(index.digest)
    assert image["platforms"][:2] == ["linux/amd64", "linux/arm64"]
    assert local.names() == {"r.test/multi:v1": str(index.digest)}
    found = local.shelves.find("r.test/multi:v1", ARM64)
    assert found.image is not None
    assert found.image.image_id == id_of(index.images[1])


def test_an_artifact_is_kept_as_it_is(local: Local) -> None:
    artifact = build_artifact(b"an sbom")
    annotations = {"io.containerd.image.name": "r.test/sbom:1"}
    result = local.result(
        local.send(tar(layout_files(artifact, annotations=annotations)), kind="load")
    )
    assert result["images"][0]["digest"] == str(artifact.digest)


def test_a_parent_in_the_archive_becomes_the_parent(local: Local) -> None:
    child = _child(APP)
    files = docker_files(APP, child, tags=None)
    listed = [
        {"Config": f"{image.manifest.config.digest.hex}.json", "RepoTags": None,
         "Layers": [path for path in files if path.endswith("layer.tar") and any(
             layer.digest.hex[:12] in path for layer in image.manifest.layers)],
         **({"Parent": id_of(APP)} if image is child else {})}
        for image in (APP, child)
    ]  # fmt: skip
    files["manifest.json"] = encoded(listed)
    local.result(local.send(tar(files), kind="load"))
    with local.catalog.read() as connection:
        row = lineage.get(connection, HOUSE, id_of(child))
    assert row is not None
    assert row.parent == id_of(APP)


def test_a_history_with_more_layers_than_there_are_is_refused(local: Local) -> None:
    job = local.send(tar(docker_files(_child(APP, empty_layer=False))), kind="load")
    assert local.failure(job) == ("invalid-archive", "request")
    assert local.images() == set()


def _child(parent: Image, *, empty_layer: bool = True) -> Image:
    """*parent* with one more step, by default without a layer."""
    config = json.loads(parent.read(parent.manifest.config.digest))
    config["history"].append({"created_by": "CMD x", "empty_layer": empty_layer})
    raw = json.dumps(config).encode()
    described = replace(parent.manifest.config, digest=Digest.of(raw), size=len(raw))
    manifest = replace(parent.manifest, config=described)
    blobs = {**parent.blobs, Digest.of(raw): raw}
    return replace(parent, manifest=manifest, blobs=blobs)


# --- layers that are left out --------------------------------------------------------------------


def stripped(image: Image) -> bytes:
    """An archive of an image without its layers."""
    return tar({path: raw for path, raw in docker_files(image).items() if "layer" not in path})


def test_layers_may_be_left_out_where_all_may_use_what_is_held(local: Local) -> None:
    local.shelves.hold(APP)
    local.context = replace(local.context, shared_trust=True)
    result = local.result(local.send(stripped(APP), kind="load"))
    assert result["loaded"] == ["app:1"]


def test_elsewhere_they_may_not(local: Local) -> None:
    local.shelves.hold(APP)
    job = local.send(stripped(APP), kind="load")
    assert local.failure(job) == ("invalid-archive", "request")


def test_a_layer_that_only_claims_to_be_the_one_is_not_taken(local: Local) -> None:
    local.shelves.hold(OTHER)
    pairs = [
        Pair(str(layer.digest), str(diff_id))
        for layer, diff_id in zip(OTHER.manifest.layers, APP.diff_ids, strict=True)
    ]
    with local.catalog.write() as connection:
        layers.record(connection, pairs, verified=False)
    local.context = replace(local.context, shared_trust=True)
    job = local.send(stripped(APP), kind="load")
    assert local.failure(job) == ("invalid-archive", "request")


# --- deaths --------------------------------------------------------------------------------------


def test_a_load_ends_whenever_its_worker_dies(local: Local) -> None:
    job, state = local.send(two(), kind="load"), ""
    for after in range(100):
        with local.dying(after), pytest.raises(BaseException):  # noqa: B017, PT011
            run_batch(job, "another", local.context, local.harness.renewer)
        state = local.row(job).state
        assert local.images() in (set(), {id_of(APP), id_of(OTHER)})
        local.harness.dies()
        if local.images():
            break
    assert state == "running"
    assert local.result(job)["loaded"] == [id_of(APP), id_of(OTHER)]
    assert [event[0] for event in local.events()] == ["load", "load"]


def test_what_was_published_is_not_published_again(local: Local) -> None:
    job = local.send(tar(docker_files(APP)), kind="load")
    before = local.result(job)
    with local.catalog.write() as connection:
        connection.execute(
            update(job_rows).where(job_rows.c.id == job).values(state="running", due=True)
        )
    lease = local.harness.scene.take(job, "another")
    assert lease is not None
    again = load.advance(lease, local.context, None)  # type: ignore[arg-type]
    assert again.result == before  # type: ignore[union-attr]
    assert len(local.events()) == 1


def test_gzip_layers_stay_gzip_and_plain_ones_plain(local: Local) -> None:
    plain = small("app", compression="none")
    packed = {
        path: gzip.compress(raw) for path, raw in docker_files(plain).items() if "tar" in path
    }
    local.result(local.send(tar({**docker_files(plain), **packed}), kind="load"))
    found = local.shelves.find("app:1", AMD64)
    assert found.image is not None
    assert found.image.image_id == id_of(plain)
    assert {str(Digest.of(raw)) for raw in packed.values()} <= local.recorded()
