"""Registries that are left alone for a while, and how they are taken up again.

Meanwhile downloads that queue there go to where another waiter may have them.
One that does not answer is parked for twice as long each time. When the time of any parked
registry has come, one transfer goes ahead; the others follow when that has got an answer.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, Select, func, select, text, update

from store.catalog import admission, places
from store.catalog.due import due
from store.catalog.schema import TRANSFER_ELSEWHERE, lanes, transfers

SHORTEST_SECONDS = 1.0
LONGEST_SECONDS = 60.0
_PAGE = 200  # downloads that are moved at a time


@dataclass(frozen=True, slots=True)
class Probe:
    """The leave to go ahead; *until* tells it from others."""

    until: float


def park(connection: Connection, registry: str, seconds: float, now: float) -> None:
    """Leave a registry alone, in both directions; what others can serve meanwhile goes to them.

    It is for *seconds* from *now*. Downloads that queue there move to the lane of a waiter who
    brought another source.
    """
    for direction in admission.DIRECTIONS:
        admission.open_lane(connection, direction, registry)
    connection.execute(
        update(lanes)
        .where(lanes.c.registry == registry, lanes.c.parked_until < now + seconds)
        .values(parked_until=now + seconds, parked_delay=seconds)
    )
    _move(connection, registry, now)


def move_parked(connection: Connection, now: float) -> None:
    """Move downloads that queue at parked registries to where a waiter can have them; some of them.

    Many may have been queued when a registry was parked: each call moves a page for each registry.
    """
    for registry in parked(connection, now):
        _move(connection, registry, now)


def queued_elsewhere(connection: Connection, now: float) -> bool:
    """Whether `move_parked` may have something to move."""
    return any(
        connection.execute(_queued(registry, 1)).first() is not None
        for registry in parked(connection, now)
    )


def _move(connection: Connection, registry: str, now: float) -> None:
    for id_ in connection.execute(_queued(registry, _PAGE)).scalars().all():
        pass_on(connection, id_, registry, now)


def _queued(registry: str, most: int) -> Select[int]:
    return (
        select(transfers.c.id)
        .where(text(TRANSFER_ELSEWHERE), transfers.c.registry == registry)
        .limit(most)
    )


def pass_on(connection: Connection, id_: int, registry: str, now: float) -> None:
    """Let a transfer that queues at a parked *registry* queue where a waiter can have it now."""
    found = places.of_transfer(connection, id_, now)
    if all(place.registry == registry for place in found):
        connection.execute(update(transfers).where(transfers.c.id == id_).values(elsewhere=False))
        return
    best = found[0]
    if best.registry == registry or parked_seconds(connection, best.registry, now):
        return
    connection.execute(
        update(transfers)
        .where(transfers.c.id == id_)
        .values(state="pending", not_before=0, **places.queue_at(connection, id_, registry, best))
    )


def parked_seconds(connection: Connection, registry: str, now: float) -> float:
    """For how long a registry is still parked; 0 when it is not."""
    until = connection.execute(
        select(func.max(lanes.c.parked_until)).where(
            lanes.c.registry == registry,
            ~due(lanes.c.parked_until, lanes.c.parked_delay, now),
        )
    ).scalar()
    return max(0.0, (until or 0.0) - now)


def parked(connection: Connection, now: float) -> dict[str, float]:
    """The registries that are left alone, and for how many seconds more."""
    rows = connection.execute(
        select(lanes.c.registry, func.max(lanes.c.parked_until))
        .where(~due(lanes.c.parked_until, lanes.c.parked_delay, now))
        .group_by(lanes.c.registry)
    )
    return {registry: until - now for registry, until in rows}


def back_off(connection: Connection, registry: str, now: float, *, probed: bool) -> float:
    """Park a registry that does not answer; for how many seconds.

    0: it is parked already. Many find out at the same time, and that counts once; only the
    failure of the probe (*probed*) tells something new.
    """
    row = connection.execute(
        select(
            lanes.c.parked_delay, due(lanes.c.parked_until, lanes.c.parked_delay, now).label("due")
        )
        .where(lanes.c.registry == registry)
        .order_by(lanes.c.parked_until.desc())
        .limit(1)
        .with_for_update()
    ).one_or_none()
    if row is not None and not row.due and not probed:
        return 0.0
    last = 0.0 if row is None else row.parked_delay
    seconds = min(max(2 * last, SHORTEST_SECONDS), LONGEST_SECONDS)
    park(connection, registry, seconds, now)
    return seconds


def enter(connection: Connection, registry: str, now: float) -> Probe | bool:
    """Whether a transfer may go to *registry* now; a `Probe` if it goes ahead of the others.

    Who goes ahead and is not heard of again is followed after as long as the last park was.
    """
    row = connection.execute(
        select(
            lanes.c.parked_delay, due(lanes.c.parked_until, lanes.c.parked_delay, now).label("due")
        )
        .where(lanes.c.registry == registry, lanes.c.parked_delay > 0)
        .order_by(lanes.c.parked_until.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        return True
    if not row.due:
        return False
    seconds = min(row.parked_delay, LONGEST_SECONDS)
    taken = connection.execute(
        update(lanes)
        .where(lanes.c.registry == registry, due(lanes.c.parked_until, lanes.c.parked_delay, now))
        .values(parked_until=now + seconds, parked_delay=seconds)
    )
    return Probe(now + seconds) if taken.rowcount else False


def reopen(connection: Connection, registry: str, probe: Probe) -> None:
    """The probe got an answer: all may go on, unless the registry was parked anew meanwhile."""
    connection.execute(
        update(lanes)
        .where(lanes.c.registry == registry, lanes.c.parked_until == probe.until)
        .values(parked_until=0, parked_delay=0)
    )
