"""OCI image layouts, as strangers write them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.support.images import (
    ARM64,
    Image,
    ImageIndex,
    build_artifact,
    build_image,
    build_index,
)
from tests.unit.store.archives.archives import (
    Files,
    MemorySink,
    blob_name,
    docker_files,
    encoded,
    layout_files,
    read,
    tar,
)
from transship.store.archives.archive import ArchivedImage, ArchivedIndex
from transship.store.errors import InvalidArchiveError
from transship.store.oci import mediatypes
from transship.store.oci.digest import Digest
from transship.store.oci.manifest import Manifest, parse_manifest
from transship.store.oci.reference import Reference

IMAGE = build_image("layout", layers=2, layer_bytes=5000)
ARM = build_image("layout", layers=2, layer_bytes=5000, platform=ARM64)
INDEX = build_index([IMAGE, ARM])
FULL = "io.containerd.image.name"
SHORT = "org.opencontainers.image.ref.name"


def without(files: Files, *digests: Digest) -> Files:
    return {name: raw for name, raw in files.items() if name not in map(blob_name, digests)}


def names(files: Files, **options: Any) -> list[str]:
    (root,) = read(files, **options).roots
    return [str(name) for name in root.names]


def with_manifest(image: Image, **fields: Any) -> Files:
    """A layout of *image* with other fields in its manifest."""
    raw = encoded(json.loads(image.manifest.raw) | fields)
    return _replaced(image, raw)


def _replaced(image: Image, raw: bytes) -> Files:
    manifest = parse_manifest(raw)
    assert isinstance(manifest, Manifest)
    return layout_files(replace(image, manifest=manifest))


def with_index(root: Image | ImageIndex, **fields: Any) -> Files:
    """A layout of *root* with other fields in its only entry of `index.json`."""
    files = layout_files(root)
    index = json.loads(files["index.json"])
    index["manifests"][0] |= fields
    return files | {"index.json": encoded(index)}


# --- what is read ------------------------------------------------------------------------------


def test_an_image_is_byte_for_byte_what_it_was() -> None:
    sink = MemorySink()
    (image,) = read(layout_files(IMAGE), sink).images
    assert image.manifest == IMAGE.manifest
    assert image.image_id == IMAGE.manifest.config.digest
    assert [layer.diff_id for layer in image.layers] == list(IMAGE.diff_ids)
    for digest in (IMAGE.digest, *IMAGE.blobs):
        assert sink.size(digest) is not None


def test_an_index_is_kept_with_its_children() -> None:
    (index,) = read(layout_files(INDEX)).roots
    assert isinstance(index, ArchivedIndex)
    assert index.index == INDEX.index
    assert [c.manifest for c in index.children if isinstance(c, ArchivedImage)] == [
        IMAGE.manifest,
        ARM.manifest,
    ]
    assert index.absent == ()


def test_manifests_of_docker_are_read_too() -> None:
    image = build_image("docker", layers=1, layer_bytes=5000, media="docker")
    (found,) = read(layout_files(image)).images
    assert found.manifest == image.manifest


def test_an_attestation_has_an_images_config_and_is_none() -> None:
    archive = read(layout_files(build_index([IMAGE], attestations=True)))
    image, attestation = archive.images
    assert [layer.diff_id for layer in attestation.layers] == [None]
    assert image.layers[0].diff_id is not None


def test_an_artifact_has_no_config() -> None:
    (artifact,) = read(layout_files(build_artifact(b"a bill of materials"))).images
    assert (artifact.config, artifact.image_id, artifact.missing) == (None, None, ())


def test_blobs_may_be_named_by_sha512() -> None:
    files = layout_files(IMAGE)
    manifest = json.loads(IMAGE.manifest.raw)
    for described in (manifest["config"], *manifest["layers"]):
        raw = files[blob_name(Digest.parse(described["digest"]))]
        digest = Digest.of(raw, "sha512")
        described["digest"] = str(digest)
        files[blob_name(digest)] = raw
    files |= layout_files(replace(IMAGE, manifest=_parsed(manifest)))
    (image,) = read(files).images
    assert [layer.blob.digest.algorithm for layer in image.layers if layer.blob] == ["sha512"] * 2
    assert image.image_id is not None


def _parsed(document: dict[str, Any]) -> Manifest:
    manifest = parse_manifest(encoded(document))
    assert isinstance(manifest, Manifest)
    return manifest


def test_what_is_no_manifest_is_passed_over() -> None:
    files = with_index(IMAGE, mediaType="application/vnd.example.thing")
    assert read(files).roots == ()


def test_a_layer_that_cannot_be_understood_is_kept_unverified() -> None:
    layers = json.loads(IMAGE.manifest.raw)["layers"]
    layers[0]["mediaType"] += "+encrypted"
    config = json.loads(IMAGE.read(IMAGE.manifest.config.digest))
    config["rootfs"]["diff_ids"][0] = f"sha256:{'0' * 64}"
    raw = encoded(config)
    described = {
        "mediaType": mediatypes.OCI_CONFIG,
        "digest": str(Digest.of(raw)),
        "size": len(raw),
    }
    files = with_manifest(IMAGE, layers=layers, config=described)
    files[blob_name(Digest.of(raw))] = raw
    (image,) = read(files).images
    assert image.layers[0].blob is not None


# --- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ({FULL: "r.test/app:1", SHORT: "1"}, ["r.test/app:1"]),
        ({FULL: "r.test/app:1", SHORT: "other/name:2"}, ["r.test/app:1"]),
        ({FULL: "r.test/app:1", SHORT: "2"}, ["r.test/app:2"]),
        ({SHORT: "r.test/app:1"}, ["r.test/app:1"]),
        ({SHORT: "app:1"}, ["docker.io/library/app:1"]),
        ({SHORT: "1"}, []),
        ({SHORT: "anything/that is no name"}, []),
        ({FULL: "not A name", SHORT: "app:1"}, ["docker.io/library/app:1"]),
        ({FULL: f"app@sha256:{'0' * 64}"}, []),
        ({FULL: "app"}, []),
        ({}, []),
    ],
)
def test_a_full_name_counts_wherever_it_stands(
    annotations: dict[str, str], expected: list[str]
) -> None:
    assert names(layout_files(IMAGE, annotations=annotations)) == expected


def test_a_bare_tag_is_a_tag_of_the_repository_that_the_loader_gives() -> None:
    repository = Reference.parse("r.test/team/app")
    files = layout_files(IMAGE, annotations={SHORT: "1"})
    assert names(files, repository=repository) == ["r.test/team/app:1"]


def test_the_repository_of_the_loader_overrules_no_full_name() -> None:
    repository = Reference.parse("r.test/team/app")
    files = layout_files(IMAGE, annotations={FULL: "r.test/app:1"})
    assert names(files, repository=repository) == ["r.test/app:1"]


def test_an_image_listed_once_a_name_is_one_image() -> None:
    files = layout_files(IMAGE)
    index = json.loads(files["index.json"])
    (entry,) = index["manifests"]
    index["manifests"] = [entry | {"annotations": {SHORT: f"app:{n}"}} for n in range(3)]
    assert len(names(files | {"index.json": encoded(index)})) == 3


# --- both layouts in one -----------------------------------------------------------------------


def both(root: Image | ImageIndex, *docker: Image, tag: str = "app:1", **options: Any) -> Files:
    return layout_files(root, **options) | docker_files(*docker, tags=(tag,))


def test_the_layout_counts_and_the_other_list_adds_names() -> None:
    (image,) = read(both(IMAGE, IMAGE)).images
    assert image.manifest == IMAGE.manifest
    assert [str(name) for name in image.names] == ["docker.io/library/app:1"]


def test_a_name_of_an_image_of_an_index_is_the_indexes() -> None:
    assert names(both(INDEX, ARM)) == ["docker.io/library/app:1"]


def test_a_name_that_the_layout_gives_is_not_given_again() -> None:
    files = both(INDEX, build_image("other", layers=1, layer_bytes=5000, media="docker"))
    index = json.loads(files["index.json"])
    index["manifests"][0]["annotations"] = {FULL: "docker.io/library/app:1"}
    files |= layout_files(IMAGE) | {"index.json": encoded(index)}
    files |= docker_files(IMAGE, tags=("app:1",))
    assert names(files) == ["docker.io/library/app:1"]


def test_an_image_that_only_the_other_list_has_is_not_lost() -> None:
    other = build_image("other", layers=1, layer_bytes=5000, media="docker")
    first, second = read(both(IMAGE, other)).images
    assert (first.manifest, second.manifest) == (IMAGE.manifest, other.manifest)


# --- held in part ------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [ARM.digest, ARM.manifest.config.digest])
def test_a_child_may_be_absent(lost: Digest) -> None:
    (index,) = read(without(layout_files(INDEX), lost)).roots
    assert isinstance(index, ArchivedIndex)
    assert len(index.children) == 1
    assert [absent.digest for absent in index.absent] == [ARM.digest]


def test_a_child_with_a_hole_is_refused() -> None:
    with pytest.raises(InvalidArchiveError, match="does not hold layer 2"):
        read(without(layout_files(INDEX), ARM.manifest.layers[1].digest))


@pytest.mark.parametrize("root", [IMAGE, INDEX], ids=["image", "index"])
def test_what_the_list_names_is_there(root: Image | ImageIndex) -> None:
    with pytest.raises(InvalidArchiveError, match="does not hold it in whole"):
        read(without(layout_files(root), root.digest))


def test_an_index_without_any_child_is_not_there() -> None:
    with pytest.raises(InvalidArchiveError, match="does not hold it in whole"):
        read(without(layout_files(INDEX), IMAGE.digest, ARM.digest))


def test_a_layer_that_is_not_for_distribution_may_be_missing() -> None:
    layers = json.loads(IMAGE.manifest.raw)["layers"]
    layers[0]["mediaType"] = f"{mediatypes.OCI_NONDISTRIBUTABLE}+gzip"
    files = with_manifest(IMAGE, layers=layers)
    (image,) = read(without(files, IMAGE.manifest.layers[0].digest)).images
    assert image.missing == (IMAGE.diff_ids[0],)


def test_an_artifact_has_no_layers_that_could_be_elsewhere() -> None:
    artifact = build_artifact(b"a bill of materials")
    files = without(layout_files(artifact), artifact.manifest.layers[0].digest)
    with pytest.raises(InvalidArchiveError, match="does not hold layer 1"):
        read(files, stripped=True)


# --- what does not hold together ---------------------------------------------------------------


@pytest.mark.parametrize(
    "marker",
    [b"{}", b"[]", b'{"imageLayoutVersion":"2.0.0"}', b'{"imageLayoutVersion":1}', b"x"],
)
def test_a_layout_of_another_version_is_refused(marker: bytes) -> None:
    with pytest.raises(InvalidArchiveError, match="oci-layout"):
        read(layout_files(IMAGE) | {"oci-layout": marker})


def test_a_layout_has_an_index() -> None:
    files = layout_files(IMAGE)
    del files["index.json"]
    with pytest.raises(InvalidArchiveError, match=r"index\.json: the archive does not hold it"):
        read(files)


@pytest.mark.parametrize(
    "index",
    [
        b"null",
        b"{}",
        b'{"schemaVersion":2,"manifests":[],"manifests":[]}',
        b'{"schemaVersion":2,"manifests":[],"layers":[]}',
        b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}',
        b'{"schemaVersion":2,"manifests":[{"mediaType":"a","size":-1,"digest":"sha256:0"}]}',
        b'{"schemaVersion":2,"manifests":[{"mediaType":"a","size":1,"digest":"../../x"}]}',
        b'{"schemaVersion":2,"manifests":' + encoded([{}] * 1001) + b"}",
        b" " * (4 * 1024 * 1024 + 1),
    ],
    ids=range(9),
)
def test_an_index_that_is_none_is_refused(index: bytes) -> None:
    with pytest.raises(InvalidArchiveError, match=r"index\.json"):
        read(layout_files(IMAGE) | {"index.json": index})


@pytest.mark.parametrize("blob", [IMAGE.digest, IMAGE.manifest.layers[0].digest])
def test_a_blob_is_what_its_name_says(blob: Digest) -> None:
    files = layout_files(IMAGE)
    files[blob_name(blob)] += b" "
    with pytest.raises(InvalidArchiveError, match=f"{blob_name(blob)}: the bytes received have"):
        read(files)


@pytest.mark.parametrize("size", [0, 10**12, len(IMAGE.manifest.raw) - 1])
def test_a_blob_is_as_long_as_its_descriptor_says(size: int) -> None:
    with pytest.raises(InvalidArchiveError, match=f"its descriptor says {size}"):
        read(with_index(IMAGE, size=size))


def test_a_manifest_is_what_its_descriptor_says() -> None:
    with pytest.raises(InvalidArchiveError, match="but calls itself"):
        read(with_index(IMAGE, mediaType=mediatypes.OCI_INDEX))


def test_layers_and_diff_ids_are_as_many() -> None:
    layers = json.loads(IMAGE.manifest.raw)["layers"]
    with pytest.raises(InvalidArchiveError, match="1 layers, and 2 diffIDs"):
        read(with_manifest(IMAGE, layers=layers[:1]))


def test_a_layer_is_what_its_diff_id_says() -> None:
    layers = json.loads(IMAGE.manifest.raw)["layers"]
    with pytest.raises(InvalidArchiveError, match="the config says"):
        read(with_manifest(IMAGE, layers=layers[::-1]))


@pytest.mark.parametrize("name", ["index.json", "oci-layout", blob_name(IMAGE.digest)])
def test_nothing_of_a_layout_is_a_link(name: str) -> None:
    files = layout_files(IMAGE)
    files["elsewhere"] = files.pop(name)
    depth = "../" * name.count("/")
    with pytest.raises(InvalidArchiveError, match=f"{name}: is a link, and must be a file"):
        read(tar(files, links={name: f"{depth}elsewhere"}))


def nested(depth: int) -> Files:
    """A layout of an image below *depth* indexes."""
    files = layout_files(IMAGE)
    inner = IMAGE.descriptor.to_json()
    for _ in range(depth):
        raw = encoded(
            {"schemaVersion": 2, "mediaType": mediatypes.OCI_INDEX, "manifests": [inner] * 900}
        )
        inner = {
            "mediaType": mediatypes.OCI_INDEX,
            "digest": str(Digest.of(raw)),
            "size": len(raw),
        }
        files[blob_name(Digest.of(raw))] = raw
    files["index.json"] = encoded({"schemaVersion": 2, "manifests": [inner]})
    return files


def test_indexes_that_name_each_other_many_times_are_read_once() -> None:
    archive = read(nested(3))  # 900 to the third times the same image
    assert (len(archive.images), len(archive.indexes)) == (1, 3)


def test_indexes_are_not_nested_without_end() -> None:
    with pytest.raises(InvalidArchiveError, match="nested more than 4 deep"):
        read(nested(5))
