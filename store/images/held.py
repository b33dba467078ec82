"""What the catalog keeps of an image that has arrived in whole."""

from __future__ import annotations

from store.catalog.references import HeldImage
from store.content.ports import ContentStore
from store.oci import mediatypes
from store.oci.config import MAX_CONFIG_BYTES, ImageConfig
from store.oci.descriptor import Descriptor
from store.oci.manifest import MAX_MANIFEST_BYTES, Index, Manifest, parse_manifest


def read_manifest(descriptor: Descriptor, content: ContentStore) -> Manifest | Index:
    """A manifest or index that the store holds, hashed again.

    Raises:
        BlobMissingError: the store does not hold it.
    """
    raw = content.read(descriptor.digest, max_bytes=MAX_MANIFEST_BYTES)
    return parse_manifest(raw, descriptor.media_type)


def describe(manifest: Manifest, content: ContentStore) -> HeldImage:
    """Read what there is to know of an image from its manifest and its config.

    An artifact, whose config is not an image's, has no platform.

    Raises:
        InvalidManifestError: the config cannot be understood.
    """
    platform = ("", "", "")
    created = ""
    labels: dict[str, str] = {}
    if mediatypes.is_config(manifest.config.media_type):
        raw = content.read(manifest.config.digest, max_bytes=MAX_CONFIG_BYTES)
        config = ImageConfig.parse(raw)
        platform = (config.platform.os, config.platform.architecture, config.platform.variant)
        created = config.created or ""
        labels = dict(config.labels)
    os, architecture, variant = platform
    return HeldImage(
        digest=str(manifest.digest),
        image_id=str(manifest.config.digest),
        media_type=manifest.media_type,
        os=os,
        architecture=architecture,
        variant=variant,
        created=created,
        size=sum(blob.size for blob in manifest.blobs),
        layers=len(manifest.layers),
        labels=labels,
    )
