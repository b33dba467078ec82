"""The images in the store, filtered as Docker's Images does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row

from transship.store.catalog.content import lineage
from transship.store.images.view import users
from transship.store.images.view.filters import Filters, has_labels, moment, name_matcher
from transship.store.images.view.resolve import find
from transship.store.images.view.view import ImageView, LocalImage, is_digest_name
from transship.store.oci import timestamps
from transship.store.oci.platform import Platform

_NEVER = timestamps.parse(timestamps.NO_TIME) or 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """An image in a list.

    Attributes:
        image: The image, with all its names.
        names: Those that the filters leave.
        parent_id: The image it was made from here; '' for none.
        containers: How many workspaces there are over it.
    """

    image: LocalImage
    names: tuple[Row[Any], ...]
    parent_id: str
    containers: int

    @property
    def tags(self) -> list[str]:
        """The names with a tag, in full."""
        return [row.name for row in self.names if not is_digest_name(row.name)]

    @property
    def digests(self) -> list[str]:
        """The names with a digest, in full."""
        return [row.name for row in self.names if is_digest_name(row.name)]

    @property
    def labels(self) -> Mapping[str, str]:
        """Those of its config."""
        return self.image.manifest.labels if self.image.manifest is not None else {}


def listed(
    connection: Connection,
    tenant: str,
    filters: Filters | None = None,
    *,
    all_: bool = False,
    named: Callable[[str], bool] | None = None,
    now: float,
    host: Platform | None = None,
) -> list[Summary]:
    """The images of a tenant, the newest first.

    Images without a name are among them if they have no children, or with *all_*. *named* chooses
    among names, as the filter `reference` does.

    Raises:
        InvalidSpecError: a filter's value cannot be.
        NotFoundError: `before` or `since` names no image.
    """
    filters = filters or Filters()
    dangling = filters.flag("dangling")
    fits = _fitting(connection, tenant, filters, now, host)
    shown = _names(filters, named)
    parents = lineage.parents(connection, tenant)
    known = lineage.of(connection, tenant)
    bases = users.workspaces_by_base(connection, tenant)
    found = []
    for image in ImageView.whole(connection, tenant, host).images():
        if not fits(image) or (dangling and image.id in parents):
            continue
        names = image.names if shown is None else [n for n in image.names if shown(n.name)]
        tagged = any(not is_digest_name(row.name) for row in names)
        if names:
            if dangling and tagged:
                continue
        elif dangling is False or shown is not None or not (all_ or image.id not in parents):
            continue
        found.append(
            Summary(
                image=image,
                names=tuple(names),
                parent_id=(known[image.id].parent or "") if image.id in known else "",
                containers=sum(bases[row.digest] for row in image.members),
            )
        )
    found.sort(key=lambda one: (-created_at(one.image.manifest), one.tags, one.image.id))
    return found


def created_at(manifest: Row[Any] | None) -> int:
    """When the config says that the image was made, in nanoseconds since the epoch."""
    found = timestamps.parse(manifest.created) if manifest is not None else None
    return _NEVER if found is None else found


def _fitting(
    connection: Connection, tenant: str, filters: Filters, now: float, host: Platform | None
) -> Callable[[LocalImage], bool]:
    """Whether an image fits what is asked of its age and labels."""
    before, since = (
        [
            created_at(find(connection, tenant, text, host=host).image)
            for text in filters.values(key)
        ]
        for key in ("before", "since")
    )
    until = moment(filters, "until", now)
    labels: Sequence[str] = filters.values("label")

    def fits(image: LocalImage) -> bool:
        created = created_at(image.manifest)
        return (
            all(created < bound for bound in before)
            and all(created > bound for bound in since)
            and (until is None or created <= until)
            and (not labels or (image.manifest is not None))
            and has_labels(labels, image.manifest.labels if image.manifest is not None else {})
        )

    return fits


def _names(filters: Filters, named: Callable[[str], bool] | None) -> Callable[[str], bool] | None:
    fitting = [name_matcher(pattern) for pattern in filters.values("reference")]
    if not fitting:
        return named

    def shown(name: str) -> bool:
        return any(fits(name) for fits in fitting) and (named is None or named(name))

    return shown
