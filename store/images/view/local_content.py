"""What the catalog keeps of an image that has arrived in whole, and how to read it again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from transship.store.catalog.content.layers import Pair
from transship.store.catalog.content.references import HeldImage
from transship.store.content.ports import ContentStore
from transship.store.errors import InvalidManifestError
from transship.store.oci.config import MAX_CONFIG_BYTES, ImageConfig
from transship.store.oci.descriptor import Descriptor
from transship.store.oci.digest import Digest
from transship.store.oci.manifest import MAX_MANIFEST_BYTES, Index, Manifest, parse_manifest


def read_manifest(descriptor: Descriptor, content: ContentStore) -> Manifest | Index:
    """A manifest or index that the store holds, hashed again.

    Raises:
        BlobMissingError: the store does not hold it.
    """
    raw = content.read(descriptor.digest, max_bytes=MAX_MANIFEST_BYTES)
    return parse_manifest(raw, described_as=descriptor.media_type)


def read_manifests(
    descriptors: Iterable[Descriptor], content: ContentStore
) -> list[Manifest | Index]:
    """Several, as `read_manifest` reads one."""
    return [read_manifest(descriptor, content) for descriptor in descriptors]


def describe(manifest: Manifest, content: ContentStore) -> HeldImage:
    """Read what there is to know of an image from its manifest and its config.

    An artifact, whose config is not an image's, has no platform, and its manifest's digest for an
    ID: many share one empty config.

    Raises:
        InvalidManifestError: the config cannot be understood.
    """
    id_ = manifest.digest
    platform = ("", "", "")
    created = ""
    labels: dict[str, str] = {}
    if manifest.has_image_config:
        id_ = manifest.config.digest
        config = _config(id_, content)
        # Docker takes an image that names no system for one of the daemon's own, which is this.
        os = config.platform.os or "linux"
        platform = (os, config.platform.architecture, config.platform.variant)
        created = config.created or ""
        labels = dict(config.labels)
    os, architecture, variant = platform
    return HeldImage(
        digest=str(manifest.digest),
        image_id=str(id_),
        media_type=manifest.media_type,
        os=os,
        architecture=architecture,
        variant=variant,
        created=created,
        size=sum(blob.size for blob in manifest.blobs),
        layers=len(manifest.layers),
        labels=labels,
    )


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer as the store holds it, and what it adds to the layers below."""

    blob: Descriptor
    diff_id: Digest
    chain_id: Digest


@dataclass(frozen=True, slots=True)
class Opened:
    """An image that was read: its manifest, its config, its layers from the bottom up.

    Of an artifact *config* is None. An attestation has a config, and no layers.
    """

    manifest: Manifest
    config: ImageConfig | None
    layers: tuple[Layer, ...]

    @property
    def pairs(self) -> list[Pair]:
        """Which stream each layer's blob holds, as the config has it."""
        return [Pair(str(layer.blob.digest), str(layer.diff_id)) for layer in self.layers]


def open_image(row: Row[Any], content: ContentStore) -> Opened:
    """Read the image of a row.

    Raises:
        BlobMissingError: the store has lost its manifest or its config.
    """
    descriptor = Descriptor(media_type=row.media_type, digest=Digest.parse(row.digest), size=0)
    manifest = read_manifest(descriptor, content)
    if isinstance(manifest, Index):
        raise InvalidManifestError("an index is not an image", subject=row.digest)
    return opened(manifest, content)


def open_base(digest: str, content: ContentStore) -> Opened:
    """Read the image with the manifest *digest* that a workspace stands on, which may have no row.

    Raises:
        BlobMissingError: the store has lost its manifest or its config.
        InvalidManifestError: see `opened`.
    """
    manifest = parse_manifest(content.read(Digest.parse(digest), max_bytes=MAX_MANIFEST_BYTES))
    assert isinstance(manifest, Manifest)
    return opened(manifest, content)


def opened(manifest: Manifest, content: ContentStore) -> Opened:
    """Read the config that belongs to *manifest*.

    Raises:
        BlobMissingError: the store has lost that.
        InvalidManifestError: it is no config, or one of an image with other layers; Docker pulls
            no such image either.
    """
    if not manifest.has_image_config:
        return Opened(manifest, None, ())
    config = _config(manifest.config.digest, content)
    if not manifest.has_image_layers:
        return Opened(manifest, config, ())
    if len(config.diff_ids) != len(manifest.layers):
        raise InvalidManifestError(
            f"the manifest has {len(manifest.layers)} layers, and the image's config "
            f"{len(config.diff_ids)} diff_ids",
            subject=str(manifest.digest),
        )
    layers = zip(manifest.layers, config.diff_ids, config.chain_ids(), strict=True)
    return Opened(manifest, config, tuple(Layer(*layer) for layer in layers))


def _config(digest: Digest, content: ContentStore) -> ImageConfig:
    return ImageConfig.parse(content.read(digest, max_bytes=MAX_CONFIG_BYTES))
