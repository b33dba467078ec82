"""What a pull takes for an image, and what it refuses, as Docker does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from tests.scenario.faulted import LAYER, Faulted
from tests.support.registry_simulator import digest_of
from transship.store.catalog.db.schema import images, jobs
from transship.workers.specs import PullSpec

OCI = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DIFF_ID = digest_of(LAYER)


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Faulted]:
    made = Faulted(tmp_path, [])
    yield made
    made.close()


def _pulled(
    story: Faulted, config: Any, *, type_: str = OCI, config_type: str = OCI_CONFIG
) -> tuple[str, dict[str, Any] | None, list[Any]]:
    """How a pull of an image with that *config* ends: state, error, what is in the store."""
    raw = config if isinstance(config, bytes) else json.dumps(config).encode()
    described = [
        {"mediaType": kind, "digest": story.source.add_blob("app", data), "size": len(data)}
        for kind, data in (
            (config_type, raw),
            (OCI_LAYER if type_ == OCI else DOCKER_LAYER, LAYER),
        )
    ]
    manifest = json.dumps(
        {"schemaVersion": 2, "mediaType": type_, "config": described[0], "layers": described[1:]}
    ).encode()
    story.source.add_manifest("app", "it", type_, manifest)
    story.submit(PullSpec(reference=f"{story.before_source.host}/app:it"))
    state = story.go_on().state
    with story.catalog.read() as connection:
        error = connection.execute(select(jobs.c.error).where(jobs.c.id == story.job)).scalar_one()
        return state, error, list(connection.execute(select(images)))


def _config(*diff_ids: str, **more: Any) -> dict[str, Any]:
    return {"architecture": "amd64", "os": "linux", "rootfs": {"diff_ids": list(diff_ids)}, **more}


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(_config(), id="fewer diffIDs than layers"),
        pytest.param(_config(DIFF_ID, DIFF_ID), id="more diffIDs than layers"),
        pytest.param({"architecture": "amd64", "os": "linux"}, id="no rootfs"),
        pytest.param({}, id="an empty object"),
        pytest.param([], id="a list"),
        pytest.param(b"not JSON", id="no JSON"),
        pytest.param({**_config(DIFF_ID), "rootfs": {"type": "tarball"}}, id="another rootfs"),
    ],
)
@pytest.mark.parametrize(("type_", "config_type"), [(OCI, OCI_CONFIG), (DOCKER, DOCKER_CONFIG)])
def test_what_is_no_image_is_refused_and_not_kept(
    story: Faulted, config: Any, type_: str, config_type: str
) -> None:
    state, error, kept = _pulled(story, config, type_=type_, config_type=config_type)
    assert (state, kept) == ("failed", [])
    assert error is not None
    assert (error["code"], error["side"]) == ("invalid-manifest", "source")


@pytest.mark.parametrize(
    "config_type", [DOCKER_CONFIG, "application/octet-stream", "application/json"]
)
def test_old_registries_types_of_a_config_are_an_images(story: Faulted, config_type: str) -> None:
    state, error, kept = _pulled(story, _config(DIFF_ID), type_=DOCKER, config_type=config_type)
    assert (state, error) == ("succeeded", None)
    (image,) = kept
    assert (image.os, image.architecture) == ("linux", "amd64")
    assert image.image_id == digest_of(json.dumps(_config(DIFF_ID)).encode())
