"""What an archive holds: values, found out by reading and checked against each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from transship.store.archives.manifests import made
from transship.store.errors import InvalidArchiveError
from transship.store.layers.codecs.formats import Compression
from transship.store.oci.config import ImageConfig
from transship.store.oci.descriptor import Descriptor
from transship.store.oci.digest import Digest
from transship.store.oci.manifest import Index, Manifest
from transship.store.oci.reference import Reference

_NAMED = (Compression.NONE, Compression.GZIP, Compression.ZSTD)


@dataclass(frozen=True, slots=True)
class StoredLayer:
    """A layer's blob: as it is stored, which need not be as its media type says."""

    digest: Digest
    size: int
    compression: Compression

    @property
    def can_be_named(self) -> bool:
        """Whether a media type says that a layer is compressed so."""
        return self.compression in _NAMED


@dataclass(frozen=True, slots=True)
class ArchivedLayer:
    """One layer of an image.

    *diff_id* is what the config says, and was checked where *blob* is there; None in an artifact,
    and where the bytes cannot be understood (encrypted ones, say). Without *blob* the archive does
    not hold the layer.
    """

    diff_id: Digest | None
    blob: StoredLayer | None


def manifest_of(config: ImageConfig, layers: Iterable[ArchivedLayer]) -> Manifest | None:
    """The manifest of an image that comes without one; None where it is to be completed."""
    blobs = []
    for layer in layers:
        if layer.blob is None or not layer.blob.can_be_named:
            return None
        blobs.append((layer.blob.digest, layer.blob.size, layer.blob.compression))
    return made(config.raw, blobs)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedImage:
    """An image, or with no *config* an artifact.

    *manifest* is as the archive has it, or made of config and layers where it has none; None
    where it has none and a layer is missing, or cannot be kept as it is: see `complete`.
    *parent* is the ID of another image of the archive.
    """

    config: ImageConfig | None
    layers: tuple[ArchivedLayer, ...]
    manifest: Manifest | None
    names: tuple[Reference, ...] = ()
    parent: Digest | None = None

    @property
    def image_id(self) -> Digest | None:
        """The digest of its config; None for an artifact."""
        if self.config is None:
            return None
        return self.config.digest if self.manifest is None else self.manifest.config.digest

    @property
    def missing(self) -> tuple[Digest, ...]:
        """The diffIDs of layers that the archive does not hold, each once."""
        return tuple(
            dict.fromkeys(
                layer.diff_id
                for layer in self.layers
                if layer.blob is None and layer.diff_id is not None
            )
        )

    @property
    def unnamed(self) -> dict[Digest, StoredLayer]:
        """By diffID the layers that are compressed in a way for which there is no media type."""
        if self.manifest is not None:
            return {}
        return {
            layer.diff_id: layer.blob
            for layer in self.layers
            if layer.diff_id is not None and layer.blob is not None and not layer.blob.can_be_named
        }

    def complete(self, found: Mapping[Digest, StoredLayer]) -> Manifest:
        """The manifest; *found* says by diffID where the layers are that the archive lacks.

        The same goes for those that no manifest can name: see `unnamed`.

        Raises:
            InvalidArchiveError: one of them is not in *found*.
        """
        if self.manifest is not None:
            return self.manifest
        assert self.config is not None, "an artifact comes with its manifest"
        blobs = []
        for layer in self.layers:
            blob = layer.blob
            if blob is None or not blob.can_be_named:
                blob = found.get(layer.diff_id) if layer.diff_id else None
            if blob is None:
                raise InvalidArchiveError(
                    "the archive does not hold this layer", subject=str(layer.diff_id)
                )
            blobs.append((blob.digest, blob.size, blob.compression))
        return made(self.config.raw, blobs)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedIndex:
    """An index, byte for byte, with those of its children that the archive holds, in its order.

    *absent* are the children of which it holds nothing.
    """

    index: Index
    children: tuple[ArchivedImage | ArchivedIndex, ...]
    absent: tuple[Descriptor, ...]
    names: tuple[Reference, ...] = ()


Root = ArchivedImage | ArchivedIndex


@dataclass(frozen=True, slots=True)
class Archive:
    """What the archive's own lists name, in their order. A name belongs to one root only."""

    roots: tuple[Root, ...]

    @property
    def images(self) -> tuple[ArchivedImage, ...]:
        """Every image and artifact, those of indexes too, each once."""
        return tuple(one for one in descend(self.roots) if isinstance(one, ArchivedImage))

    @property
    def indexes(self) -> tuple[ArchivedIndex, ...]:
        """Every index, each once, children before the index that names them."""
        return tuple(one for one in descend(self.roots) if isinstance(one, ArchivedIndex))


def descend(roots: Iterable[Root]) -> Iterator[Root]:
    """Yield *roots* and all below them, each once, children first."""
    seen: set[int] = set()  # one object may stand in a thousand places of a few hostile indexes

    def walk(root: Root) -> Iterator[Root]:
        if id(root) in seen:
            return
        seen.add(id(root))
        for child in root.children if isinstance(root, ArchivedIndex) else ():
            yield from walk(child)
        yield root

    for root in roots:
        yield from walk(root)
