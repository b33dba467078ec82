"""What is known of an image by its ID, apart from its bytes: its parent, when it was tagged.

Each tenant knows what it did itself; the house knows of all, and goes by its own word first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, select

from transship.store.catalog.access.tenants import sees
from transship.store.catalog.db.schema import images, lineage
from transship.store.catalog.db.sql import upsert


def get(connection: Connection, tenant: str, image_id: str) -> Row[Any] | None:
    """What is known of the image, if anything is."""
    return _known(connection, _of(tenant).where(lineage.c.image_id == image_id)).get(image_id)


def of(connection: Connection, tenant: str) -> dict[str, Row[Any]]:
    """What is known of every image, by ID."""
    return _known(connection, _of(tenant))


def set_parent(connection: Connection, tenant: str, image_id: str, parent: str | None) -> None:
    """*image_id* was made here from *parent*."""
    _write(connection, tenant, image_id, parent=parent)


def tagged(connection: Connection, tenant: str, image_id: str, now: float) -> None:
    """The image was given a name by `tag`, which pulls and loads do not count as."""
    _write(connection, tenant, image_id, tagged_at=now)


def children(connection: Connection, tenant: str, image_id: str) -> Sequence[str]:
    """The images that were made from it here and are held, by ID; direct ones only."""
    return (
        connection.execute(
            select(lineage.c.image_id)
            .distinct()
            .where(
                sees(tenant, lineage.c.tenant),
                lineage.c.parent == image_id,
                lineage.c.image_id.in_(select(images.c.image_id)),
            )
            .order_by(lineage.c.image_id)
        )
        .scalars()
        .all()
    )


def parents(connection: Connection, tenant: str) -> set[str]:
    """The images that have children."""
    return set(
        connection.execute(
            select(lineage.c.parent)
            .where(
                sees(tenant, lineage.c.tenant),
                lineage.c.parent.is_not(None),
                lineage.c.image_id.in_(select(images.c.image_id)),
            )
            .distinct()
        ).scalars()
    )


def forget(connection: Connection, tenant: str, image_id: str) -> None:
    """The tenant has the image no more; where it is the house, nobody has."""
    mine = (lineage.c.image_id == image_id) & sees(tenant, lineage.c.tenant)
    connection.execute(delete(lineage).where(mine))


def _of(tenant: str) -> Select[Any]:
    return select(lineage).where(sees(tenant, lineage.c.tenant))


def _known(connection: Connection, query: Select[Any]) -> dict[str, Row[Any]]:
    # The house is first in the order of tenants, and so is what remains of several.
    rows = connection.execute(query.order_by(lineage.c.tenant.desc()))
    return {row.image_id: row for row in rows}


def _write(connection: Connection, tenant: str, image_id: str, **values: Any) -> None:
    connection.execute(
        upsert(lineage)
        .values(tenant=tenant, image_id=image_id, **values)
        .on_conflict_do_update(index_elements=["tenant", "image_id"], set_=values)
    )
