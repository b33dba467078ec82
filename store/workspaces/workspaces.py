"""Workspaces over images: Docker's CreateLayer and GetLayerByID.

What is in one is its base's layers with its own on top of them, read as tars; nothing is unpacked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection

from transship.store.catalog.content import blobs, workspaces
from transship.store.catalog.content.workspaces import Workspace
from transship.store.content.ports import ContentStore
from transship.store.errors import InvalidManifestError, NotFoundError, RequestError, Side
from transship.store.images.view.local_content import Opened, open_base
from transship.store.images.view.resolve import Found, find
from transship.store.layers.sources import LayerSource, blob_source
from transship.store.oci.digest import Digest
from transship.store.oci.platform import Platform


def create(
    connection: Connection,
    tenant: str,
    name: str,
    reference: str | None,
    *,
    busy: bool,
    now: float,
    platform: Platform | None = None,
    host: Platform | None = None,
) -> Workspace:
    """Make a workspace over the image that *reference* stands for, or an empty one.

    It keeps the image's layers, whatever becomes of its names. Of an index it is the image for
    *platform*, by default the host's.

    Raises:
        NotFoundError: there is no such image; OtherPlatformError: not for *platform*.
        RequestError: it is not the image of a file system.
        ConflictError: there is a workspace of that name.
    """
    base = None
    if reference is not None:
        before = find(connection, tenant, reference, platform=platform, host=host)
        blobs.lock(connection, [_image(before, reference)])
        found = find(connection, tenant, reference, platform=platform, host=host)
        base = _image(found, reference)
    return workspaces.create(
        connection, tenant, name, base=base, reference=reference, busy=busy, now=now
    )


def _image(found: Found, reference: str) -> str:
    if found.image is None:
        raise NotFoundError(
            "no image is held of this index",
            subject=reference,
            hint="pull it again",
            side=Side.STORE,
        )
    if not found.image.os:
        raise RequestError("it is an artifact, and has no file system", subject=reference)
    return str(found.image.digest)


@dataclass(frozen=True, slots=True)
class Ground:
    """What a workspace is made of.

    Attributes:
        base: The image below; None where the workspace began empty.
        own: The digests of what was put into it, the lowest first.
    """

    base: Opened | None
    own: tuple[Digest, ...]

    @property
    def image_id(self) -> str | None:
        """The ID of the image below."""
        if self.base is None:
            return None
        return str(self.base.manifest.config.digest)

    def below(self, content: ContentStore) -> list[LayerSource]:
        """The layers of the base, to be read."""
        if self.base is None:
            return []
        return sources((layer.digest for layer in self.base.manifest.layers), content)

    def above(self, content: ContentStore) -> list[LayerSource]:
        """The layers that were put into it, to be read."""
        return sources(self.own, content)

    def whole(self, content: ContentStore) -> list[LayerSource]:
        """All layers, to be read."""
        return [*self.below(content), *self.above(content)]


def ground(base: str | None, own: Iterable[str], content: ContentStore) -> Ground:
    """Read what a workspace with the manifest *base* and the layers *own* is made of.

    Raises:
        BlobMissingError: the store has lost the manifest or the config.
        InvalidManifestError: its layers are not as many as its config has diffIDs.
    """
    layers = tuple(Digest.parse(one) for one in own)
    if base is None:
        return Ground(None, layers)
    image = open_base(base, content)
    if image.config is None or len(image.layers) != len(image.manifest.layers):
        raise InvalidManifestError("its config does not describe its layers", subject=base)
    return Ground(image, layers)


def sources(digests: Iterable[Digest], content: ContentStore) -> list[LayerSource]:
    """Layers of the store, to be read."""
    return [blob_source(partial(content.open, digest), subject=str(digest)) for digest in digests]
