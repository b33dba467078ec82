"""One image, looked at closely: Docker's LookupImage and ImageHistory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row

from transship.store.catalog.content import layers as layer_records
from transship.store.catalog.content import lineage
from transship.store.content.ports import ContentStore
from transship.store.errors import InvalidManifestError
from transship.store.images.view.local_content import Opened, open_image
from transship.store.images.view.view import ImageView, familiar
from transship.store.oci.platform import Platform

MISSING = "<missing>"  # in a history: the step's image is not here


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """What Docker tells of an image.

    Attributes:
        row: Its record; sizes in it are of blobs as they are held.
        opened: Its manifest and config.
        parent: The ID of the image it was made from here; '' for none.
        comment: The config's, or else its last step's.
        uncompressed_size: Of all layers' streams; None where one has not been read yet.
        tagged_at: When `tag` last named it, in seconds since the epoch.
    """

    row: Row[Any]
    opened: Opened
    parent: str
    comment: str
    uncompressed_size: int | None
    tagged_at: float | None

    @property
    def diff_ids(self) -> list[str]:
        """What its layers contain, from the bottom up."""
        config = self.opened.config
        return [str(diff_id) for diff_id in config.diff_ids] if config is not None else []

    def field(self, name: str) -> Any:
        """A field of the config, as that has it."""
        return self.opened.config.document.get(name) if self.opened.config is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A line of an image's history; *size* is that of its layer as held."""

    id: str
    created: str
    created_by: str
    comment: str
    size: int
    tags: tuple[str, ...]


def details(connection: Connection, tenant: str, row: Row[Any], content: ContentStore) -> Details:
    """Look at the image of *row*.

    Raises:
        BlobMissingError: the store has lost its manifest or its config.
    """
    opened = open_image(row, content)
    known = lineage.get(connection, tenant, row.image_id)
    return Details(
        row=row,
        opened=opened,
        parent=(known.parent or "") if known is not None else "",
        comment=_comment(opened),
        uncompressed_size=_uncompressed(connection, opened),
        tagged_at=known.tagged_at if known is not None else None,
    )


def history(
    connection: Connection,
    tenant: str,
    row: Row[Any],
    content: ContentStore,
    host: Platform | None = None,
) -> list[Step]:
    """How the image came about, the newest step first.

    A step has the ID of its image, and that one's tags, as far as parents are held here.

    Raises:
        BlobMissingError: the store has lost its manifest or its config.
        InvalidManifestError: more steps made layers than there are layers.
    """
    opened = open_image(row, content)
    steps = opened.config.history if opened.config is not None else ()
    sizes = [layer.blob.size for layer in opened.layers]
    ids = _ancestry(connection, tenant, row.image_id, len(steps))
    tags = {id_: _tags(connection, tenant, id_, host) for id_ in ids}
    made: list[Step] = []
    layer = 0
    for number, step in enumerate(steps):
        empty = step.get("empty_layer") is True
        if not empty and layer == len(sizes):
            raise InvalidManifestError(
                f"its history has more steps with a layer than the {len(sizes)} layers there are",
                subject=row.image_id,
            )
        age = len(steps) - 1 - number
        id_ = ids[age] if age < len(ids) else MISSING
        made.append(
            Step(
                id=id_,
                created=_text(step, "created"),
                created_by=_text(step, "created_by"),
                comment=_text(step, "comment"),
                size=0 if empty else sizes[layer],
                tags=tags.get(id_, ()),
            )
        )
        layer += not empty
    return made[::-1]


def _ancestry(connection: Connection, tenant: str, image_id: str, most: int) -> list[str]:
    """The image and its parents, as far as they are known."""
    found = [image_id]
    while len(found) < most:
        known = lineage.get(connection, tenant, found[-1])
        if known is None or known.parent is None or known.parent in found:
            break
        if ImageView.of_id(connection, tenant, known.parent).image(known.parent) is None:
            break
        found.append(known.parent)
    return found


def _tags(
    connection: Connection, tenant: str, image_id: str, host: Platform | None
) -> tuple[str, ...]:
    image = ImageView.of_id(connection, tenant, image_id, host).image(image_id)
    return tuple(familiar(name) for name in image.tags) if image is not None else ()


def _comment(opened: Opened) -> str:
    if opened.config is None:
        return ""
    own = _text(opened.config.document, "comment")
    history = opened.config.history
    return own or (_text(history[-1], "comment") if history else "")


def _uncompressed(connection: Connection, opened: Opened) -> int | None:
    digests = [str(layer.blob.digest) for layer in opened.layers]
    sizes = layer_records.diff_sizes(connection, digests)
    if not digests or not all(digest in sizes for digest in digests):
        return None
    return sum(sizes[digest] for digest in digests)


def _text(fields: Any, key: str) -> str:
    value = fields.get(key)
    return value if isinstance(value, str) else ""
