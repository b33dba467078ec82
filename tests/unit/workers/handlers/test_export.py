"""Export: pins what an archive is made of, and says what would go wrong before it is sent."""

from __future__ import annotations

import io
import json
import tarfile
from typing import Any

import pytest

from tests.contract.catalog.shelves import id_of, small
from tests.support.images import ARM64, build_index
from tests.unit.store.archives.archives import MemorySink, read
from tests.unit.workers.handlers.local import Local, local
from tests.unit.workers.handlers.test_pull_again import harness
from transship.store import gc
from transship.store.archives.archive import ArchivedImage
from transship.store.archives.write import send
from transship.store.catalog.content import blobs
from transship.store.catalog.scheduling import exports
from transship.store.oci.digest import Digest
from transship.workers.handlers.export import of_export

__all__ = ["harness", "local"]

APP, OTHER = small("app"), small("other")
NAME = "docker.io/library/app:1"


def archive_of(local: Local, job: str) -> bytes:
    """What a download of the export gives."""
    with local.catalog.write() as connection:
        row = exports.opened(connection, job, local.context.now())
        parts = exports.pinned(connection, job)
    out = io.BytesIO()
    send(of_export(row, parts, local.content), local.content, out.write)
    return out.getvalue()


def images_in(archive: bytes) -> dict[str, list[str]]:
    found = read(archive, MemorySink())
    return {
        str(one.image_id): [name.familiar for name in one.names]
        for one in found.roots
        if isinstance(one, ArchivedImage)
    }


def test_an_export_says_what_its_archive_holds(local: Local) -> None:
    local.shelves.hold(APP, NAME)
    job = local.submit(kind="export", references=["app:1"])
    result = local.result(job)
    assert result["references"] == ["app:1"]
    assert result["format"] == "docker"
    assert result["digests"] == {str(APP.digest): str(APP.digest)}
    assert result["size"] > APP.size
    assert images_in(archive_of(local, job)) == {id_of(APP): ["app:1"]}
    assert local.events() == [("save", id_of(APP), id_of(APP))]


def test_the_same_images_give_the_same_archive(local: Local) -> None:
    local.shelves.hold(APP, NAME)
    local.shelves.hold(OTHER, "docker.io/library/web:1")
    archives = []
    for references in (["app:1", "web:1"], ["web", "app:1", id_of(OTHER)]):
        job = local.submit(kind="export", references=references)
        local.result(job)
        archives.append(archive_of(local, job))
    assert archives[0] == archives[1]


def test_what_is_exported_survives_its_names_and_a_collection(local: Local) -> None:
    local.shelves.hold(APP, NAME)
    job = local.submit(kind="export", references=["app:1"])
    local.result(job)
    local.shelves.rm("app:1")
    gc.sweep(local.catalog, local.content, check=lambda: None)
    assert images_in(archive_of(local, job)) == {id_of(APP): ["app:1"]}
    with local.catalog.write() as connection:
        exports.release_expired(connection, local.context.now() + 2 * exports.KEEP_SECONDS)
    assert gc.sweep(local.catalog, local.content, check=lambda: None).blobs > 0


def test_other_media_types_make_another_digest_and_it_is_recorded(local: Local) -> None:
    docker = small("docker", media="docker")
    local.shelves.hold(docker, NAME)
    job = local.submit(kind="export", references=["app:1"], format="oci")
    digests = local.result(job)["digests"]
    (found,) = read(archive_of(local, job), MemorySink()).roots
    assert isinstance(found, ArchivedImage)
    assert found.manifest is not None
    assert digests == {str(docker.digest): str(found.manifest.digest)}
    assert found.image_id == docker.manifest.config.digest


@pytest.mark.parametrize("references", [["nothing"], ["app:1", "nothing"]])
def test_what_is_not_here_fails_the_job_and_nothing_is_recorded(
    local: Local, references: list[str]
) -> None:
    local.shelves.hold(APP, NAME)
    assert local.failure(local.submit(kind="export", references=references))[0] == "not-found"
    assert local.events() == []


def test_a_blob_that_is_lost_fails_the_job_and_not_the_download(local: Local) -> None:
    local.shelves.hold(APP, NAME)
    local.content.remove(APP.manifest.layers[0].digest)
    local.content.erase(APP.manifest.layers[0].digest)
    job = local.submit(kind="export", references=["app:1"])
    assert local.failure(job) == ("blob-missing", "store")


def test_of_an_index_docker_loads_the_platform_asked_for(local: Local) -> None:
    index = build_index([small("app"), small("app", platform=ARM64)])
    local.shelves.hold(index, NAME)
    with local.catalog.write() as connection:
        blobs.add(connection, {str(index.digest): len(index.index.raw)}, local.shelves.now)
    job = local.submit(kind="export", references=["app:1"], platform="linux/arm64")
    local.result(job)
    files = _files(archive_of(local, job))
    (entry,) = files["manifest.json"]
    arm = index.images[1]
    assert entry["Config"].endswith(Digest.parse(id_of(arm)).hex)


def _files(archive: bytes) -> dict[str, Any]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return {
            member.name: json.loads(opened.extractfile(member).read())  # type: ignore[union-attr]
            for member in opened
            if member.name.endswith(".json")
        }
