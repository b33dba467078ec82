"""Registries that are left alone for a while, and how they are taken up again.

One that does not answer is parked for twice as long each time. When the time of any parked
registry has come, one transfer goes ahead; the others follow when that has got an answer.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from store.catalog import transfers
from store.catalog.due import due
from store.catalog.schema import lanes

SHORTEST_SECONDS = 1.0
LONGEST_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Probe:
    """The leave to go ahead; *until* tells it from others."""

    until: float


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
    transfers.park(connection, registry, seconds, now)
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
