"""Images whose layers are given tars, for tests that care which files are in them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from typing import Any

from tests.support.images import AMD64, CREATED, Image
from transship.store.oci import mediatypes
from transship.store.oci.digest import Digest
from transship.store.oci.manifest import Manifest, parse_manifest


def image_of(
    *tars: bytes,
    config: Mapping[str, Any] | None = None,
    history: Sequence[Mapping[str, Any]] | None = None,
    media: str = "oci",
    **more: Any,
) -> Image:
    """Build an image of uncompressed layers, one step of its history for each.

    *config* is its `config` object; *more* are other fields beside that.
    """
    oci = media == "oci"
    layers = [gzip.compress(tar, 6, mtime=0) for tar in tars]
    steps = [{"created": CREATED, "created_by": f"step {n}"} for n in range(len(tars))]
    document = {
        "architecture": "amd64",
        "os": "linux",
        "created": CREATED,
        "config": dict(config or {}),
        "rootfs": {"type": "layers", "diff_ids": [str(Digest.of(tar)) for tar in tars]},
        "history": steps if history is None else list(history),
        **more,
    }
    raw = json.dumps(document).encode()
    manifest = parse_manifest(
        json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": mediatypes.OCI_MANIFEST if oci else mediatypes.DOCKER_MANIFEST,
                "config": _described(
                    raw, mediatypes.OCI_CONFIG if oci else mediatypes.DOCKER_CONFIG
                ),
                "layers": [
                    _described(
                        layer, mediatypes.OCI_LAYER_GZIP if oci else mediatypes.DOCKER_LAYER_GZIP
                    )
                    for layer in layers
                ],
            }
        ).encode()
    )
    assert isinstance(manifest, Manifest)
    return Image(
        manifest,
        {Digest.of(blob): blob for blob in (raw, *layers)},
        tuple(Digest.of(tar) for tar in tars),
        platform=AMD64,
    )


def _described(blob: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": str(Digest.of(blob)), "size": len(blob)}
