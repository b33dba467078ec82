"""Which events of images somebody wants to hear of: Docker's filters for events."""

from __future__ import annotations

from transship.store.catalog.content.image_events import ImageEvent
from transship.store.errors import InvalidReferenceError
from transship.store.images.view.filters import Filters, has_labels
from transship.store.oci.reference import Reference

TYPE = "image"  # as Docker calls what these events are about


def wanted(event: ImageEvent, filters: Filters) -> bool:
    """Whether *event* passes.

    Values of `event`, `image` and `type` are alternatives; every `label` has to be there. An image
    is called by the event's actor or its name, with or without the tag.
    """
    return (
        ("type" not in filters or TYPE in filters.values("type"))
        and ("event" not in filters or event.action in filters.values("event"))
        and ("image" not in filters or not _called(event).isdisjoint(filters.values("image")))
        and has_labels(filters.values("label"), event.attributes)
    )


def _called(event: ImageEvent) -> set[str]:
    names = {event.actor, event.attributes.get("name", "")}
    return names | {_without_tag(name) for name in names}


def _without_tag(name: str) -> str:
    try:
        return Reference.parse(name).without_identifier().familiar
    except InvalidReferenceError:
        return name
