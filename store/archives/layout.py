"""OCI image layouts (image-spec, image-layout.md) as archives.

An index may be held in part: a child whose manifest or config is not there counts as absent. A
child that is there must be whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from transship.store.archives.archive import (
    ArchivedImage,
    ArchivedIndex,
    ArchivedLayer,
    Root,
    StoredLayer,
)
from transship.store.archives.checks import check_count, checked_layer, parsed_config
from transship.store.archives.documents import Documents
from transship.store.archives.members import Member, Members, shown
from transship.store.errors import ContentError, InvalidArchiveError, InvalidReferenceError
from transship.store.oci import mediatypes
from transship.store.oci.config import MAX_CONFIG_BYTES, ImageConfig
from transship.store.oci.descriptor import Descriptor
from transship.store.oci.digest import Digest
from transship.store.oci.manifest import MAX_MANIFEST_BYTES, Index, Manifest, parse_manifest
from transship.store.oci.reference import Reference, check_tag

MARKER = "oci-layout"
INDEX = "index.json"
FULL_NAME = "io.containerd.image.name"
REF_NAME = "org.opencontainers.image.ref.name"
_MAX_MARKER_BYTES = 64 * 1024
_DEEPEST = 4  # an index in an index is legal and rare; more than this is an attack

# Other layers (encrypted ones, say) are kept, but what they decompress to is not for us to know.
_VERIFIABLE = {
    mediatypes.OCI_LAYER, mediatypes.OCI_LAYER_GZIP, mediatypes.OCI_LAYER_ZSTD,
    mediatypes.DOCKER_LAYER, mediatypes.DOCKER_LAYER_GZIP, f"{mediatypes.DOCKER_LAYER}.zstd",
}  # fmt: skip


def blob_path(digest: Digest) -> str:
    """Where a layout keeps a blob."""
    return f"blobs/{digest.algorithm}/{digest.hex}"


def read_layout(
    members: Members, documents: Documents, *, repository: Reference | None
) -> tuple[Root, ...]:
    """What `index.json` names, in its order, with the names that it gives.

    Raises:
        InvalidArchiveError: this is no layout of version 1, or what it names does not hold
            together.
    """
    _check_marker(members, documents)
    member = members.file(INDEX)
    if member is None:
        raise InvalidArchiveError("the archive does not hold it", subject=INDEX)
    raw = documents.raw(INDEX, member, max_bytes=MAX_MANIFEST_BYTES)
    try:
        index = parse_manifest(raw, mediatypes.OCI_INDEX)
    except ContentError as error:
        raise InvalidArchiveError(str(error), subject=INDEX) from None
    assert isinstance(index, Index)
    reader = _Reader(members, documents)
    roots: dict[Digest, Root] = {}
    for descriptor in index.manifests:
        if descriptor.media_type not in mediatypes.MANIFEST_TYPES:
            continue
        root = roots.get(descriptor.digest) or reader.read(descriptor, depth=1)
        if root is None:
            raise InvalidArchiveError(
                "index.json names it, and the archive does not hold it in whole",
                subject=blob_path(descriptor.digest),
            )
        name = _name(descriptor.annotations, repository)
        names = dict.fromkeys((*root.names, *((name,) if name else ())))
        roots[descriptor.digest] = replace(root, names=tuple(names))
    return tuple(roots.values())


def _check_marker(members: Members, documents: Documents) -> None:
    member = members.file(MARKER)
    assert member is not None
    marker = documents.json(MARKER, member, max_bytes=_MAX_MARKER_BYTES)
    version = marker.get("imageLayoutVersion") if isinstance(marker, dict) else None
    if not isinstance(version, str) or not version.startswith("1."):
        raise InvalidArchiveError(f"the layout's version is {version!r:.40}", subject=MARKER)


def _name(annotations: Mapping[str, str], repository: Reference | None) -> Reference | None:
    """The full name that the annotations give; a tag alone is one only below a *repository*.

    Beside a full name the other annotation is its tag. Where it is another tag, a program that
    knows only the one has changed it, and copied the other along (umoci does).
    """
    full = _full_name(annotations.get(FULL_NAME, "")) or _full_name(annotations.get(REF_NAME, ""))
    above = full or repository
    try:
        tag = check_tag(annotations.get(REF_NAME, ""))
    except InvalidReferenceError:
        return full
    return None if above is None else above.with_tag(tag)


def _full_name(text: str) -> Reference | None:
    try:
        reference = Reference.parse(text)
    except InvalidReferenceError:
        return None
    return reference if reference.tag is not None and reference.digest is None else None


class _Reader:
    """Follows descriptors; each document is read once, however often it is named."""

    def __init__(self, members: Members, documents: Documents) -> None:
        self._members, self._documents = members, documents
        self._read: dict[Digest, Root | None] = {}

    def read(self, descriptor: Descriptor, *, depth: int) -> Root | None:
        """What *descriptor* names; None where the archive does not hold it."""
        if depth > _DEEPEST:
            raise InvalidArchiveError(
                f"indexes are nested more than {_DEEPEST} deep",
                subject=blob_path(descriptor.digest),
            )
        if descriptor.digest not in self._read:
            self._read[descriptor.digest] = self._understand(descriptor, depth)
        return self._read[descriptor.digest]

    def _understand(self, descriptor: Descriptor, depth: int) -> Root | None:
        member = self._blob(descriptor)
        if member is None:
            return None
        path = blob_path(descriptor.digest)
        raw = self._documents.raw(path, member, max_bytes=MAX_MANIFEST_BYTES)
        try:
            document = parse_manifest(raw, descriptor.media_type)
        except ContentError as error:
            raise InvalidArchiveError(str(error), subject=path) from None
        if isinstance(document, Manifest):
            return self._image(document)
        return self._index(document, depth)

    def _index(self, index: Index, depth: int) -> ArchivedIndex | None:
        children: list[Root] = []
        absent: list[Descriptor] = []
        for descriptor in index.manifests:
            known = descriptor.media_type in mediatypes.MANIFEST_TYPES
            child = self.read(descriptor, depth=depth + 1) if known else None
            if child is None:
                absent.append(descriptor)
            else:
                children.append(child)
        if absent and not children:
            return None
        return ArchivedIndex(index=index, children=tuple(children), absent=tuple(absent))

    def _image(self, manifest: Manifest) -> ArchivedImage | None:
        member = self._blob(manifest.config)
        if member is None:
            return None
        config = None
        if manifest.has_image_config:
            path = blob_path(manifest.config.digest)
            raw = self._documents.raw(path, member, max_bytes=MAX_CONFIG_BYTES)
            config = parsed_config(path, raw)
        return ArchivedImage(
            config=config, layers=self._layers(manifest, config), manifest=manifest
        )

    def _layers(self, manifest: Manifest, config: ImageConfig | None) -> tuple[ArchivedLayer, ...]:
        # An attestation has an image's config too, and layers that are none.
        if config is None or not manifest.has_image_layers:
            return tuple(ArchivedLayer(None, self._stored(layer)) for layer in manifest.layers)
        check_count(blob_path(manifest.digest), config, len(manifest.layers))
        return tuple(
            self._layer(layer, diff_id)
            for layer, diff_id in zip(manifest.layers, config.diff_ids, strict=True)
        )

    def _layer(self, descriptor: Descriptor, diff_id: Digest) -> ArchivedLayer:
        member = self._blob(descriptor)
        if member is None or descriptor.media_type not in _VERIFIABLE:
            return ArchivedLayer(diff_id, self._stored(descriptor))
        path = blob_path(descriptor.digest)
        blob = checked_layer(path, member, diff_id)
        if not blob.can_be_named:
            raise InvalidArchiveError(
                f"no image has layers compressed by {blob.compression}", subject=shown(path)
            )
        return ArchivedLayer(diff_id, blob)

    def _stored(self, descriptor: Descriptor) -> StoredLayer | None:
        member = self._blob(descriptor)
        if member is None:
            return None
        return StoredLayer(member.digest, member.size, member.compression)

    def _blob(self, descriptor: Descriptor) -> Member | None:
        path = blob_path(descriptor.digest)
        member = self._members.file(path)
        if member is not None and member.size != descriptor.size:
            raise InvalidArchiveError(
                f"has {member.size} bytes, its descriptor says {descriptor.size}",
                subject=shown(path),
            )
        return member
