"""Makes images visible that came about here: loaded, imported, squashed, committed.

All of it becomes visible in one transaction, or nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from transship.store.catalog.access import tenants
from transship.store.catalog.content import blobs, layers, lineage, references
from transship.store.catalog.content.layers import Pair
from transship.store.catalog.content.references import HeldImage
from transship.store.content.ports import ContentStore
from transship.store.errors import BlobMissingError
from transship.store.images.edit.records import happened
from transship.store.images.view.local_content import describe, opened
from transship.store.images.view.view import lead
from transship.store.oci import mediatypes
from transship.store.oci.digest import Digest
from transship.store.oci.manifest import Index, Manifest
from transship.store.oci.platform import Platform
from transship.store.oci.reference import Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A root that came about here.

    Attributes:
        manifests: Everything of it that is held, children before what names them, the root last.
        names: What is to stand for the root, with tags.
        parents: By an image's ID, the image that it was made from here.
        sizes: Of its blobs, those that the store holds.
        images: What there is to know of each image.
        pairs: Blob and diffID of each layer; those that were computed from the bytes are in
            *verified*.
    """

    manifests: tuple[Manifest | Index, ...]
    names: tuple[Reference, ...]
    parents: Mapping[str, str]
    sizes: Mapping[str, int]
    images: tuple[HeldImage, ...]
    pairs: tuple[Pair, ...]
    verified: tuple[Pair, ...]

    @property
    def root(self) -> Manifest | Index:
        """What the names stand for."""
        return self.manifests[-1]

    @property
    def digests(self) -> set[str]:
        """Everything that it consists of and that is held."""
        return {str(manifest.digest) for manifest in self.manifests} | set(self.sizes)


@dataclass(slots=True)
class Published:
    """What became of a root: *image_id* is that of the image that answers for it.

    *moved* are names that stood for another image until now; *superseded* those that something
    newer has written, with the id of that job, or '' where that is not on record.
    """

    digest: str
    image_id: str
    names: list[Reference]
    moved: list[Reference] = field(default_factory=list)
    superseded: dict[str, str] = field(default_factory=dict)


def made(
    manifests: Sequence[Manifest | Index],
    content: ContentStore,
    *,
    names: Iterable[Reference] = (),
    parents: Mapping[str, str] | None = None,
    verified: Iterable[Pair] = (),
) -> Made:
    """Read what there is to know of *manifests*, of which the last is the root.

    The caller has leased all that they consist of; the manifests themselves are in the store.

    Raises:
        BlobMissingError: the store does not hold a part that it should.
        InvalidManifestError: a config cannot be understood.
    """
    images = [one for one in manifests if isinstance(one, Manifest)]
    sizes: dict[str, int] = {}
    for blob in (blob for image in images for blob in image.blobs):
        if (size := _size(blob.digest, content)) is not None:
            sizes[str(blob.digest)] = size
        elif not mediatypes.is_nondistributable(blob.media_type):
            raise BlobMissingError("the store does not hold it", subject=str(blob.digest))
    return Made(
        manifests=tuple(manifests),
        names=tuple(names),
        parents=parents or {},
        sizes=sizes,
        images=tuple(describe(image, content) for image in images),
        pairs=tuple(pair for image in images for pair in opened(image, content).pairs),
        verified=tuple(verified),
    )


def publish(
    connection: Connection,
    tenant: str,
    new: Made,
    *,
    holder: str,
    seq: int,
    now: float,
    action: str | None = None,
    tags: bool = False,
) -> Published:
    """Let *new* be there, and its names stand for it.

    Args:
        connection: Its transaction makes all of it true at once.
        tenant: Whose it is.
        new: What is to be there.
        holder: Who leases its parts, and goes on to.
        seq: Of the job; a name that a newer one has written stays as it is.
        now: The time.
        action: The event to record of the image that answers for the root, if any.
        tags: Giving a name is an event too, and a time to remember, as with `tag`.
    """
    root = new.root
    blobs.lease(connection, holder, new.digests)
    held = {**new.sizes, **{str(one.digest): len(one.raw) for one in new.manifests}}
    blobs.add(connection, held, now)
    for manifest in new.manifests:
        below = manifest.manifests if isinstance(manifest, Index) else manifest.blobs
        children = dict.fromkeys(str(one.digest) for one in below)
        blobs.link(connection, str(manifest.digest), (one for one in children if one in held))
    for image in new.images:
        references.add_image(connection, image)
    layers.record(connection, new.pairs, verified=False)
    layers.record(connection, new.verified, verified=True)
    for image_id, parent in new.parents.items():
        lineage.set_parent(connection, tenant, image_id, parent)
    tenants.hold(connection, tenant, (str(one.digest) for one in new.manifests))
    leading = lead(references.images_under(connection, str(root.digest)), Platform.host())
    image_id = str(root.digest) if leading is None else str(leading.image_id)
    published = Published(str(root.digest), image_id, [])
    for name in new.names:
        stood_for = _image_of(connection, tenant, str(name))
        newer = references.publish(
            connection, tenant, str(name), str(root.digest), root.media_type, seq=seq, now=now
        )
        if newer is not None:
            published.superseded[str(name)] = newer
            continue
        published.names.append(name)
        if stood_for not in (None, image_id):
            published.moved.append(name)
        if tags:
            lineage.tagged(connection, tenant, image_id, now)
            named = name.familiar
            happened(connection, tenant, "tag", image_id, name=named, now=now, image=leading)
    if action is not None:
        happened(connection, tenant, action, image_id, name=image_id, now=now, image=leading)
    return published


def _image_of(connection: Connection, tenant: str, name: str) -> str | None:
    """The ID of the image that the tenant's own *name* stands for; None where it has none."""
    row = references.own(connection, tenant, name)
    if row is None:
        return None
    leading = lead(references.images_under(connection, row.digest), Platform.host())
    return str(row.digest) if leading is None else str(leading.image_id)


def _size(digest: Digest, content: ContentStore) -> int | None:
    """How long a blob is; a collection that was late may have moved it to the trash."""
    size = content.size(digest)
    if size is None and content.restore(digest):
        return content.size(digest)
    return size
