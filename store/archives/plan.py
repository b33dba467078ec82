"""What an archive will hold: every file of it, its size, and where its bytes come from.

Both formats are OCI layouts. `docker` adds `manifest.json`, which points at the same blobs, as
Docker since 25 does; manifests stay byte for byte, so that an image that is saved and loaded keeps
its digest. `oci` is for those who read nothing but OCI's media types: Docker's are mapped, configs
and layers stay as they are, and the manifests have other digests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from transship.store.archives import layout, manifests
from transship.store.archives.listing import Loadable, Saved, listings
from transship.store.content.ports import ContentStore
from transship.store.errors import (
    BlobMissingError,
    DigestMismatchError,
    InvalidManifestError,
    PlatformNotFoundError,
    Side,
    SizeMismatchError,
)
from transship.store.layers.codecs.formats import HEAD_BYTES, Compression, detect, open_reader
from transship.store.layers.diffids import measure
from transship.store.oci import mediatypes
from transship.store.oci.config import MAX_CONFIG_BYTES, ImageConfig
from transship.store.oci.descriptor import Descriptor
from transship.store.oci.digest import Digest
from transship.store.oci.manifest import MAX_MANIFEST_BYTES, Index, Manifest, parse_manifest
from transship.store.oci.platform import Platform, select
from transship.store.oci.reference import Reference


class ArchiveFormat(StrEnum):
    """Who is to read the archive: Docker of any age, or whoever reads OCI layouts."""

    DOCKER = "docker"
    OCI = "oci"


@dataclass(frozen=True, slots=True)
class SavedImage:
    """What to save: a manifest or index, the names (with tags) to save it under, its parent's ID.

    The parent is written down only if it is saved too.
    """

    digest: Digest
    media_type: str
    names: tuple[Reference, ...] = ()
    parent: Digest | None = None


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes of the store: the blob *stored*, or what it decompresses to, which is *digest*."""

    stored: Digest
    digest: Digest
    decompress: bool = False


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """One file of the archive."""

    path: str
    size: int
    source: bytes | Blob


@dataclass(frozen=True, slots=True)
class Plan:
    """An archive's files, sorted by path, and the digest under which it holds each image."""

    files: tuple[PlannedFile, ...]
    digests: Mapping[Digest, Digest]

    @property
    def directories(self) -> tuple[str, ...]:
        """The directories that the files need, parents first."""
        found = {"blobs"}
        found |= {file.path.rpartition("/")[0] for file in self.files if "/" in file.path}
        return tuple(sorted(found))


def lay_out(
    images: Sequence[SavedImage],
    content: ContentStore,
    *,
    format: ArchiveFormat = ArchiveFormat.DOCKER,  # noqa: A002
    platform: Platform | None = None,
    held: Callable[[Digest], bool] | None = None,
    check: Callable[[], None] = lambda: None,
) -> Plan:
    """Look at everything that *images* consist of and say what their archive holds.

    Args:
        images: What to save. Their order is of no matter; one that comes twice is saved once,
            under all its names.
        content: Where manifests and blobs are.
        format: Whom the archive is for.
        platform: Which child of an index Docker is to load; by default the one for this machine.
            Where there is but one image below it, that one.
        held: Whether the store holds a manifest; by default whether its bytes are there. Children
            of an index that are not held are left out, and the index stays as it is.
        check: Called now and then; what it raises is passed on.

    Raises:
        BlobMissingError: the store lacks something of an image.
        InvalidManifestError: an image's layers are not as many as its config has diffIDs.
        PlatformNotFoundError: an index for Docker has several images, and none for *platform*.
        RequestError: there are more names than an index can hold.
    """
    planner = _Planner(
        content,
        format,
        platform or Platform.host(),
        held or (lambda digest: content.size(digest) is not None),
        check,
    )
    grouped = _grouped(images)
    saved = [planner.add(image) for image in grouped]
    for path, raw in listings(saved, for_docker=format is ArchiveFormat.DOCKER).items():
        planner.put(path, raw)
    return Plan(
        files=tuple(planner.files[path] for path in sorted(planner.files)),
        digests={image.digest: one.root.digest for image, one in zip(grouped, saved, strict=True)},
    )


def _grouped(images: Iterable[SavedImage]) -> list[SavedImage]:
    """Each image once, in an order of their own: by name, then by digest."""
    unique: dict[Digest, SavedImage] = {}
    for image in images:
        known = unique.setdefault(image.digest, image)
        unique[image.digest] = replace(
            known,
            names=tuple(sorted({*known.names, *image.names}, key=str)),
            parent=known.parent or image.parent,
        )
    return sorted(unique.values(), key=lambda one: ([str(n) for n in one.names], one.digest))


_Image = tuple[Descriptor, Manifest, ImageConfig]


