"""Images in a catalog and a content store, in a few words, as pulls and commits leave them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import insert

from tests.support.images import AMD64, Image, ImageIndex, build_image, put_image
from tests.support.memory_store import MemoryStore
from transship.store.catalog.access import tenants
from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.content import blobs, image_events, layers, lineage, references
from transship.store.catalog.content.image_events import ImageEvent
from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.db.schema import workspaces
from transship.store.content.ports import ContentStore
from transship.store.images.edit.delete import Deletion
from transship.store.images.view.filters import LIST_KEYS, Filters
from transship.store.images.view.listing import Summary, listed
from transship.store.images.view.local_content import describe, opened
from transship.store.images.view.resolve import Found, find
from transship.store.images.view.view import familiar
from transship.store.oci.platform import Platform


def small(seed: str, **more: object) -> Image:
    """An image of two short layers."""
    return build_image(seed, **{"layers": 2, "layer_bytes": 500, **more})  # type: ignore[arg-type]


def id_of(image: Image) -> str:
    """Its ID."""
    return str(image.manifest.config.digest)


def deleted(image: Image, *, layers: int | None = None) -> list[dict[str, str]]:
    """What is told of an image that goes, and of its so many upmost layers; of all by default."""
    chain = describe_chain(image)
    gone = chain if layers is None else chain[:layers]
    return [{"deleted": id_of(image)}, *({"deleted": digest} for digest in gone)]


def describe_chain(image: Image) -> list[str]:
    """The chain IDs of an image's layers, from the top down."""
    content = MemoryStore()
    put_image(content, image)
    return [str(layer.chain_id) for layer in reversed(opened(image.manifest, content).layers)]


@dataclass
class ImageFixtures:
    """A store with images in it, on a host of the platform linux/amd64."""

    catalog: Catalog
    content: ContentStore = field(default_factory=MemoryStore)
    now: float = 1_700_000_000.0
    host: Platform = AMD64
    tenant: str = HOUSE

    def hold(
        self,
        image: Image | ImageIndex,
        *names: str,
        parent: Image | None = None,
        only: Sequence[Image] = (),
    ) -> Image | ImageIndex:
        """Keep an image, or of an index the images *only*, under *names*, without any event."""
        put_image(self.content, image)
        members = [image] if isinstance(image, Image) else (only or image.images)
        manifest = image.manifest if isinstance(image, Image) else image.index
        with self.catalog.write() as connection:
            for member in members:
                parts = [member.manifest.descriptor, *member.manifest.blobs]
                for part in parts:
                    blobs.add(connection, {str(part.digest): part.size}, self.now)
                below = (str(blob.digest) for blob in member.manifest.blobs)
                blobs.link(connection, str(member.digest), below)
                references.add_image(connection, describe(member.manifest, self.content))
                pairs = opened(member.manifest, self.content).pairs
                layers.record(connection, pairs, verified=False)
            if isinstance(image, ImageIndex):
                blobs.link(connection, str(image.digest), [str(one.digest) for one in members])
            if parent is not None:
                assert isinstance(image, Image)
                lineage.set_parent(connection, self.tenant, id_of(image), id_of(parent))
            held = [str(one.digest) for one in (image, *members)]
            tenants.hold(connection, self.tenant, held)
            for name in names:
                references.assign(
                    connection,
                    self.tenant,
                    name,
                    str(image.digest),
                    manifest.media_type,
                    now=self.now,
                )
        return image

    def workspace(self, name: str, image: Image, *, busy: bool = False) -> None:
        """Put a workspace over an image."""
        values = {
            "tenant": self.tenant,
            "name": name,
            "base": str(image.digest),
            "reference": None,
            "busy": busy,
        }
        with self.catalog.write() as connection:
            connection.execute(
                insert(workspaces).values(**values, created_at=self.now, updated_at=self.now)
            )

    def rm(self, text: str, *, force: bool = False, prune: bool = True) -> list[dict[str, str]]:
        """Delete as the API does."""
        with self.catalog.write() as connection:
            deletion = Deletion(connection, self.tenant, self.content, now=self.now, host=self.host)
            return [one.as_json() for one in deletion.delete(text, force=force, prune=prune)]

    def find(self, text: str, platform: Platform | None = None) -> Found:
        """Resolve as the API does."""
        with self.catalog.read() as connection:
            return find(connection, self.tenant, text, platform=platform, host=self.host)

    def listed(self, *filters: str, all_: bool = False) -> list[Summary]:
        """List as the API does."""
        parsed = Filters.parse(filters, LIST_KEYS)
        with self.catalog.read() as connection:
            return listed(connection, self.tenant, parsed, all_=all_, now=self.now, host=self.host)

    def names(self) -> dict[str, list[str]]:
        """The names of every image, by ID, as Docker shows them."""
        return {
            one.image.id: [familiar(row.name) for row in one.names]
            for one in self.listed(all_=True)
        }

    def events(self) -> list[ImageEvent]:
        """What has happened to images."""
        with self.catalog.read() as connection:
            return image_events.after(connection, self.tenant, 0)
