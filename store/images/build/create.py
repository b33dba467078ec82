"""An image of a config that is given, over layers that are here: Docker's CreateImage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, select

from transship.store.archives.manifests import made as manifest_of
from transship.store.catalog.content import blobs, lineage
from transship.store.catalog.content.layers import Pair, record
from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.db.schema import blobs as blob_rows
from transship.store.catalog.db.schema import layers as layer_rows
from transship.store.content.ports import ContentStore
from transship.store.content.present import ensure_present
from transship.store.errors import (
    BlobMissingError,
    ConflictError,
    ContentError,
    InvalidManifestError,
    InvalidSpecError,
    NotFoundError,
    Side,
)
from transship.store.images.edit.publish import Made, made, publish
from transship.store.images.view.resolve import find
from transship.store.images.view.view import ImageView
from transship.store.layers.codecs.formats import HEAD_BYTES, Compression, detect, open_reader
from transship.store.layers.diffids import measure
from transship.store.oci.config import ImageConfig
from transship.store.oci.digest import Digest
from transship.store.oci.manifest import Manifest

_LAYERS: Final = (Compression.NONE, Compression.GZIP, Compression.ZSTD)  # what manifests know


@dataclass(frozen=True, slots=True)
class Created:
    """An image that is here now: its ID, and the digest of its manifest."""

    image_id: str
    digest: str


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A blob that may hold a layer's stream; *verified*: it was seen to."""

    digest: Digest
    verified: bool


class Creation:
    """Makes images of configs."""

    def __init__(self, catalog: Catalog, content: ContentStore, *, shared_trust: bool) -> None:
        """Use what *catalog* and *content* hold.

        A config names its layers by what they contain. With *shared_trust* any blob here will do;
        else only one that an image of the tenant has: what others have, or what is on its way for a
        job, is not to be had by guessing.
        """
        self._catalog = catalog
        self._content = content
        self._shared_trust = shared_trust

    def create(
        self,
        tenant: str,
        raw: bytes,
        *,
        holder: str,
        now: float,
        parent: str | None = None,
    ) -> Created:
        """Store *raw*, byte for byte, as the config of an image without a name.

        The same bytes again give the same image. What a config of others claims of a layer is
        checked once, by reading the layer.

        Args:
            tenant: Whose the image is to be.
            raw: The config.
            holder: Under which new blobs are leased until the image is there.
            now: The time.
            parent: What stands for the image that it is a child of.

        Raises:
            InvalidSpecError: it is no config, or has more steps with a layer than layers.
            NotFoundError: a layer, or the parent, is not here.
            ConflictError: the parent was made from this image.
        """
        config = _parse(raw)
        with self._catalog.read() as connection:
            parent_id = None if parent is None else find(connection, tenant, parent).local.id
            id_ = str(config.digest)
            before = ImageView.of_id(connection, tenant, id_).image(id_)
        if before is not None and before.manifest is not None:
            with self._catalog.write() as connection:
                if parent_id is not None:
                    adopt(connection, tenant, id_, parent_id)
            return Created(id_, str(before.manifest.digest))
        layers = [self._layer(tenant, diff_id) for diff_id in config.diff_ids]
        manifest = manifest_of(raw, layers)
        self._content.put(raw)
        self._content.put(manifest.raw)
        new = made([manifest], self._content)
        with self._catalog.write() as connection:
            publish_at_once(connection, tenant, new, holder=holder, now=now)
            if parent_id is not None:
                adopt(connection, tenant, id_, parent_id)
        ensure_present(self._content, (config.digest, manifest.digest))
        return Created(id_, str(manifest.digest))

    def _layer(self, tenant: str, diff_id: Digest) -> tuple[Digest, int, Compression]:
        """The blob to take for a layer, its size and its compression."""
        with self._catalog.read() as connection:
            candidates = self._candidates(connection, tenant, diff_id)
        for candidate in candidates:
            if not candidate.verified and not self._verify(candidate.digest, diff_id):
                continue
            size = self._content.size(candidate.digest)
            if size is None:
                continue
            with self._content.open(candidate.digest) as file:
                compression = detect(file.read(HEAD_BYTES))
            if compression in _LAYERS:
                return candidate.digest, size, compression
        raise NotFoundError(
            "no image here has a layer that holds this",
            subject=str(diff_id),
            hint="pull or load an image that has it",
            side=Side.STORE,
        )

    def _candidates(
        self, connection: Connection, tenant: str, diff_id: Digest
    ) -> Sequence[_Candidate]:
        query = (
            select(layer_rows.c.digest, layer_rows.c.verified)
            .join(blob_rows, blob_rows.c.digest == layer_rows.c.digest)
            .where(layer_rows.c.diff_id == str(diff_id))
            .order_by(layer_rows.c.verified.desc(), layer_rows.c.digest)
        )
        return [
            _Candidate(Digest.parse(row[0]), row[1])
            for row in connection.execute(query)
            if self._shared_trust or _is_in_an_image(connection, tenant, row[0])
        ]

    def _verify(self, digest: Digest, diff_id: Digest) -> bool:
        """Whether the blob holds the stream that a config says it does."""
        try:
            with self._content.open(digest) as file, open_reader(file) as plain:
                measured = measure(plain)
        except (BlobMissingError, ContentError):
            return False
        if measured.diff_id != diff_id:
            return False
        with self._catalog.write() as connection:
            record(connection, [Pair(str(digest), str(diff_id), measured.size)], verified=True)
        return True


