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


# --- what is there already -----------------------------------------------------------------------


def test_a_tag_that_is_not_to_be_overwritten_stays(
    engine: Engine, source: RegistrySimulator, target: RegistrySimulator
) -> None:
    new = source.add_image("app", "v1", [b"new"])
    other = source.add_image("app", "v2", [b"other"])
    old = target.add_image("app", "v1", [b"old"])
    entry = {"source": f"{source.host}/app", "destination": f"{target.host}/app"}
    row = engine.run(kind="mirror", entries=[{**entry, "overwrite": "never"}])
    assert row.state == "succeeded", row.error
    assert target.tags["app"] == {"v1": old, "v2": other}
    assert new not in target.manifests["app"]
    verified = engine.run(
        kind="mirror",
        entries=[{**entry, "overwrite": "never"}],
        verify="head",
        verify_only=True,
    )
    assert verified.state == "succeeded", verified.error
    spec: dict[str, Any] = {
        "kind": "copy",
        "source": f"{source.host}/app:v1",
        "destination": f"{target.host}/app:v1",
    }
    kept = engine.run(**spec, overwrite="never").result
    assert (kept["kept"], kept["digest"], kept["source_digest"]) == (True, old, new)
    assert engine.run(**spec).state == "succeeded"
    assert target.tags["app"]["v1"] == new
    again = engine.run(**spec, overwrite="never").result
    assert again["up_to_date"] is True


# --- verify --------------------------------------------------------------------------------------


class Mirrored:
    """A mirror of some images, one of them an index, with referrers; all of it has arrived."""

    def __init__(
        self, engine: Engine, source: RegistrySimulator, target: RegistrySimulator
    ) -> None:
        self.engine, self.source, self.target = engine, source, target
        self.images = [source.add_image("app", f"v{n}", [b"%d" % n, b"all"]) for n in range(6)]
        children = [manifest_in(source, digest) for digest in self.images[:3]]
        self.index = add_index(source, "index", children)
        self.signature = source.attach("app", self.images[0], "application/vnd.example.signature")
        self.sbom = source.attach("app", self.index, "application/spdx+json")
        row = self.run()
        assert row.state == "succeeded", row.error

    def run(self, **more: Any) -> Any:
        entry = {"source": f"{self.source.host}/app", "destination": f"{self.target.host}/app"}
        return self.engine.run(kind="mirror", entries=[entry], **more)

    def verify(self, **more: Any) -> Any:
        return self.run(**{"verify": "head", "verify_only": True, **more})

    def named(self, row: Any) -> dict[str, set[tuple[str, str]]]:
        """What is damaged, by tag."""
        return {
            item["image"].rpartition(":")[2]: {
                (problem["what"], problem["digest"]) for problem in item["problems"]
            }
            for item in row.result["verified"]["items"]
        }

    def sent(self) -> list[str]:
        """What was put at the target, but for sessions that were opened."""
        return [
            f"{request.method} {request.target.partition('/app/')[2].partition('?')[0]}"
            for request in self.target.requests()
            if request.method in ("PUT", "PATCH")
        ]

    def blob_of(self, digest: str) -> str:
        """A blob that only that image has: its config."""
        document = json.loads(self.source.manifests["app"][digest][1])
        found: str = document["config"]["digest"]
        return found


@pytest.fixture
def mirrored(engine: Engine, source: RegistrySimulator, target: RegistrySimulator) -> Mirrored:
    return Mirrored(engine, source, target)


@pytest.mark.parametrize("how", ["head", "read"])
def test_a_mirror_that_is_whole_is_said_to_be(mirrored: Mirrored, how: str) -> None:
    mirrored.target.forget_requests()
    row = mirrored.verify(verify=how)
    assert row.state == "succeeded", row.error
    found = row.result["verified"]
    assert (found["images"], found["whole"], found["problems"]) == (7, 7, 0)
    assert mirrored.sent() == []
    asked = [f"{r.method} {r.target}" for r in mirrored.target.requests() if "/blobs/" in r.target]
    assert len(asked) == len(set(asked)), "each blob once"


