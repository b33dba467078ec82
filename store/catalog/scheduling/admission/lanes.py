"""Which registries may be asked now: lanes, and what closes them.

A registry is closed while an operator has paused it or it is parked, and half open when the time of
its park has come and nobody has had an answer yet: one goes ahead then. What a credential may ask
of a registry can be used up for a while; that holds back those who sign in with it alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    bindparam,
    exists,
    literal_column,
    or_,
    select,
    text,
    union_all,
)

from transship.store.catalog.db.due import NOW, due, is_due
from transship.store.catalog.db.schema import (
    TRANSFER_PENDING,
    budgets,
    lanes,
    registries,
    transfers,
)
from transship.store.catalog.db.sql import ONE, ZERO, constant, upsert

DIRECTIONS = ("download", "upload")

_PAUSED, _PARKED, _SILENT, _EXHAUSTED = "paused", "parked", "silent", "exhausted"
# Without parameters, so that it is planned once: what is due is told of the rows.
_STATE = union_all(
    select(
        constant(_PAUSED).label("what"),
        registries.c.registry,
        constant("").label("more"),
        literal_column("0.0").label("until"),
        literal_column("0.0").label("delay"),
    ).where(registries.c.paused),
    *(
        select(constant(what), lanes.c.registry, lanes.c.direction, until, delay).where(
            delay > ZERO
        )
        for what, until, delay in (
            (_PARKED, lanes.c.parked_until, lanes.c.parked_delay),
            (_SILENT, lanes.c.silent_until, lanes.c.silent_delay),
        )
    ),
    select(
        *(constant(_EXHAUSTED), budgets.c.registry, budgets.c.credential),
        *(budgets.c.parked_until, budgets.c.parked_delay),
    ),
)
# Whether any credential may have used up its budget somewhere: most often none has.
SOME_EXHAUSTED: Final = exists(select(ONE).select_from(budgets))


_TURNS = select(transfers.c.turn).where(
    text(TRANSFER_PENDING),
    transfers.c.direction == bindparam("direction"),
    transfers.c.registry == bindparam("registry"),
    transfers.c.priority == bindparam("priority"),
)
FIRST_TURN = (
    _TURNS.where(transfers.c.requester == bindparam("requester"))
    .order_by(transfers.c.turn)
    .limit(1)
)
_LAST_OF_ROOT = (
    _TURNS.where(transfers.c.root == bindparam("root")).order_by(transfers.c.turn.desc()).limit(1)
)


@dataclass(frozen=True, slots=True)
class Openness:
    """Which registries may be asked at a moment.

    *exhausted* says until when the budget of a credential at a registry is used up. *silent* are
    pairs of a queue and a registry that is left alone there, since it said nothing to those who
    asked; in *listening* ones somebody may ask again.
    """

    closed: frozenset[str]
    half_open: frozenset[str]
    exhausted: Mapping[tuple[str, str], float]
    silent: frozenset[tuple[str, str]]
    listening: frozenset[tuple[str, str]]
    next_at: float | None  # when the next park or silence is over

    def until(self, asked: Collection[tuple[str, str]]) -> float | None:
        """When those who ask registries with these credentials may; None: now.

        *asked* are pairs of a registry and the fingerprint of a credential.
        """
        if not self.exhausted:
            return None
        return max((self.exhausted[one] for one in asked if one in self.exhausted), default=None)


def state(connection: Connection, now: float) -> Openness:
    """Which registries may be asked now."""
    closed: set[str] = set()
    half_open: set[str] = set()
    exhausted: dict[tuple[str, str], float] = {}
    silent: set[tuple[str, str]] = set()
    listening: set[tuple[str, str]] = set()
    next_at: float | None = None
    for what, registry, more, until, delay in connection.execute(_STATE):
        over = is_due(until, delay, now)
        if what in (_PARKED, _SILENT) and not over:
            next_at = until if next_at is None else min(next_at, until)
        if what == _EXHAUSTED:
            if not over:
                exhausted[registry, more] = until
        elif what == _SILENT:
            (listening if over else silent).add((more, registry))
        elif what == _PARKED and over:
            half_open.add(registry)
        else:
            closed.add(registry)
    return Openness(
        frozenset(closed),
        frozenset(half_open - closed),
        exhausted,
        frozenset(silent),
        frozenset(listening),
        next_at,
    )


def barred(registry: ColumnElement[str], credential: ColumnElement[str]) -> ColumnElement[bool]:
    """The condition that a registry must not be asked with a credential at `:now`."""
    return or_(
        exists().where(
            lanes.c.registry == registry, ~due(lanes.c.parked_until, lanes.c.parked_delay, NOW)
        ),
        exists().where(registries.c.registry == registry, registries.c.paused),
        exists().where(
            budgets.c.registry == registry,
            budgets.c.credential == credential,
            ~due(budgets.c.parked_until, budgets.c.parked_delay, NOW),
        ),
    )


@dataclass(slots=True)
class Turns:
    """Gives out turns for a root of a requester; computes the first of each lane, then counts on.

    A turn is not before the first that the requester has waiting in the lane, and behind what the
    root has there itself.
    """

    root: str
    requester: str
    _next: dict[tuple[str, str, int], int] = field(default_factory=dict)

    def take(self, connection: Connection, direction: str, registry: str, priority: int) -> int:
        """The next turn of this root in a lane and priority."""
        lane = (direction, registry, priority)
        turn = self._next.get(lane)
        if turn is None:
            where = {"direction": direction, "registry": registry, "priority": priority}
            head = connection.execute(FIRST_TURN, {**where, "requester": self.requester}).scalar()
            last = connection.execute(_LAST_OF_ROOT, {**where, "root": self.root}).scalar()
            turn = max(head or 0, (last + 1) if last is not None else 0)
        self._next[lane] = turn + 1
        return turn


def behind_head(
    connection: Connection, requester: str, direction: str, registry: str, priority: int, turn: int
) -> int:
    """How many turns of a requester in a lane come before *turn*."""
    where = {"direction": direction, "registry": registry, "priority": priority}
    head = connection.execute(FIRST_TURN, {**where, "requester": requester}).scalar()
    return max(0, turn - (turn if head is None else head))


def open_lane(connection: Connection, direction: str, registry: str) -> None:
    """Make sure that the lane's row exists."""
    connection.execute(
        upsert(lanes)
        .values(
            direction=direction,
            registry=registry,
            parked_until=0,
            parked_delay=0,
            silent_until=0,
            silent_delay=0,
            served=0,
        )
        .on_conflict_do_nothing()
    )
