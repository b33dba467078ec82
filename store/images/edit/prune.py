"""Removes the images that nobody needs: Docker's ImagesPrune."""

from __future__ import annotations

import logging

from sqlalchemy import Connection

from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.content import image_events, lineage
from transship.store.content.ports import ContentStore
from transship.store.errors import ConflictError, NotFoundError
from transship.store.images.edit.delete import Deletion, Removed
from transship.store.images.view.filters import Filters, has_labels, moment
from transship.store.images.view.listing import created_at
from transship.store.images.view.view import ImageView, LocalImage
from transship.store.oci.platform import Platform

log = logging.getLogger(__name__)


class Choice:
    """Which images a prune is for.

    Unless `dangling=false` these have no tag. An image without names that has children stays.
    """

    def __init__(self, filters: Filters, *, now: float, host: Platform | None = None) -> None:
        """Choose by filters of `PRUNE_KEYS`.

        Images have every `label`, not all of `label!`, and were created at `until` or before.

        Args:
            filters: What was asked for.
            now: What durations in `until` count back from.
            host: Whose platform answers for an index.

        Raises:
            InvalidSpecError: a filter's value cannot be.
        """
        self.host = host
        self._tagged_too = filters.flag("dangling") is False
        self._until = moment(filters, "until", now)
        self._labels = filters.values("label")
        self._unwanted = filters.values("label!")

    def takes(self, image: LocalImage, *, has_children: bool) -> bool:
        """Whether the image is to go."""
        if has_children and (not image.names or not self._tagged_too):
            return False
        if image.tags and not self._tagged_too:
            return False
        if self._until is not None and created_at(image.manifest) > self._until:
            return False
        labels = image.manifest.labels if image.manifest is not None else {}
        return has_labels(self._labels, labels) and not (
            self._unwanted and has_labels(self._unwanted, labels)
        )


def candidates(connection: Connection, choice: Choice) -> list[str]:
    """The IDs of the images to prune, the oldest first."""
    parents = lineage.parents(connection, HOUSE)
    found = [
        image
        for image in ImageView.whole(connection, HOUSE, choice.host).images()
        if choice.takes(image, has_children=image.id in parents)
    ]
    found.sort(key=lambda image: (created_at(image.manifest), image.id))
    return [image.id for image in found]


def prune_one(
    connection: Connection, content: ContentStore, image_id: str, choice: Choice, *, now: float
) -> list[Removed]:
    """Delete an image as far as it is not used: name by name, so that one in use keeps its last.

    One that was given a name, or a child, since it was a candidate is chosen no more, and stays.
    """
    image = ImageView.of_id(connection, HOUSE, image_id, choice.host).image(image_id)
    if image is None:
        return []
    if not choice.takes(image, has_children=bool(lineage.children(connection, HOUSE, image_id))):
        return []
    deletion = Deletion(connection, HOUSE, content, now=now, host=choice.host)
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
    image_events.record(connection, HOUSE, "prune", "", {"reclaimed": str(reclaimed)}, now)