def _lose_blob(mirrored: Mirrored) -> dict[str, set[tuple[str, str]]]:
    config = mirrored.blob_of(mirrored.images[4])
    del mirrored.target.blobs["app"][config]
    return {"v4": {("blob", config)}}


def _lose_child(mirrored: Mirrored) -> dict[str, set[tuple[str, str]]]:
    child = mirrored.images[2]
    del mirrored.target.manifests["app"][child]
    return {"index": {("manifest", child)}, "v2": {("manifest", child), ("tag", child)}}


def _move_tag(mirrored: Mirrored) -> dict[str, set[tuple[str, str]]]:
    mirrored.target.tags["app"]["v5"] = mirrored.images[4]
    return {"v5": {("tag", mirrored.images[5])}}


def _lose_tag(mirrored: Mirrored) -> dict[str, set[tuple[str, str]]]:
    del mirrored.target.tags["app"]["v3"]
    return {"v3": {("tag", mirrored.images[3])}}


def _lose_referrer(mirrored: Mirrored) -> dict[str, set[tuple[str, str]]]:
    del mirrored.target.manifests["app"][mirrored.sbom]
    lost = {("referrer", mirrored.sbom), ("manifest", mirrored.sbom)}
    return {"index": lost}


def _lose_blob_of_referrer(mirrored: Mirrored) -> dict[str, set[tuple[str, str]]]:
    layer = f"application/spdx+json of {mirrored.index} ".encode()
    del mirrored.target.blobs["app"][digest_of(layer)]
    return {"index": {("blob", digest_of(layer))}}


@pytest.mark.parametrize(
    "damage",
    [_lose_blob, _lose_child, _move_tag, _lose_tag, _lose_referrer, _lose_blob_of_referrer],
)
@pytest.mark.parametrize("how", ["head", "read"])
def test_what_is_damaged_is_named_and_repaired_and_nothing_else_moves(
    mirrored: Mirrored, damage: Any, how: str
) -> None:
    expected = damage(mirrored)
    row = mirrored.verify(verify=how)
    assert row.state == "failed"
    assert row.error["code"] == "partial"
    assert row.error["side"] == "destination"
    assert mirrored.named(row) == expected
    mirrored.target.forget_requests()
    row = mirrored.verify(verify=how, repair=True)
    assert row.state == "succeeded", row.error
    assert row.result["repaired"] == len(expected)
    lost = {digest for problems in expected.values() for _, digest in problems}
    for request in mirrored.sent():
        name = request.rpartition("/")[2]
        assert "uploads" in request or name in {*lost, *expected}, request
    assert mirrored.verify(verify=how).state == "succeeded"


def test_a_run_verifies_what_it_has_copied(mirrored: Mirrored) -> None:
    config = mirrored.blob_of(mirrored.images[4])
    del mirrored.target.blobs["app"][config]
    row = mirrored.run(verify="head")
    assert row.state == "failed"
    assert mirrored.named(row) == {"v4": {("blob", config)}}
    assert row.error["detail"] == (
        "1 of 7 are damaged at the destination, or could not be verified"
    )


def test_what_the_registry_serves_wrongly_is_found_by_reading(mirrored: Mirrored) -> None:
    layer = digest_of(b"4")
    mirrored.target.blobs["app"][layer] = b"X"
    assert mirrored.verify().state == "succeeded"  # by HEAD it looks as it should
    row = mirrored.verify(verify="read")
    assert mirrored.named(row) == {"v4": {("blob", layer)}}


def test_a_copy_looks_below_an_equal_tag_if_it_is_forced(mirrored: Mirrored) -> None:
    config = mirrored.blob_of(mirrored.images[4])
    del mirrored.target.blobs["app"][config]
    spec: dict[str, Any] = {
        "kind": "copy",
        "source": f"{mirrored.source.host}/app:v4",
        "destination": f"{mirrored.target.host}/app:v4",
    }
    assert mirrored.engine.run(**spec).result["up_to_date"] is True
    assert config not in mirrored.target.blobs["app"]
    assert mirrored.engine.run(**spec, force=True).state == "succeeded"
    assert config in mirrored.target.blobs["app"]