@dataclass(slots=True)
class _Planner:
    """Collects the files of one image after the other."""

    content: ContentStore
    format: ArchiveFormat
    platform: Platform
    is_held: Callable[[Digest], bool]
    check: Callable[[], None]
    files: dict[str, PlannedFile] = field(default_factory=dict)

    def add(self, image: SavedImage) -> Saved:
        """Plan *image*, and say how the archive will hold it."""
        root = self._read(image.digest, image.media_type)
        images = list(self._images(root, None, set()))
        platform = images[0][2].platform if images and isinstance(root, Manifest) else None
        if self.format is ArchiveFormat.OCI:
            return Saved(image.names, self._save(root, self._as_oci, {}), platform)
        if not images:
            return Saved(image.names, self._save(root, _same, {}), platform)
        manifest, config = self._choose(root, images)
        changed = self._for_docker(manifest, config)
        saved = self._save(root, lambda one: changed if one.digest == manifest.digest else one, {})
        return Saved(image.names, saved, platform, Loadable(changed, config, image.parent))

    def put(self, path: str, raw: bytes) -> None:
        """Plan a file that is made here."""
        self.files[path] = PlannedFile(path, len(raw), raw)

    def _save(
        self,
        one: Manifest | Index,
        change: Callable[[Manifest], Manifest],
        done: dict[Digest, Manifest | Index],
    ) -> Manifest | Index:
        """Plan the files of what *one* becomes by *change*, and return that; each once."""
        if (known := done.get(one.digest)) is not None:
            return known
        self.check()
        if isinstance(one, Index):
            changed: Manifest | Index = self._index_of(
                one, {d.digest: self._save(child, change, done) for d, child in self._children(one)}
            )
        else:
            changed = change(one)
            for blob in changed.blobs:
                self._blob(blob)
        self.put(layout.blob_path(changed.digest), changed.raw)
        done[one.digest] = changed
        return changed

    def _index_of(self, index: Index, children: Mapping[Digest, Manifest | Index]) -> Index:
        mapped = self.format is ArchiveFormat.OCI and index.media_type != mediatypes.OCI_INDEX
        if mapped or any(digest != child.digest for digest, child in children.items()):
            return manifests.index_of_others(index, children)
        return index

    def _blob(self, descriptor: Descriptor) -> None:
        path = layout.blob_path(descriptor.digest)
        if path in self.files:  # a decompressed layer, too
            return
        size = self.content.size(descriptor.digest)
        if size is None and mediatypes.is_nondistributable(descriptor.media_type):
            return
        if size is None:
            raise BlobMissingError("the store does not hold it", subject=str(descriptor.digest))
        if size != descriptor.size:
            raise SizeMismatchError(
                subject=str(descriptor.digest), expected=descriptor.size, actual=size
            ).at(Side.STORE)
        blob = Blob(descriptor.digest, descriptor.digest)
        self.files[path] = PlannedFile(path, size, blob)

    def _children(self, index: Index) -> Iterator[tuple[Descriptor, Manifest | Index]]:
        for descriptor in index.manifests:
            known = descriptor.media_type in mediatypes.MANIFEST_TYPES
            if known and self.is_held(descriptor.digest):
                yield descriptor, self._read(descriptor.digest, descriptor.media_type)

    def _read(self, digest: Digest, media_type: str) -> Manifest | Index:
        return parse_manifest(self.content.read(digest, max_bytes=MAX_MANIFEST_BYTES), media_type)

    # --- for readers of OCI ---

    def _as_oci(self, manifest: Manifest) -> Manifest:
        return manifests.as_oci(manifest, self._compression)

    def _compression(self, digest: Digest) -> Compression | None:
        try:
            with self.content.open(digest) as file:
                return detect(file.read(HEAD_BYTES))
        except BlobMissingError:  # not for distribution, and not here
            return None

    # --- for Docker ---

    def _choose(
        self, root: Manifest | Index, images: Sequence[_Image]
    ) -> tuple[Manifest, ImageConfig]:
        """The image that Docker is to load of *root*."""
        if len(images) == 1:
            return images[0][1:]
        wanted = select([descriptor for descriptor, _, _ in images], self.platform)
        if wanted is None:
            raise PlatformNotFoundError(
                f"holds several images, and none for {self.platform}",
                subject=str(root.digest),
                hint="name a platform, or save it in the format oci",
                side=Side.STORE,
            )
        return next(image[1:] for image in images if image[0] is wanted)

    def _images(
        self, one: Manifest | Index, named: Descriptor | None, seen: set[Digest]
    ) -> Iterator[_Image]:
        """The images of *one*, each with how it is named; attestations and artifacts are none."""
        if one.digest in seen:
            return
        seen.add(one.digest)
        if isinstance(one, Index):
            for descriptor, child in self._children(one):
                yield from self._images(child, descriptor, seen)
            return
        if not one.has_image_layers or not one.has_image_config:
            return
        config = ImageConfig.parse(self.content.read(one.config.digest, max_bytes=MAX_CONFIG_BYTES))
        platform = (named and named.platform) or config.platform
        if platform.os == "unknown":
            return
        yield replace(one.descriptor, platform=platform), one, config

    def _for_docker(self, manifest: Manifest, config: ImageConfig) -> Manifest:
        """*manifest*, with its layers decompressed where Docker before 23 could not."""
        if len(manifest.layers) != len(config.diff_ids):
            raise InvalidManifestError(
                f"{len(manifest.layers)} layers, and {len(config.diff_ids)} diffIDs in the config",
                subject=str(manifest.digest),
            ).at(Side.STORE)
        plain: dict[Digest, tuple[Digest, int]] = {}
        for layer, diff_id in zip(manifest.layers, config.diff_ids, strict=True):
            if layer.digest not in plain and self._compression(layer.digest) is Compression.ZSTD:
                size = self._decompressed_size(layer.digest, diff_id)
                plain[layer.digest] = diff_id, size
                path = layout.blob_path(diff_id)
                blob = Blob(layer.digest, diff_id, decompress=True)
                self.files.setdefault(path, PlannedFile(path, size, blob))
        if not plain:
            return manifest
        return manifests.with_plain_layers(self._as_oci(manifest), plain)

    def _decompressed_size(self, digest: Digest, diff_id: Digest) -> int:
        with self.content.open(digest) as file, open_reader(file, subject=str(digest)) as reader:
            found = measure(reader, check=self.check)
        if found.diff_id != diff_id:
            raise DigestMismatchError(expected=str(diff_id), actual=str(found.diff_id)).at(
                Side.STORE
            )
        return found.size


def _same(manifest: Manifest) -> Manifest:
    return manifest
