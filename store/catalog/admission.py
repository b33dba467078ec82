"""Which pending transfers may start: how the limits are kept.

Fair order is start-time fair queueing. A lane is a direction and a registry; within a lane and a
priority each pending transfer has a turn, given when it is inserted, such that the roots (jobs
that users asked for) alternate. Between lanes the higher priority goes first, then the lane that
was served least recently.

The queues never hold more than the limit: what is admitted here is what is published.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Select, bindparam, func, literal, select, text, update

from store.catalog import collection, limits
from store.catalog.due import NOW, due
from store.catalog.schema import (
    TRANSFER_ADMITTED,
    TRANSFER_BUSY,
    TRANSFER_DELAYED,
    TRANSFER_PENDING,
    lanes,
    transfers,
    workers,
)
from store.catalog.sql import upsert

DIRECTIONS = ("download", "upload")
RING_SECONDS = 5.0  # a message that was not taken up for so long may be lost: ring again
_PROMOTIONS = 200  # at a time; more would hold the write lock too long

# --- statements of the hot path, built once: to build one takes longer than to run it ------------

_DIRECTION = transfers.c.direction == bindparam("direction")
_WAITING = select(
    *(
        # In the order of the index, or PostgreSQL reads the table until it finds one.
        select(transfers.c.id)
        .where(text(TRANSFER_PENDING), transfers.c.direction == literal(direction))
        .order_by(transfers.c.registry)
        .limit(1)
        .scalar_subquery()
        .label(direction)
        for direction in DIRECTIONS
    )
)
_BUSY = select(func.count()).select_from(transfers).where(text(TRANSFER_BUSY), _DIRECTION)
# Counted over every lane, idle and parked ones too: one that was away is served next, once, and not
# until it has caught up.
_LAST_SERVED = select(func.coalesce(func.max(lanes.c.served), 0)).where(
    lanes.c.direction == bindparam("direction")
)
_STANDING = {
    direction: select(
        _BUSY.scalar_subquery().label("busy"),
        # Live worker threads that could take up a transfer.
        select(func.coalesce(func.sum(threads), 0)).scalar_subquery().label("threads"),
        _LAST_SERVED.scalar_subquery().label("served"),
        collection.SHORT_OF_SPACE.scalar_subquery().label("short_of_space"),
    )
    for direction, threads in (("download", workers.c.downloads), ("upload", workers.c.uploads))
}
_HEAD = (
    select(transfers.c.priority)
    .where(
        text(f"transfers.{TRANSFER_PENDING}"),
        _DIRECTION,
        transfers.c.registry == lanes.c.registry,
    )
    .order_by(transfers.c.priority.desc())
    .limit(1)
    .correlate(lanes)
    .scalar_subquery()
)
_LANES = select(lanes.c.registry, lanes.c.served, _HEAD.label("head")).where(
    lanes.c.direction == bindparam("direction"),
    due(lanes.c.parked_until, lanes.c.parked_delay, NOW),
)
_QUEUE = (
    select(transfers.c.id, transfers.c.priority, transfers.c.digest, transfers.c.size)
    .where(text(TRANSFER_PENDING), _DIRECTION, transfers.c.registry == bindparam("lane"))
    .order_by(transfers.c.priority.desc(), transfers.c.turn, transfers.c.id)
    .limit(bindparam("most"))
)
_ADMIT = (
    update(transfers)
    .where(transfers.c.id.in_(bindparam("ids", expanding=True)), text(TRANSFER_PENDING))
    .values(state="admitted", rung_until=bindparam("until"))
)
_SERVED = (
    update(lanes)
    .where(lanes.c.direction == bindparam("way"), lanes.c.registry == bindparam("lane"))
    .values(served=bindparam("turns"))
)
_UNSTARTED = (
    update(transfers)
    .where(text(TRANSFER_ADMITTED), due(transfers.c.rung_until, literal(RING_SECONDS), NOW))
    .values(rung_until=bindparam("until"))
    .returning(transfers.c.id, transfers.c.direction, transfers.c.digest, transfers.c.size)
)


@dataclass(frozen=True, slots=True)
class Admitted:
    """A transfer to be published to the queue of its direction."""

    id: int
    direction: str
    digest: str
    size: int


@dataclass(slots=True)
class Turns:
    """Gives out turns for one root; computes the first of each lane, then counts on."""

    root: str
    _next: dict[tuple[str, str, int], int] = field(default_factory=dict)

    def take(self, connection: Connection, direction: str, registry: str, priority: int) -> int:
        """The next turn of this root in a lane and priority."""
        lane = (direction, registry, priority)
        turn = self._next.get(lane)
        if turn is None:
            turn = first_turn(connection, self.root, direction, registry, priority)
        self._next[lane] = turn + 1
        return turn


def first_turn(
    connection: Connection, root: str, direction: str, registry: str, priority: int
) -> int:
    """Where a root that adds a transfer now has to queue.

    Not before the lane's head, and behind what it has there itself.
    """
    pending = select(transfers.c.turn).where(
        text(TRANSFER_PENDING),
        transfers.c.direction == direction,
        transfers.c.registry == registry,
        transfers.c.priority == priority,
    )
    head = connection.execute(pending.order_by(transfers.c.turn).limit(1)).scalar()
    last = connection.execute(
        pending.where(transfers.c.root == root).order_by(transfers.c.turn.desc()).limit(1)
    ).scalar()
    return max(head or 0, (last + 1) if last is not None else 0)


def open_lane(connection: Connection, direction: str, registry: str) -> None:
    """Make sure that the lane's row exists."""
    connection.execute(
        upsert(lanes)
        .values(
            direction=direction,
            registry=registry,
            parked_until=0,
            parked_delay=0,
            served=0,
        )
        .on_conflict_do_nothing()
    )


