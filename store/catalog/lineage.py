"""What is known of an image by its ID, apart from its bytes: its parent, when it was tagged."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, select

from store.catalog.schema import images, lineage
from store.catalog.sql import chunks, upsert


def get(connection: Connection, image_id: str) -> Row[Any] | None:
    """What is known of the image, if anything is."""
    return connection.execute(select(lineage).where(lineage.c.image_id == image_id)).one_or_none()


def of(connection: Connection, image_ids: Collection[str] | None = None) -> dict[str, Row[Any]]:
    """What is known of *image_ids*, or of every image, by ID."""
    query = select(lineage)
    queries = [query]
    if image_ids is not None:
        queries = [query.where(lineage.c.image_id.in_(some)) for some in chunks(image_ids)]
    return {row.image_id: row for one in queries for row in connection.execute(one)}


def set_parent(connection: Connection, image_id: str, parent: str | None) -> None:
    """*image_id* was made here from *parent*."""
    connection.execute(
        upsert(lineage)
        .values(image_id=image_id, parent=parent)
        .on_conflict_do_update(index_elements=["image_id"], set_={"parent": parent})
    )


def tagged(connection: Connection, image_id: str, now: float) -> None:
    """The image was given a name by `tag`, which pulls and loads do not count as."""
    connection.execute(
        upsert(lineage)
        .values(image_id=image_id, tagged_at=now)
        .on_conflict_do_update(index_elements=["image_id"], set_={"tagged_at": now})
    )


def children(connection: Connection, image_id: str) -> Sequence[str]:
    """The images that were made from it here and are held, by ID; direct ones only."""
    return (
        connection.execute(
            select(lineage.c.image_id)
            .where(
                lineage.c.parent == image_id,
                lineage.c.image_id.in_(select(images.c.image_id)),
            )
            .order_by(lineage.c.image_id)
        )
        .scalars()
        .all()
    )


def parents(connection: Connection) -> set[str]:
    """The images that have children."""
    return set(
        connection.execute(
            select(lineage.c.parent)
            .where(
                lineage.c.parent.is_not(None),
                lineage.c.image_id.in_(select(images.c.image_id)),
            )
            .distinct()
        ).scalars()
    )


def forget(connection: Connection, image_id: str) -> None:
    """The image is gone."""
    connection.execute(delete(lineage).where(lineage.c.image_id == image_id))
