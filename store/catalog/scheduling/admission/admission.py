"""Which pending transfers may start: how the limits are kept.

What is admitted is a *bundle*, which has one slot: a large blob, or some small ones of one lane,
root and priority. Its number is that of the slot, counted in its direction; none is given twice.

A lane is a direction and a registry. Between lanes the higher priority goes first, then the lane
that was served least recently; within one it is as `turns` has it. Lanes of closed registries
(`lanes`) have no turn.

The queues never hold more than the limit: what is admitted here is what is published.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Row,
    Select,
    bindparam,
    func,
    literal,
    select,
    text,
    update,
)

from transship.store.catalog.content import collection
from transship.store.catalog.db.due import NOW, due, is_due
from transship.store.catalog.db.schema import (
    SMALL_BLOB_BYTES,
    TRANSFER_ADMITTED,
    TRANSFER_BUSY,
    TRANSFER_DELAYED,
    TRANSFER_PENDING,
    TRANSFER_SMALL,
    lanes,
    registries,
    transfers,
    workers,
)
from transship.store.catalog.db.sql import ONE, ZERO, constant
from transship.store.catalog.scheduling.admission import lanes as lane_rows
from transship.store.catalog.scheduling.admission import limits, parking
from transship.store.catalog.scheduling.admission.lanes import DIRECTIONS
from transship.store.catalog.scheduling.admission.turns import Line, Rounds, Sift, Waiting, unsifted

RESEND_SECONDS = 5.0  # a message that was not taken up for so long may be lost: send it again
_PROMOTIONS = 200  # at a time; more would hold the write lock too long
# A bundle takes about a second. Of fewer blobs than these, or bytes, its message and transactions
# would cost more than they do.
_MIN_BLOBS, _MAX_BLOBS = 16, 32
_MIN_BYTES, _MAX_BYTES = 4 * 1024 * 1024, 16 * 1024 * 1024

# --- statements of the hot path, built once: to build one takes longer than to run it ------------

_DIRECTION = transfers.c.direction == bindparam("direction")
_BUSY = select(func.count(transfers.c.bundle.distinct())).where(text(TRANSFER_BUSY))


def _standing(direction: str, threads: Column[int]) -> Select[Any]:
    here = transfers.c.direction == constant(direction)
    pending = (
        select(transfers.c.id)
        .where(text(TRANSFER_PENDING), here)
        # In the order of the index, or PostgreSQL reads the table until it finds one.
        .order_by(transfers.c.registry)
        .limit(ONE)
    )
    # Counted over every lane, idle and parked ones too: one that was away is served next, once, and
    # not until it has caught up.
    served = select(func.coalesce(func.max(lanes.c.served), ZERO)).where(
        lanes.c.direction == constant(direction)
    )
    return limits.concurrency(direction).add_columns(
        pending.scalar_subquery().label("pending"),
        _BUSY.where(here).scalar_subquery().label("busy"),
        # Live worker threads that could take up a transfer.
        select(func.coalesce(func.sum(threads), ZERO)).scalar_subquery().label("threads"),
        served.scalar_subquery().label("served"),
        collection.SHORT_OF_SPACE.scalar_subquery().label("short_of_space"),
        lane_rows.SOME_EXHAUSTED.label("exhausted"),
    )


def _waiting(direction: str) -> Select[Any]:
    head = (
        select(transfers.c.priority)
        .where(
            text(f"transfers.{TRANSFER_PENDING}"),
            transfers.c.direction == constant(direction),
            transfers.c.registry == lanes.c.registry,
        )
        .order_by(transfers.c.priority.desc())
        .limit(ONE)
        .correlate(lanes)
    )
    return (
        select(
            *(lanes.c.registry, lanes.c.served, lanes.c.parked_until, lanes.c.parked_delay),
            *(lanes.c.silent_until, lanes.c.silent_delay),
            *(registries.c.paused, registries.c.concurrency),
            head.scalar_subquery().label("head"),
        )
        .join_from(lanes, registries, registries.c.registry == lanes.c.registry, isouter=True)
        .where(lanes.c.direction == constant(direction))
    )


# Without parameters, so that each is planned once: what is due is told of the rows.
_STANDING = {
    "download": _standing("download", workers.c.downloads),
    "upload": _standing("upload", workers.c.uploads),
}
# Who writes has its turn, so that nobody is waited for, and what the rest reads is what there is.
_LOCKED_STANDING = {direction: one.with_for_update() for direction, one in _STANDING.items()}
_LANES = {direction: _waiting(direction) for direction in DIRECTIONS}
_PENDING_IN_LANE = select(func.count()).select_from(
    select(transfers.c.id)
    .where(text(TRANSFER_PENDING), _DIRECTION, transfers.c.registry == bindparam("registry"))
    .limit(bindparam("most"))
    .subquery()
)
_BUSY_IN_LANE = _BUSY.where(_DIRECTION, transfers.c.registry == bindparam("registry"))
_SHOWN = (
    *(transfers.c.id, transfers.c.digest, transfers.c.size, transfers.c.elsewhere),
    *(transfers.c.registry, transfers.c.credential, transfers.c.root, transfers.c.alone),
    *(transfers.c.priority, transfers.c.requester),
)
_QUEUE = Waiting(
    transfers, TRANSFER_PENDING, ("direction", "registry"), last=transfers.c.id, shown=_SHOWN
)
_SMALL_OF_ROOT = (
    select(*_SHOWN)
    .where(
        text(TRANSFER_SMALL),
        _DIRECTION,
        transfers.c.registry == bindparam("registry"),
        transfers.c.root == bindparam("root"),
        transfers.c.priority == bindparam("priority"),
    )
    .order_by(transfers.c.turn, transfers.c.id)
    .limit(bindparam("most"))
)
_PUT_OFF = (
    update(transfers)
    .where(transfers.c.id == bindparam("transfer"), text(TRANSFER_PENDING))
    .values(
        state="delayed",
        not_before=bindparam("until"),
        not_before_delay=bindparam("until") - bindparam("at"),
    )
)
_ADMIT = (
    update(transfers)
    .where(transfers.c.id.in_(bindparam("ids", expanding=True)), text(TRANSFER_PENDING))
    .values(
        state="admitted",
        dispatched_until=bindparam("until"),
        bundle=bindparam("number"),
        shared=bindparam("together"),
    )
)
_SERVED = (
    update(lanes)
    .where(lanes.c.direction == bindparam("way"), lanes.c.registry == bindparam("lane"))
    .values(served=bindparam("turns"))
)
_UNSTARTED = (
    update(transfers)
    .where(text(TRANSFER_ADMITTED), due(transfers.c.dispatched_until, literal(RESEND_SECONDS), NOW))
    .values(dispatched_until=bindparam("until"))
    .returning(transfers.c.bundle, transfers.c.direction, transfers.c.digest, transfers.c.size)
)


@dataclass(frozen=True, slots=True)
class Admitted:
    """A bundle to be published to the queue of its direction: its number, and what is in it."""

    bundle: int
    direction: str
    digests: tuple[str, ...]
    size: int


def possible(connection: Connection, free: Free, now: float) -> bool:
    """Whether `admit` would find something to do where so much is *free*; changes nothing."""
    return free.slots > 0 and bool(_with_work(connection, free.direction, free.slots, now))


def wanting(
    connection: Connection, direction: str, now: float, *, without: Collection[str], most: int
) -> int:
    """How many transfers would start, were there slots: of other registries than *without*.

    Counts to *most*, and is 0 while there is a free slot.
    """
    free = Free.of(connection, direction)
    if not free.pending or free.slots > 0:
        return 0
    found = 0
    for one in _with_work(connection, direction, max(1, free.most), now):
        if one.registry not in without and found < most:
            where = {"direction": direction, "registry": one.registry, "most": most - found}
            found += int(connection.execute(_PENDING_IN_LANE, where).scalar_one())
    return found


def admit(connection: Connection, direction: str, now: float) -> list[Admitted]:
    """Admit what the limit leaves room for, in fair order, and return it for publishing.

    Takes the lock of the direction's limit. While the store is short of space nothing is admitted
    that would fill it. What would be asked with a credential whose budget is used up is put off
    until it has one again.

    The caller publishes after its transaction has committed. What a crash keeps from being
    published is dispatched again by `unstarted`.
    """
    standing = Free.of(connection, direction, locked=True)
    free, served = standing.slots, standing.served
    if free <= 0:
        return []
    sift = _sift(connection, now) if standing.exhausted else unsifted
    work = _with_work(connection, direction, free, now)
    open_lanes = [
        _Lane(
            one,
            one.served,
            Line(
                _QUEUE,
                connection,
                {"direction": direction, "registry": one.registry},
                Rounds(direction, one.registry),
                one.room,
                one.head,
                sift,
            ),
        )
        for one in work
    ]
    admitted: list[Admitted] = []
    while len(admitted) < free:
        heads = [(lane, head) for lane in open_lanes if (head := lane.head()) is not None]
        if not heads:
            break
        lane, _ = min(heads, key=lambda one: (-one[1].priority, one[0].served))
        head = lane.line.take(in_turn=len(lane.line.requesters) > 1)
        slots = min(free - len(admitted), lane.open.room - lane.taken)
        others = [] if lane.open.wary else _companions(connection, direction, head, slots, sift)
        served += 1
        lane.served = served
        lane.taken += 1
        rows = [head, *others]
        fields = {"number": served, "together": bool(others), "until": now + RESEND_SECONDS}
        connection.execute(_ADMIT, {"ids": [row.id for row in rows], **fields})
        if others:
            lane.line.read_again()
        admitted.append(_admitted(served, direction, rows))
    for lane in open_lanes:
        if lane.taken:
            where = {"way": direction, "lane": lane.open.registry, "turns": lane.served}
            connection.execute(_SERVED, where)
            lane.line.rounds.write(connection)
    return admitted


def promote(connection: Connection, now: float) -> int:
    """Make delayed transfers whose time has come pending again, and say how many."""
    rows = connection.execute(
        select(
            transfers.c.id,
            transfers.c.requester,
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
        # Its old turn, unless its requester has moved on: then at the head, not before it.
        head = connection.execute(
            lane_rows.FIRST_TURN,
            {
                "direction": row.direction,
                "registry": row.registry,
                "priority": row.priority,
                "requester": row.requester,
            },
        ).scalar()
        connection.execute(
            update(transfers)
            .where(transfers.c.id == row.id, text(TRANSFER_DELAYED))
            .values(state="pending", turn=max(row.turn, head or 0))
        )
    return len(rows)


def unstarted(connection: Connection, now: float) -> list[Admitted]:
    """What was admitted and not taken up in time, marked as sent: its message may be lost."""
    rows = connection.execute(_UNSTARTED, {"now": now, "until": now + RESEND_SECONDS}).all()
    bundles: defaultdict[tuple[str, int], list[Row[Any]]] = defaultdict(list)
    for row in rows:
        bundles[row.direction, row.bundle].append(row)
    return [_admitted(number, direction, some) for (direction, number), some in bundles.items()]


@dataclass(frozen=True, slots=True)
class Free:
    """How many slots of a direction can be given now.

    None where nothing waits for one. *most* is the limit in force, *served* the stamp of the lane
    that was served last.
    """

    direction: str
    pending: bool
    busy: bool  # something is dispatched or moves
    slots: int
    most: int
    served: int
    exhausted: bool  # some credential has used up its budget

    @classmethod
    def of(cls, connection: Connection, direction: str, *, locked: bool = False) -> Free:
        """Look; *locked*: and keep others from it until the transaction ends."""
        statement = (_LOCKED_STANDING if locked else _STANDING)[direction]
        row = connection.execute(statement).one()
        pending = row.pending is not None
        full = direction == "download" and row.short_of_space
        slots = min(row.most, row.threads) - row.busy if pending and not full else 0
        return cls(direction, pending, row.busy > 0, slots, row.most, row.served, row.exhausted)


@dataclass(frozen=True, slots=True)
class _Open:
    """A lane in which something waits and may start.

    *served* is its stamp, *room* how many slots it can have, *head* the highest priority there.
    In a *wary* one it is not known yet whether the registry answers: one blob goes ahead.
    """

    registry: str
    served: int
    room: int
    head: int
    wary: bool


@dataclass(slots=True)
class _Lane:
    open: _Open
    served: int
    line: Line
    taken: int = 0

    def head(self) -> Row[Any] | None:
        return self.line.head() if self.taken < self.open.room else None


def _admitted(number: int, direction: str, rows: Sequence[Row[Any]]) -> Admitted:
    digests = tuple(row.digest for row in rows)
    return Admitted(number, direction, digests, sum(row.size for row in rows))


def _companions(
    connection: Connection, direction: str, head: Row[Any], slots: int, sift: Sift
) -> list[Row[Any]]:
    """Which small blobs share a slot with *head*, where it is one: a part of what its root has.

    The root's blobs are divided by the *slots* that there are now, so that all of them are used.
    """
    if head.alone or head.size > SMALL_BLOB_BYTES:
        return []
    where = {"direction": direction, "registry": head.registry}
    where |= {"root": head.root, "priority": head.priority, "most": _MAX_BLOBS * slots}
    rows = sift([*connection.execute(_SMALL_OF_ROOT, where)])
    share = math.ceil(len(rows) / slots)
    found: list[Row[Any]] = []
    size = head.size
    for row in rows:
        if row.id == head.id:
            continue
        count = len(found) + 1
        if count >= share and (count >= _MIN_BLOBS or size >= _MIN_BYTES):
            break
        if count == _MAX_BLOBS or size + row.size > _MAX_BYTES:
            break
        found.append(row)
        size += row.size
    return found


def _with_work(connection: Connection, direction: str, most: int, now: float) -> list[_Open]:
    """The open lanes in which something waits, those first that are next.

    With *most* slots to give, no lane beyond the first *most* can get one.
    """
    rows = [
        row
        for row in connection.execute(_LANES[direction])
        if row.head is not None
        and not row.paused
        and is_due(row.parked_until, row.parked_delay, now)
        and is_due(row.silent_until, row.silent_delay, now)
    ]
    limited = {row.registry: row.concurrency for row in rows if row.concurrency is not None}
    room = limits.room(connection, limited)
    ranked = sorted(
        (row for row in rows if room.get(row.registry, most) > 0),
        key=lambda row: (-row.head, row.served),
    )
    found: list[_Open] = []
    for row in ranked:
        takes = min(most, room.get(row.registry, most))
        if row.silent_delay > 0:
            where = {"direction": direction, "registry": row.registry}
            takes = min(takes, 1 - int(connection.execute(_BUSY_IN_LANE, where).scalar_one()))
        if takes > 0:
            wary = row.silent_delay > 0 or row.parked_delay > 0
            found.append(_Open(row.registry, row.served, takes, row.head, wary))
        if len(found) == most:
            break
    return found


def _sift(connection: Connection, now: float) -> Sift:
    """Those of some pending transfers whose credential has a budget; puts off the others."""
    state = lane_rows.state(connection, now)

    def sift(rows: Sequence[Row[Any]]) -> Sequence[Row[Any]]:
        kept: list[Row[Any]] = []
        late: list[dict[str, Any]] = []
        for row in rows:
            until = state.until([(row.registry, row.credential)])
            if until is None:
                kept.append(row)
            elif not (row.elsewhere and parking.pass_on(connection, row.id, now)):
                late.append({"transfer": row.id, "until": until, "at": now})
        if late:
            connection.execute(_PUT_OFF, late)
        return kept

    return sift