def waiting(connection: Connection) -> list[str]:
    """The directions in which transfers are pending: most often none."""
    row = connection.execute(_WAITING).one()
    return [
        direction for direction, first in zip(DIRECTIONS, row, strict=True) if first is not None
    ]


def possible(connection: Connection, now: float) -> bool:
    """Whether `admit` would admit something in either direction. Locks and writes nothing."""
    in_force = limits.effective(connection)
    for direction in waiting(connection):
        standing = connection.execute(_STANDING[direction], {"direction": direction}).one()
        if direction == "download" and standing.short_of_space:
            continue
        limit = in_force[limits.CONCURRENCY[direction]].value
        if min(limit, standing.threads) <= standing.busy:
            continue
        room = limits.room(connection)
        lanes_open = connection.execute(_LANES, {"direction": direction, "now": now})
        if any(row.head is not None and room.get(row.registry, 1) > 0 for row in lanes_open):
            return True
    return False


def admit(connection: Connection, direction: str, now: float) -> list[Admitted]:
    """Admit what the limit leaves room for, in fair order, and return it for publishing.

    Takes the limits' lock; who may have nothing to admit asks for what is `waiting` first. While
    the store is short of space nothing is admitted that would fill it.

    The caller publishes after its transaction has committed. What a crash keeps from being
    published is rung again by `unstarted`.
    """
    limit = limits.lock_concurrency(connection)[direction]
    standing = connection.execute(_STANDING[direction], {"direction": direction}).one()
    if direction == "download" and standing.short_of_space:
        return []
    free = min(limit, standing.threads) - standing.busy
    if free <= 0:
        return []
    room = limits.room(connection)
    open_lanes = _lanes_with_work(connection, direction, now, free, room)
    picked: list[Any] = []
    served = standing.served
    while len(picked) < free and (queued := [lane for lane in open_lanes if lane.queue]):
        lane = min(queued, key=lambda lane: (-lane.queue[0].priority, lane.served))
        picked.append(lane.queue.pop(0))
        served += 1
        lane.served = served
        lane.touched = True
    if not picked:
        return []
    ids = [row.id for row in picked]
    connection.execute(_ADMIT, {"ids": ids, "until": now + RING_SECONDS})
    for lane in open_lanes:
        if lane.touched:
            where = {"way": direction, "lane": lane.registry, "turns": lane.served}
            connection.execute(_SERVED, where)
    return [Admitted(row.id, direction, row.digest, row.size) for row in picked]


def promote(connection: Connection, now: float) -> int:
    """Make delayed transfers whose time has come pending again, and say how many."""
    rows = connection.execute(
        select(
            transfers.c.id,
            transfers.c.root,
            transfers.c.direction,
            transfers.c.registry,
            transfers.c.priority,
            transfers.c.turn,
        )
        .where(
            text(TRANSFER_DELAYED),
            due(transfers.c.not_before, transfers.c.not_before_delay, now),
        )
        .order_by(transfers.c.not_before)
        .limit(_PROMOTIONS)
    ).all()
    for row in rows:
        # Its old turn, unless the lane has moved on: then at the lane's head, not before it.
        head = connection.execute(
            _pending_turns(row.direction, row.registry, row.priority).limit(1)
        ).scalar()
        connection.execute(
            update(transfers)
            .where(transfers.c.id == row.id, text(TRANSFER_DELAYED))
            .values(state="pending", turn=max(row.turn, head or 0))
        )
    return len(rows)


def unstarted(connection: Connection, now: float) -> list[Admitted]:
    """What was admitted and not taken up in time: its message may be lost. Marks it as rung."""
    rows = connection.execute(_UNSTARTED, {"now": now, "until": now + RING_SECONDS}).all()
    return [Admitted(row.id, row.direction, row.digest, row.size) for row in rows]


@dataclass(slots=True)
class _Lane:
    registry: str
    served: int
    queue: list[Any]
    touched: bool = False


def _lanes_with_work(
    connection: Connection, direction: str, now: float, most: int, room: Mapping[str, int]
) -> list[_Lane]:
    rows = connection.execute(_LANES, {"direction": direction, "now": now}).all()
    ranked = sorted(
        (row for row in rows if row.head is not None and room.get(row.registry, most) > 0),
        key=lambda row: (-row.head, row.served),
    )
    # With *most* slots to give, no lane beyond the first *most* can get one.
    return [
        _Lane(
            row.registry,
            row.served,
            _queue(connection, direction, row.registry, min(most, room.get(row.registry, most))),
        )
        for row in ranked[:most]
    ]


def _queue(connection: Connection, direction: str, registry: str, most: int) -> list[Any]:
    where = {"direction": direction, "lane": registry, "most": most}
    return list(connection.execute(_QUEUE, where).all())


def _pending_turns(direction: str, registry: str, priority: int) -> Select[tuple[int]]:
    return (
        select(transfers.c.turn)
        .where(
            text(TRANSFER_PENDING),
            transfers.c.direction == direction,
            transfers.c.registry == registry,
            transfers.c.priority == priority,
        )
        .order_by(transfers.c.turn)
    )
