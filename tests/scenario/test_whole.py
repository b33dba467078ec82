"""What says that it has succeeded is whole: images of unusual shape are copied, or named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.engine import Engine
from tests.support.registry_simulator import RegistrySimulator, digest_of

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CACHE = "application/vnd.buildkit.cacheconfig.v0"
ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    with Engine(home) as made:
        yield made


@pytest.fixture
def source() -> Iterator[RegistrySimulator]:
    with RegistrySimulator() as registry:
        yield registry


@pytest.fixture
def target() -> Iterator[RegistrySimulator]:
    with RegistrySimulator() as registry:
        yield registry


def described(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


def add_index(registry: RegistrySimulator, tag: str, children: list[dict[str, Any]]) -> str:
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": children}
    return registry.add_manifest("app", tag, INDEX, json.dumps(document).encode())


def manifest_in(registry: RegistrySimulator, digest: str) -> dict[str, Any]:
    media_type, raw = registry.manifests["app"][digest]
    return described(media_type, raw)


def copy(engine: Engine, source: RegistrySimulator, target: RegistrySimulator) -> Any:
    return engine.run(
        kind="copy", source=f"{source.host}/app:v1", destination=f"{target.host}/app:v1"
    )


def test_an_index_of_blobs_is_copied_with_its_blobs(
    engine: Engine, source: RegistrySimulator, target: RegistrySimulator
) -> None:
    layers = [b"cached layer %d" % n for n in range(3)]
    config = b'{"records": []}'
    for data in (*layers, config):
        source.add_blob("app", data)
    children = [described("application/vnd.docker.image.rootfs.diff.tar.gzip", d) for d in layers]
    index = add_index(source, "v1", [*children, described(CACHE, config)])
    row = copy(engine, source, target)
    assert row.state == "succeeded", row.error
    assert target.tags["app"]["v1"] == index
    assert set(target.blobs["app"]) == {digest_of(data) for data in (*layers, config)}


def test_a_child_that_cannot_be_copied_is_named_and_the_others_of_a_mirror_arrive(
    engine: Engine, source: RegistrySimulator, target: RegistrySimulator
) -> None:
    images = [source.add_image("app", f"v{n}", [b"layer %d" % n]) for n in range(2, 50)]
    artifact = json.dumps({"mediaType": ARTIFACT, "blobs": []}).encode()
    source.manifests["app"][digest_of(artifact)] = (ARTIFACT, artifact)
    add_index(source, "v1", [manifest_in(source, images[0]), described(ARTIFACT, artifact)])
    row = engine.run(kind="mirror", source=f"{source.host}/app", destination=f"{target.host}/app")
    assert row.state == "failed"
    (failed,) = row.result["failed"]
    assert failed["tag"] == "v1"
    assert digest_of(artifact) in failed["error"]["subject"]
    assert failed["error"]["side"] == "source"
    assert "v1" not in target.tags["app"]
    assert len(target.tags["app"]) == len(images)


def test_more_layers_and_children_than_a_thousand_and_deep_nesting_are_copied(
    engine: Engine, source: RegistrySimulator, target: RegistrySimulator
) -> None:
    many = source.add_image("app", "layers", [b"%d" % n for n in range(1500)])
    one = manifest_in(source, source.add_image("app", "one", [b"one"]))
    digest = add_index(source, "children", [one] * 1500)
    for depth in range(12):
        digest = add_index(source, f"nested{depth}", [manifest_in(source, digest)])
    add_index(source, "v1", [manifest_in(source, digest), manifest_in(source, many)])
    row = copy(engine, source, target)
    assert row.state == "succeeded", row.error
    assert target.tags["app"]["v1"] == source.tags["app"]["v1"]
    assert set(target.manifests["app"]) == set(source.manifests["app"])
    assert set(target.blobs["app"]) == set(source.blobs["app"])
