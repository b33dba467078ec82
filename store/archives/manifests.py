"""Manifests made here: for images that come without one, and OCI's in place of Docker's."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from transship.store.layers.codecs.formats import Compression
from transship.store.oci import mediatypes
from transship.store.oci.descriptor import Descriptor
from transship.store.oci.digest import Digest
from transship.store.oci.manifest import Index, Manifest, parse_manifest

_DOCKER_LAYER_ZSTD = f"{mediatypes.DOCKER_LAYER}.zstd"  # of no specification, and in use
_OCI_LAYERS = {
    Compression.NONE: mediatypes.OCI_LAYER,
    Compression.GZIP: mediatypes.OCI_LAYER_GZIP,
    Compression.ZSTD: mediatypes.OCI_LAYER_ZSTD,
}
_DOCKER_LAYERS = {
    Compression.NONE: mediatypes.DOCKER_LAYER,
    Compression.GZIP: mediatypes.DOCKER_LAYER_GZIP,
}
_TO_OCI = {
    mediatypes.DOCKER_LIST: mediatypes.OCI_INDEX,
    mediatypes.DOCKER_MANIFEST: mediatypes.OCI_MANIFEST,
    mediatypes.DOCKER_CONFIG: mediatypes.OCI_CONFIG,
    mediatypes.DOCKER_LAYER: mediatypes.OCI_LAYER,
    mediatypes.DOCKER_LAYER_GZIP: mediatypes.OCI_LAYER_GZIP,
    _DOCKER_LAYER_ZSTD: mediatypes.OCI_LAYER_ZSTD,
    mediatypes.DOCKER_FOREIGN: mediatypes.OCI_NONDISTRIBUTABLE,
    f"{mediatypes.DOCKER_FOREIGN}.gzip": f"{mediatypes.OCI_NONDISTRIBUTABLE}+gzip",
    f"{mediatypes.DOCKER_FOREIGN}.zstd": f"{mediatypes.OCI_NONDISTRIBUTABLE}+zstd",
}


def made(config: bytes, layers: Sequence[tuple[Digest, int, Compression]]) -> Manifest:
    """The manifest of an image that has none: its config as it is, its layers as they are stored.

    The same arguments always give the same bytes. The media types are Docker's; zstd, for which
    Docker has none, makes them all OCI's.

    Raises:
        KeyError: no media type says that a layer is compressed so.
    """
    oci = any(compression is Compression.ZSTD for _, _, compression in layers)
    types = _OCI_LAYERS if oci else _DOCKER_LAYERS
    described = [
        Descriptor(media_type=types[compression], digest=digest, size=size)
        for digest, size, compression in layers
    ]
    head = Descriptor(
        media_type=mediatypes.OCI_CONFIG if oci else mediatypes.DOCKER_CONFIG,
        digest=Digest.of(config),
        size=len(config),
    )
    document = {
        "schemaVersion": 2,
        "mediaType": mediatypes.OCI_MANIFEST if oci else mediatypes.DOCKER_MANIFEST,
        "config": head.to_json(),
        "layers": [layer.to_json() for layer in described],
    }
    return _image(document)


def as_oci(manifest: Manifest, compression_of: Callable[[Digest], Compression | None]) -> Manifest:
    """*manifest* under OCI's media types, every other field as it was; itself if it has them.

    Config and layers keep their bytes. Docker's type of a plain layer may hide compressed bytes,
    which readers of OCI's type would not expect: *compression_of* says what the bytes are, or
    None where it cannot.
    """
    if manifest.media_type == mediatypes.OCI_MANIFEST:
        return manifest
    document = json.loads(manifest.raw)
    document["mediaType"] = mediatypes.OCI_MANIFEST
    document["config"]["mediaType"] = _oci_type(manifest.config.media_type)
    for layer, described in zip(manifest.layers, document.get("layers") or (), strict=True):
        described["mediaType"] = _oci_type(layer.media_type)
        found = compression_of(layer.digest)
        if layer.media_type == mediatypes.DOCKER_LAYER and found in _OCI_LAYERS:
            described["mediaType"] = _OCI_LAYERS[found]
    return _image(document)


def with_compressed_layers(
    manifest: Manifest,
    others: Mapping[Digest, tuple[Digest, int]],
    compression: Compression,
    compression_of: Callable[[Digest], Compression | None],
) -> Manifest:
    """A Docker manifest with other layers in place of those in *others*: their digest and size.

    They are compressed by *compression*; zstd, for which Docker has no media type, makes all types
    OCI's, with *compression_of* as in `as_oci`.
    """
    types: Mapping[Compression, str] = _DOCKER_LAYERS
    if compression not in types:
        manifest, types = as_oci(manifest, compression_of), _OCI_LAYERS
    document = json.loads(manifest.raw)
    for layer, described in zip(manifest.layers, document["layers"], strict=True):
        if layer.digest in others:
            digest, size = others[layer.digest]
            described.update(mediaType=types[compression], digest=str(digest), size=size)
            described.pop("data", None)
    return _image(document)


def with_plain_layers(manifest: Manifest, plain: Mapping[Digest, tuple[Digest, int]]) -> Manifest:
    """An OCI manifest with other layers in place of those in *plain*: their digest and size."""
    document = json.loads(manifest.raw)
    for layer, described in zip(manifest.layers, document["layers"], strict=True):
        if layer.digest in plain:
            digest, size = plain[layer.digest]
            described.update(mediaType=mediatypes.OCI_LAYER, digest=str(digest), size=size)
            described.pop("data", None)
    return _image(document)


def index_of_others(index: Index, others: Mapping[Digest, Manifest | Index]) -> Index:
    """*index* as an OCI index of *others*, by the digests of the children that they stand for.

    Children not among them, and what the index says of each, stay as they were.
    """
    document = json.loads(index.raw)
    document["mediaType"] = mediatypes.OCI_INDEX
    for child, described in zip(index.manifests, document["manifests"], strict=True):
        other = others.get(child.digest)
        if other is not None and other.digest != child.digest:
            described.pop("data", None)
            described.update(other.descriptor.to_json())
    changed = parse_manifest(_encoded(document))
    assert isinstance(changed, Index)
    return changed


def _oci_type(media_type: str) -> str:
    return _TO_OCI.get(media_type, media_type)


def _image(document: Mapping[str, Any]) -> Manifest:
    manifest = parse_manifest(_encoded(document))
    assert isinstance(manifest, Manifest)
    return manifest


def _encoded(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=2, ensure_ascii=False).encode()