def _is_in_an_image(connection: Connection, tenant: str, layer: str) -> bool:
    """Whether an image of the tenant has it."""
    parents = {parent for parent, _ in blobs.links(connection, children=[layer])}
    return not parents.isdisjoint(ImageView.around(connection, tenant, parents).rows)


def publish_at_once(
    connection: Connection, tenant: str, new: Made, *, holder: str, now: float
) -> None:
    """Let *new*, which has no names and no job, be there, over layers that are held already.

    Raises:
        ConflictError: one of them was collected meanwhile.
    """
    below = {
        str(layer.digest)
        for one in new.manifests
        if isinstance(one, Manifest)
        for layer in one.layers
    }
    blobs.lease(connection, holder, below)
    gone = below - blobs.held(connection, below, now)
    if gone:
        raise ConflictError(
            "a layer was collected just now", subject=min(gone), hint="try again", side=Side.STORE
        )
    publish(connection, tenant, new, holder=holder, seq=0, now=now)
    blobs.release(connection, holder)


def adopt(connection: Connection, tenant: str, image_id: str, parent: str) -> None:
    """Let *image_id* be a child of *parent*.

    Raises:
        ConflictError: *parent* was made from it.
    """
    if image_id in line(connection, tenant, parent):
        raise ConflictError("its parent was made from it", subject=image_id, side=Side.STORE)
    lineage.set_parent(connection, tenant, image_id, parent)


def line(connection: Connection, tenant: str, image_id: str) -> set[str]:
    """The image, and what it was made from, as far back as that is known."""
    found = {image_id}
    while (known := lineage.get(connection, tenant, image_id)) is not None and known.parent:
        if known.parent in found:
            break
        image_id = str(known.parent)
        found.add(image_id)
    return found


def _parse(raw: bytes) -> ImageConfig:
    try:
        config = ImageConfig.parse(raw)
    except InvalidManifestError as error:
        raise _wrong(error.detail) from error
    with_layer = sum(step.get("empty_layer") is not True for step in config.history)
    if with_layer > len(config.diff_ids):
        raise _wrong(
            f"its history has {with_layer} steps with a layer, its rootfs {len(config.diff_ids)}"
        )
    return config


def _wrong(message: str) -> InvalidSpecError:
    return InvalidSpecError(message, errors=[{"field": "config", "message": message}])
