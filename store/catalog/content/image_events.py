"""What happened to images, with Docker's names of actions and attributes.

An event is recorded in the transaction that makes it true: no change without its event, no event
without its change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select

from transship.store.catalog.access.tenants import sees
from transship.store.catalog.db.schema import image_events

ACTIONS = ("delete", "import", "load", "prune", "pull", "push", "save", "tag", "untag")
_INSERT = insert(image_events)


@dataclass(frozen=True, slots=True)
class ImageEvent:
    """One thing that happened; *id* grows and is never given twice.

    *actor* is an image's ID; of a pull or push the reference as it was asked for; of a prune
    nothing.
    """

    id: int
    time: float
    action: str
    actor: str
    attributes: dict[str, str]


def record(
    connection: Connection,
    tenant: str,
    action: str,
    actor: str,
    attributes: Mapping[str, str],
    now: float,
) -> None:
    """Write down that *action* happened to *actor*."""
    assert action in ACTIONS
    row = {"time": now, "action": action, "actor": actor, "attributes": dict(attributes)}
    connection.execute(_INSERT, {"tenant": tenant, **row})


def after(
    connection: Connection,
    tenant: str,
    id_: int,
    *,
    since: float | None = None,
    until: float | None = None,
    limit: int = 1000,
) -> list[ImageEvent]:
    """Events with an id above *id_*, from *since* to *until*, both included; oldest first."""
    query = select(
        image_events.c.id,
        image_events.c.time,
        image_events.c.action,
        image_events.c.actor,
        image_events.c.attributes,
    ).where(image_events.c.id > id_, sees(tenant, image_events.c.tenant))
    if since is not None:
        query = query.where(image_events.c.time >= since)
    if until is not None:
        query = query.where(image_events.c.time <= until)
    rows = connection.execute(query.order_by(image_events.c.id).limit(limit))
    return [ImageEvent(*row) for row in rows]


def newest(connection: Connection) -> int:
    """The id of the newest event; 0 where there is none."""
    return int(
        connection.execute(select(func.coalesce(func.max(image_events.c.id), 0))).scalar_one()
    )
