"""Manifests made and mapped: what changes, and what must not."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.support.images import build_image, build_index
from transship.store.archives.manifests import as_oci, index_of_others, made
from transship.store.layers.codecs.formats import Compression
from transship.store.oci import mediatypes
from transship.store.oci.digest import Digest
from transship.store.oci.manifest import Manifest, parse_manifest

CONFIG = b'{"rootfs":{"type":"layers","diff_ids":[]}}'
LAYER = Digest.of(b"a layer")
FOREIGN = mediatypes.DOCKER_FOREIGN
IMAGE = build_image("mapped", layers=2, layer_bytes=2000, media="docker")


def unknown(digest: Digest) -> None:
    """Where nothing is known of any blob."""


def with_layer(**fields: Any) -> Manifest:
    document = json.loads(IMAGE.manifest.raw)
    document["layers"][0] |= fields
    manifest = parse_manifest(json.dumps(document).encode())
    assert isinstance(manifest, Manifest)
    return manifest


@pytest.mark.parametrize(
    ("compressions", "manifest_type", "layer_types"),
    [
        (
            ["none", "gzip"],
            mediatypes.DOCKER_MANIFEST,
            [mediatypes.DOCKER_LAYER, mediatypes.DOCKER_LAYER_GZIP],
        ),
        (
            ["zstd", "gzip"],
            mediatypes.OCI_MANIFEST,
            [mediatypes.OCI_LAYER_ZSTD, mediatypes.OCI_LAYER_GZIP],
        ),
        ([], mediatypes.DOCKER_MANIFEST, []),
    ],
)
def test_a_manifest_is_made_of_what_is_stored(
    compressions: list[str], manifest_type: str, layer_types: list[str]
) -> None:
    layers = [(LAYER, 7, Compression(one)) for one in compressions]
    manifest = made(CONFIG, layers)
    assert manifest.media_type == manifest_type
    assert [layer.media_type for layer in manifest.layers] == layer_types
    assert (manifest.config.digest, manifest.config.size) == (Digest.of(CONFIG), len(CONFIG))
    assert manifest.raw == made(CONFIG, layers).raw


def test_what_is_ocis_stays_as_it_is() -> None:
    image = build_image("oci", layers=1, layer_bytes=2000)
    assert as_oci(image.manifest, unknown) is image.manifest


@pytest.mark.parametrize(
    ("docker", "oci"),
    [
        (mediatypes.DOCKER_LAYER, mediatypes.OCI_LAYER),
        (mediatypes.DOCKER_LAYER_GZIP, mediatypes.OCI_LAYER_GZIP),
        (f"{mediatypes.DOCKER_LAYER}.zstd", mediatypes.OCI_LAYER_ZSTD),
        (f"{FOREIGN}.gzip", f"{mediatypes.OCI_NONDISTRIBUTABLE}+gzip"),
        ("application/vnd.example.thing", "application/vnd.example.thing"),
    ],
)
def test_each_type_of_dockers_has_one_of_ocis(docker: str, oci: str) -> None:
    assert as_oci(with_layer(mediaType=docker), unknown).layers[0].media_type == oci


@pytest.mark.parametrize(
    ("found", "oci"),
    [
        (Compression.NONE, mediatypes.OCI_LAYER),
        (Compression.GZIP, mediatypes.OCI_LAYER_GZIP),
        (Compression.ZSTD, mediatypes.OCI_LAYER_ZSTD),
        (Compression.XZ, mediatypes.OCI_LAYER),
        (None, mediatypes.OCI_LAYER),
    ],
)
def test_a_plain_layer_is_called_what_it_is(found: Compression | None, oci: str) -> None:
    manifest = with_layer(mediaType=mediatypes.DOCKER_LAYER)
    assert as_oci(manifest, lambda _: found).layers[0].media_type == oci


def test_fields_that_are_not_known_here_are_kept() -> None:
    manifest = with_layer(urls=["https://r.test/x"], annotations={"a": "b"}, future=[1])
    mapped = as_oci(manifest, unknown)
    assert mapped.layers[0].urls == ("https://r.test/x",)
    assert mapped.layers[0].annotations == {"a": "b"}
    assert mapped.layers[0].extra == {"future": [1]}


def test_an_index_of_others_keeps_what_it_says_of_each() -> None:
    index = build_index([IMAGE, build_image("other", layers=1, layer_bytes=2000)]).index
    document = json.loads(index.raw)
    document["manifests"][0] |= {
        "annotations": {"a": "b"},
        "data": base64.b64encode(IMAGE.manifest.raw).decode(),
    }
    given = parse_manifest(json.dumps(document).encode())
    assert not isinstance(given, Manifest)
    other = as_oci(IMAGE.manifest, unknown)
    changed = index_of_others(given, {IMAGE.digest: other})
    first, second = changed.manifests
    assert (first.digest, first.size) == (other.digest, len(other.raw))
    assert (first.platform, first.annotations, first.data) == (IMAGE.platform, {"a": "b"}, None)
    assert second == index.manifests[1]
