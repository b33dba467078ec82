"""Manifests of images that are made here after others: of their media types, and with their layers.

A new layer is compressed by gzip.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from transship.store.archives import manifests
from transship.store.layers.codecs.formats import Compression
from transship.store.oci import mediatypes
from transship.store.oci.descriptor import Descriptor
from transship.store.oci.digest import Digest
from transship.store.oci.manifest import Manifest, parse_manifest


def manifest_after(
    model: Manifest | None,
    config: bytes,
    layers: Sequence[Descriptor],
    added: tuple[Digest, int] | None = None,
) -> Manifest:
    """The manifest of *config* over *layers*, which are the model's, or some of them.

    It has the media types of *model*, Docker's where there is none. *added* is one more layer,
    its digest and size.
    """
    if model is None:
        assert not layers
        new = [] if added is None else [(*added, Compression.GZIP)]
        return manifests.made(config, new)
    described = list(layers)
    if added is not None:
        oci = model.media_type == mediatypes.OCI_MANIFEST
        type_ = mediatypes.OCI_LAYER_GZIP if oci else mediatypes.DOCKER_LAYER_GZIP
        described.append(Descriptor(media_type=type_, digest=added[0], size=added[1]))
    head = Descriptor(
        media_type=model.config.media_type, digest=Digest.of(config), size=len(config)
    )
    document = {
        "schemaVersion": 2,
        "mediaType": model.media_type,
        "config": head.to_json(),
        "layers": [layer.to_json() for layer in described],
    }
    made = parse_manifest(json.dumps(document, indent=2, ensure_ascii=False).encode())
    assert isinstance(made, Manifest)
    return made
