"""Tests of the images that other tests stand on."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any
from zlib import decompress as inflate

import httpx
import pytest
import zstandard

from tests.support.images import (
    AMD64,
    ARM64,
    Image,
    big_image,
    build_artifact,
    build_image,
    build_index,
    push_index,
    push_to_registry,
    put_image,
)
from tests.support.memory_store import MemoryStore
from tests.support.registries import RegistryProcess
from transship.store.oci import mediatypes
from transship.store.oci.config import ImageConfig
from transship.store.oci.descriptor import Descriptor
from transship.store.oci.digest import Digest
from transship.store.oci.platform import Platform, select

SMALL = 20_000


def uncompressed(image: Image, layer: Descriptor) -> bytes:
    raw = image.read(layer.digest)
    if layer.media_type.endswith("gzip"):
        return inflate(raw, 31)
    if layer.media_type.endswith("zstd"):
        return zstandard.ZstdDecompressor().decompressobj().decompress(raw)
    return raw


KINDS: list[dict[str, Any]] = [
    {},
    {"compression": "zstd"},
    {"compression": "none"},
    {"compression": ("gzip", "zstd", "none"), "repeated_layer": True, "empty_layer": True},
    {"media": "docker"},
    {"media": "docker", "compression": "none"},
    {"platform": Platform("linux", "arm", "v7")},
]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_arguments_give_the_same_image(kind: dict[str, Any]) -> None:
    first, second = (build_image("a", layer_bytes=SMALL, **kind) for _ in range(2))
    assert first.digest == second.digest


@pytest.mark.parametrize("kind", KINDS)
def test_layers_decode_to_their_diff_ids(kind: dict[str, Any]) -> None:
    image = build_image("a", layer_bytes=SMALL, **kind)
    decoded = [Digest.of(uncompressed(image, layer)) for layer in image.manifest.layers]
    assert tuple(decoded) == image.diff_ids


@pytest.mark.parametrize("kind", KINDS)
def test_blobs_are_what_their_descriptors_say(kind: dict[str, Any]) -> None:
    image = build_image("a", layer_bytes=SMALL, **kind)
    for blob in image.manifest.blobs:
        raw = image.read(blob.digest)
        assert (Digest.of(raw), len(raw)) == (blob.digest, blob.size)


@pytest.mark.parametrize("kind", KINDS)
def test_the_config_names_layers_and_platform(kind: dict[str, Any]) -> None:
    image = build_image("a", layer_bytes=SMALL, **kind)
    config = ImageConfig.parse(image.read(image.manifest.config.digest))
    assert (config.diff_ids, config.platform) == (image.diff_ids, image.platform)


def test_other_seeds_and_platforms_share_no_layer() -> None:
    images = [build_image("a", layer_bytes=SMALL, platform=p) for p in (AMD64, ARM64)]
    images.append(build_image("b", layer_bytes=SMALL))
    assert len({layer.digest for image in images for layer in image.manifest.layers}) == 9


def test_layers_hold_about_as_much_as_asked_for() -> None:
    image = build_image("a", layers=1, layer_bytes=300_000)
    assert 300_000 < len(uncompressed(image, image.manifest.layers[0])) < 700_000


def test_layers_are_tars_of_real_files() -> None:
    image = build_image("a", layers=1, layer_bytes=SMALL)
    packed = io.BytesIO(uncompressed(image, image.manifest.layers[0]))
    with tarfile.open(fileobj=packed) as tar:
        assert any(name.startswith("usr/lib/python/") for name in tar.getnames())


def test_the_tar_of_an_empty_layer_has_no_entry() -> None:
    image = build_image("a", layers=0, compression="none", empty_layer=True)
    assert image.read(image.manifest.layers[0].digest) == bytes(1024)


def test_a_repeated_layer_is_listed_twice_and_held_once() -> None:
    image = build_image("a", layers=2, layer_bytes=SMALL, repeated_layer=True)
    assert image.manifest.layers[0] == image.manifest.layers[-1]
    assert len(image.blobs) == 3


def test_an_image_on_a_base_begins_with_its_layers() -> None:
    base = build_image("base", layers=2, layer_bytes=SMALL)
    image = build_image("app", layers=1, layer_bytes=SMALL, base=base)
    assert image.manifest.layers[:2] == base.manifest.layers
    assert len(image.diff_ids) == len(image.manifest.layers) == 3


def test_docker_has_no_zstd() -> None:
    with pytest.raises(ValueError, match="docker"):
        build_image("a", media="docker", compression="zstd")


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_a_big_image_is_in_files(tmp_path: Path, compression: Any) -> None:
    image = big_image(tmp_path, 12_000_000, 2, compression=compression)
    layers = [image.blobs[layer.digest] for layer in image.manifest.layers]
    assert all(isinstance(layer, Path) and layer.parent == tmp_path for layer in layers)
    assert [layer.size for layer in image.manifest.layers] == [
        layer.stat().st_size for layer in layers if isinstance(layer, Path)
    ]


def test_three_quarters_of_a_big_image_do_not_compress(tmp_path: Path) -> None:
    image = big_image(tmp_path, 12_000_000, 2)
    assert 9_000_000 < image.size < 13_000_000


def test_an_index_holds_its_images_in_order() -> None:
    images = [build_image("a", layer_bytes=SMALL, platform=p) for p in (AMD64, ARM64)]
    index = build_index(images)
    assert [child.digest for child in index.index.manifests] == [image.digest for image in images]


def test_an_image_is_found_in_an_index_by_its_platform() -> None:
    images = [build_image("a", layer_bytes=SMALL, platform=p) for p in (AMD64, ARM64)]
    found = select(build_index(images, attestations=True).index.manifests, ARM64)
    assert found is not None
    assert found.digest == images[1].digest


def test_attestations_are_for_no_platform() -> None:
    index = build_index([build_image("a", layer_bytes=SMALL)], attestations=True)
    assert str(index.index.manifests[-1].platform) == "unknown/unknown"


def test_an_artifact_names_its_subject() -> None:
    image = build_image("a", layer_bytes=SMALL)
    artifact = build_artifact(b"a signature", subject=image.descriptor)
    assert artifact.manifest.subject == image.manifest.descriptor


def test_an_image_of_files_can_be_put(tmp_path: Path) -> None:
    store = MemoryStore()
    image = big_image(tmp_path, 2_000_000, 2)
    put_image(store, image)
    assert set(store.digests()) == {image.digest, *image.blobs}


# --- pushing -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with RegistryProcess(tmp_path_factory.mktemp("registry")) as running:
        yield running


def test_a_pushed_image_is_there_by_tag(registry: RegistryProcess) -> None:
    image = build_image("pushed", layer_bytes=SMALL)
    push_to_registry(registry.url, "app/one", "v1", image)
    answer = httpx.get(
        f"{registry.url}/v2/app/one/manifests/v1", headers={"Accept": image.manifest.media_type}
    )
    assert answer.content == image.manifest.raw


def test_pushed_blobs_are_there(registry: RegistryProcess, tmp_path: Path) -> None:
    image = big_image(tmp_path, 1_000_000, 2)
    push_to_registry(registry.url, "app/big", None, image)
    for digest in image.blobs:
        answer = httpx.get(f"{registry.url}/v2/app/big/blobs/{digest}")
        assert answer.content == image.read(digest)


@pytest.mark.parametrize("media", ["oci", "docker"])
def test_a_pushed_index_is_there_with_its_images(registry: RegistryProcess, media: Any) -> None:
    images = [
        build_image("many", layer_bytes=SMALL, platform=p, media=media) for p in (AMD64, ARM64)
    ]
    index = build_index(images, media=media, attestations=media == "oci")
    push_index(registry.url, f"app/{media}", "v1", index)
    expected = {"v1": index.index.raw}
    expected |= {str(image.digest): image.manifest.raw for image in index.images}
    for name, raw in expected.items():
        answer = httpx.get(
            f"{registry.url}/v2/app/{media}/manifests/{name}",
            headers={"Accept": ", ".join(mediatypes.MANIFEST_TYPES)},
        )
        assert answer.content == raw


def test_a_refusal_is_raised(registry: RegistryProcess) -> None:
    with pytest.raises(httpx.HTTPStatusError):
        push_to_registry(registry.url, "UPPER", "v1", build_artifact(b"x"))
