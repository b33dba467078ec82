"""Registries and budgets that are left alone for a while, and how they are taken up again.

Meanwhile downloads that queue there go to where another waiter may have them, as they do when an
operator has paused the registry. One that does not answer is parked for twice as long each time.
When the time of a parked registry has come, one job or transfer goes ahead; the others follow when
that has got an answer. A credential whose budget is used up is parked by itself: others may ask.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, exists, func, select, text, update

from transship.store.catalog.db.due import due
from transship.store.catalog.db.schema import (
    JOB_DELAYED,
    TRANSFER_DELAYED,
    TRANSFER_ELSEWHERE,
    budgets,
    jobs,
    lanes,
    transfers,
    waits,
)
from transship.store.catalog.db.sql import upsert
from transship.store.catalog.scheduling.admission import lanes as lane_rows
from transship.store.catalog.scheduling.admission import sources

SHORTEST_SECONDS = 1.0
LONGEST_SECONDS = 60.0
_PAGE = 200  # downloads that are moved at a time
HURRIED = 500  # rows a transaction that need not wait any more


@dataclass(frozen=True, slots=True)
class Probe:
    """The leave to go ahead at a registry; *until* tells it from others."""

    registry: str
    until: float


def park(connection: Connection, registry: str, seconds: float, now: float) -> None:
    """Leave a registry alone, in both directions; what others can serve meanwhile goes to them.

    It is for *seconds* from *now*. Downloads that queue there move to the lane of a waiter who
    brought another source.
    """
    for direction in lane_rows.DIRECTIONS:
        lane_rows.open_lane(connection, direction, registry)
    connection.execute(
        update(lanes)
        .where(lanes.c.registry == registry, lanes.c.parked_until < now + seconds)
        .values(parked_until=now + seconds, parked_delay=seconds)
    )
    move(connection, movable(connection, now, [registry]), now)


def park_budget(
    connection: Connection, registry: str, credential: str, seconds: float, now: float
) -> None:
    """What *credential*, by its fingerprint, may ask of a registry is used up for *seconds*.

    Who would ask with it is put off when its turn comes, and was not tried.
    """
    parked = {"parked_until": now + seconds, "parked_delay": seconds}
    connection.execute(
        upsert(budgets)
        .values(registry=registry, credential=credential, **parked)
        .on_conflict_do_update(
            index_elements=["registry", "credential"],
            set_=parked,
            where=budgets.c.parked_until < now + seconds,
        )
    )


def unpark(connection: Connection, registry: str) -> None:
    """Ask a registry again, with every credential, as if nothing had happened.

    What was put off until then is due when its turn comes: see `hurry`.
    """
    connection.execute(
        update(lanes).where(lanes.c.registry == registry).values(parked_until=0, parked_delay=0)
    )
    connection.execute(delete(budgets).where(budgets.c.registry == registry))


def hurry(connection: Connection, registry: str, now: float) -> bool:
    """Let a page of what waits for a time at *registry* wait no longer; False: that was all."""
    late = (
        select(transfers.c.id)
        .where(text(TRANSFER_DELAYED), transfers.c.registry == registry)
        .where(transfers.c.not_before > now)
        .limit(HURRIED)
    )
    hurried = connection.execute(
        update(transfers).where(transfers.c.id.in_(late)).values(not_before=now)
    ).rowcount
    late = (
        select(jobs.c.id)
        .where(text(JOB_DELAYED), jobs.c.registry == registry, jobs.c.not_before > now)
        .limit(HURRIED)
    )
    hurried += connection.execute(
        update(jobs).where(jobs.c.id.in_(late)).values(not_before=now)
    ).rowcount
    return hurried > 0


def movable(
    connection: Connection, now: float, registries: Collection[str] | None = None
) -> Sequence[int]:
    """Downloads that queue at a closed registry and that a waiter may have from an open one.

    A page of them, of *registries* where these are given.
    """
    if registries is None:
        registries = lane_rows.state(connection, now).closed
    found: list[int] = []
    for registry in registries:
        queued = (
            select(transfers.c.id)
            .where(
                text(TRANSFER_ELSEWHERE),
                transfers.c.registry == registry,
                exists().where(
                    waits.c.transfer == transfers.c.id,
                    text("NOT waits.ended"),
                    ~lane_rows.barred(waits.c.registry, waits.c.fingerprint),
                ),
            )
            .limit(_PAGE)
        )
        found += connection.execute(queued, {"now": now}).scalars()
    return found[:_PAGE]


def move(connection: Connection, ids: Collection[int], now: float) -> None:
    """Let downloads that are `movable` queue where a waiter can have them now."""
    for id_ in ids:
        pass_on(connection, id_, now)


def pass_on(connection: Connection, id_: int, now: float) -> bool:
    """Let a transfer that queues where it cannot be had queue where a waiter can have it now.

    False: nobody who waits can.
    """
    found = sources.of_transfer(connection, id_, now)
    if not found or found[0].barred:
        return False
    registry = connection.execute(
        select(transfers.c.registry).where(transfers.c.id == id_)
    ).scalar_one()
    connection.execute(
        update(transfers)
        .where(transfers.c.id == id_)
        .values(
            state="pending", not_before=0, **sources.queue_at(connection, id_, registry, found[0])
        )
    )
    return True


def parked(connection: Connection, now: float) -> dict[str, float]:
    """The registries that are left alone, and for how many seconds more."""
    rows = connection.execute(
        select(lanes.c.registry, func.max(lanes.c.parked_until))
        .where(~due(lanes.c.parked_until, lanes.c.parked_delay, now))
        .group_by(lanes.c.registry)
    )
    return {registry: until - now for registry, until in rows}


def exhausted(connection: Connection, now: float) -> dict[str, float]:
    """The registries at which credentials have no budget, and for how many seconds more at most."""
    found: dict[str, float] = {}
    for (registry, _), until in lane_rows.state(connection, now).exhausted.items():
        found[registry] = max(found.get(registry, 0.0), until - now)
    return found


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
    """Whether *registry* may be asked now, as for parks; a `Probe` if it is asked ahead of others.

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
    return Probe(registry, now + seconds) if taken.rowcount else False


def reopen(connection: Connection, probe: Probe) -> None:
    """The probe got an answer: all may go on, unless the registry was parked anew meanwhile."""
    connection.execute(
        update(lanes)
        .where(lanes.c.registry == probe.registry, lanes.c.parked_until == probe.until)
        .values(parked_until=0, parked_delay=0)
    )
