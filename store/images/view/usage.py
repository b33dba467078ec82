"""How much is held, and by what: Docker's LayerDiskUsage and LayerStoreStatus.

All sizes are of blobs as they are held, mostly compressed: nothing is unpacked here. A layer counts
once, however many images have it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, func, select

from transship.store.catalog.db.schema import blobs, edges
from transship.store.content.ports import ContentStore
from transship.store.images.view import users
from transship.store.images.view.listing import Summary, listed
from transship.store.oci.platform import Platform

_SIZES = select(blobs.c.digest, blobs.c.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageUsage:
    """An image's bytes: *shared* are those of blobs that another image has too."""

    summary: Summary
    size: int
    shared: int

    @property
    def unique(self) -> int:
        """What only this image has."""
        return self.size - self.shared


@dataclass(frozen=True, slots=True, kw_only=True)
class OnDisk:
    """What only the disk of the store says, in numbers and bytes."""

    partials: int
    partial_bytes: int
    trash: int
    trash_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStatus(OnDisk):
    """The store itself, in numbers and bytes."""

    blobs: int
    blob_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What all images take up.

    Attributes:
        images: Each image that has a name or no children.
        layers_size: Their layers, each once.
        active: How many of them a workspace or a job uses.
        reclaimable: What of that would go with those that nothing uses.
        store: The store itself; None for a tenant, of which it holds more than a tenant may know.
    """

    images: tuple[ImageUsage, ...]
    layers_size: int
    active: int
    reclaimable: int
    store: StoreStatus | None


def usage(
    connection: Connection,
    tenant: str,
    disk: OnDisk | None,
    *,
    now: float,
    host: Platform | None = None,
) -> Usage:
    """Count what a tenant has; *disk* is what `on_disk` has found, or None."""
    summaries = listed(connection, tenant, now=now, host=host)
    blobs_of = _blobs_of(connection)
    sizes = {row[0]: int(row[1]) for row in connection.execute(_SIZES)}
    having: Counter[str] = Counter()
    its: dict[str, set[str]] = {}
    configs: set[str] = set()
    for summary in summaries:
        members = summary.image.members
        its[summary.image.id] = {b for row in members for b in blobs_of[row.digest]}
        having.update(its[summary.image.id])
        configs.update(row.image_id for row in members)
    images = [
        ImageUsage(
            summary=summary,
            size=sum(sizes.get(blob, 0) for blob in its[summary.image.id]),
            shared=sum(sizes.get(b, 0) for b in its[summary.image.id] if having[b] > 1),
        )
        for summary in summaries
    ]
    layers = having.keys() - configs
    at_work = users.digests_in_jobs(connection, tenant)
    active = [s for s in summaries if s.containers or not at_work.isdisjoint(_manifests(s))]
    used = {blob for summary in active for blob in its[summary.image.id]}
    return Usage(
        images=tuple(images),
        layers_size=sum(sizes.get(blob, 0) for blob in layers),
        active=len(active),
        reclaimable=sum(sizes.get(blob, 0) for blob in layers - used),
        store=None if disk is None else status(connection, disk),
    )


def _manifests(summary: Summary) -> set[str]:
    return {*summary.image.roots, *(row.digest for row in summary.image.members)}


def _blobs_of(connection: Connection) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for row in connection.execute(select(edges.c.parent, edges.c.child)):
        found[row.parent].add(row.child)
    return found


def status(connection: Connection, disk: OnDisk) -> StoreStatus:
    """Count the store's blobs, to what `on_disk` has found."""
    counted = connection.execute(
        select(func.count(), func.coalesce(func.sum(blobs.c.size), 0)).select_from(blobs)
    ).one()
    return StoreStatus(blobs=int(counted[0]), blob_bytes=int(counted[1]), **asdict(disk))


def on_disk(content: ContentStore) -> OnDisk:
    """Count partials and trash, file by file.

    That may take seconds on a network file system: no transaction is to be open meanwhile.
    """
    partials, trash = list(content.partials()), list(content.trashed())
    return OnDisk(
        partials=len(partials),
        partial_bytes=sum(partial.size for partial in partials),
        trash=len(trash),
        trash_bytes=sum(trashed.size for trashed in trash),
        free_bytes=content.free_bytes(),
    )
