"""From where, or to where, a transfer may go: the places that those who wait for it brought.

A transfer queues in the lane of one place at a time, and moves to another lane with another place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, exists, select, text

from store.catalog import admission
from store.catalog.due import NOW, due
from store.catalog.schema import jobs, lanes, transfers, waits

# Built once: to build a statement takes longer than to run it.
_PARKED = exists().where(
    lanes.c.registry == waits.c.registry, ~due(lanes.c.parked_until, lanes.c.parked_delay, NOW)
)
_PLACES = (
    select(waits.c.job, jobs.c.root, waits.c.registry, waits.c.repository, waits.c.fingerprint)
    .join(jobs, jobs.c.id == waits.c.job)
    .where(waits.c.transfer == bindparam("transfer"), text("NOT ended"))
    .order_by(_PARKED, waits.c.priority.desc(), jobs.c.seq)
)


@dataclass(frozen=True, slots=True)
class Place:
    """A repository that a waiting job brought, with the root whose credential opens it."""

    job: str
    root: str
    registry: str
    repository: str
    fingerprint: str


def of_transfer(connection: Connection, id_: int, now: float) -> list[Place]:
    """The places of those who wait, the best first: not parked, urgent, early."""
    rows = connection.execute(_PLACES, {"transfer": id_, "now": now})
    return [Place(*row) for row in rows]


def queue_at(connection: Connection, id_: int, registry: str, place: Place) -> dict[str, Any]:
    """What changes when a transfer of the lane of *registry* is to be served from *place*.

    In another lane it gets a turn there: the numbers of one say nothing in another.
    """
    values: dict[str, Any] = {"registry": place.registry, "repository": place.repository}
    if place.registry != registry:
        row = connection.execute(
            select(transfers.c.direction, transfers.c.root, transfers.c.priority).where(
                transfers.c.id == id_
            )
        ).one()
        admission.open_lane(connection, row.direction, place.registry)
        values["turn"] = admission.first_turn(
            connection, row.root, row.direction, place.registry, row.priority
        )
    return values
