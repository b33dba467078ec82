"""Removes the images that nobody needs: Docker's ImagesPrune."""

from __future__ import annotations

import logging

from sqlalchemy import Connection

from store.catalog import image_events, lineage
from store.content.ports import ContentStore
from store.errors import ConflictError, NotFoundError
from store.images.delete import Deletion, Removed
from store.images.filters import Filters, has_labels, moment
from store.images.listing import created_at
from store.images.shelf import LocalImage, Shelf
from store.oci.platform import Platform

log = logging.getLogger(__name__)


def candidates(
    connection: Connection, filters: Filters, *, now: float, host: Platform | None = None
) -> list[str]:
    """The IDs of images to prune, the oldest first.

    Unless `dangling=false` these have no tag. An image without names that has children stays.

    Args:
        connection: To read from.
        filters: Of `PRUNE_KEYS`. Images have every `label`, not all of `label!`, and were created
            at `until` or before.
        now: What durations in `until` count back from.
        host: Whose platform answers for an index.

    Raises:
        InvalidSpecError: a filter's value cannot be.
    """
    tagged_too = filters.flag("dangling") is False
    until = moment(filters, "until", now)
    parents = lineage.parents(connection)

    def chosen(image: LocalImage) -> bool:
        if image.id in parents and (not image.names or not tagged_too):
            return False
        if image.tags and not tagged_too:
            return False
        if until is not None and created_at(image.manifest) > until:
            return False
        labels = image.manifest.labels if image.manifest is not None else {}
        unwanted = filters.values("label!")
        return has_labels(filters.values("label"), labels) and not (
            unwanted and has_labels(unwanted, labels)
        )

    found = [image for image in Shelf.whole(connection, host).images() if chosen(image)]
    found.sort(key=lambda image: (created_at(image.manifest), image.id))
    return [image.id for image in found]


def prune_one(
    connection: Connection,
    content: ContentStore,
    image_id: str,
    *,
    now: float,
    host: Platform | None = None,
) -> list[Removed]:
    """Delete an image as far as it is not used: name by name, so that one in use keeps its last."""
    image = Shelf.of_id(connection, image_id, host).image(image_id)
    if image is None:
        return []
    deletion = Deletion(connection, content, now=now, host=host)
    removed: list[Removed] = []
    for text in [row.name for row in image.names] or [image_id]:
        try:
            removed += deletion.delete(text)
        except NotFoundError:  # it went with the tag of its repository
            continue
        except ConflictError as used:
            log.info("not pruned: %s", used)
    return removed


def record(connection: Connection, reclaimed: int, now: float) -> None:
    """Write down that a prune has ended, with the bytes of the layers that went with it."""
    image_events.record(connection, "prune", "", {"reclaimed": str(reclaimed)}, now)
