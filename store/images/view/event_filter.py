"""Which events of images somebody wants to hear of: Docker's filters for events."""

from __future__ import annotations

from collections.abc import Collection

from transship.store.catalog.content.image_events import ImageEvent
from transship.store.errors import InvalidReferenceError
from transship.store.images.view.filters import OTHER_KEYS, Filters, has_labels
from transship.store.oci.reference import Reference

TYPE = "image"  # as Docker calls what these events are about
SCOPE = "local"  # and where they have been


def wanted(event: ImageEvent, filters: Filters) -> bool:
    """Whether *event* passes.

    Values of a key are alternatives, but every `label` has to be there. An image is called by the
    event's actor or its name, with or without the tag. What Docker filters other objects by is
    compared with the beginning of actor and name, whatever an event is about.
    """
    return (
        all(_begins(event, filters.values(key)) for key in OTHER_KEYS if key in filters)
        and ("scope" not in filters or SCOPE in filters.values("scope"))
        and ("type" not in filters or TYPE in filters.values("type"))
        and ("event" not in filters or event.action in filters.values("event"))
        and ("image" not in filters or not _called(event).isdisjoint(filters.values("image")))
        and has_labels(filters.values("label"), event.attributes)
    )


def _begins(event: ImageEvent, wanted: Collection[str]) -> bool:
    names = (event.actor, event.attributes.get("name", ""))
    return any(name.startswith(one) for name in names for one in wanted)


def _called(event: ImageEvent) -> set[str]:
    names = {event.actor, event.attributes.get("name", "")}
    return names | {_without_tag(name) for name in names}


def _without_tag(name: str) -> str:
    try:
        return Reference.parse(name).without_identifier().familiar
    except InvalidReferenceError:
        return name
