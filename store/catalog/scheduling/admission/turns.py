"""Whose turn it is: jobs and transfers that wait, in fair order.

The higher priority goes first. Within one the requesters (who asked for a root: a token, a user, a
stored mirror) take turns, the one that was served least recently first, so that a thousand pulls
of one do not outweigh the mirror of another. What one requester has waiting is in the order of
`turn`, which is given when it is inserted such that its roots alternate.

Only the heads of lines are read, however many are behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Integer,
    Row,
    Table,
    bindparam,
    column,
    select,
    text,
)

from transship.store.catalog.db.schema import rounds
from transship.store.catalog.db.sql import upsert

_PAGE = 500  # rows read at a time where many are sifted out

Sift = Callable[[Sequence[Row[Any]]], Sequence[Row[Any]]]


def unsifted(rows: Sequence[Row[Any]]) -> Sequence[Row[Any]]:
    """All of some waiting rows: nothing holds any of them back."""
    return rows


_SERVED = upsert(rounds).on_conflict_do_update(
    index_elements=["queue", "registry", "requester"], set_={"served": bindparam("stamp")}
)


class Waiting:
    """The rows of a table that wait for their turn. Built once: that takes longer than to read."""

    def __init__(
        self,
        table: Table,
        predicate: str,
        lane: Sequence[str],
        *,
        last: Column[Any],
        shown: Sequence[Column[Any]],
        ready: ColumnElement[bool] | None = None,
    ) -> None:
        """Describe the waiting rows.

        Args:
            table: Has `priority`, `requester` and `turn`.
            predicate: Which of its rows wait, in the words of the partial index over *lane*,
                `priority DESC`, `requester`, `turn` and *last*.
            lane: Names of the columns that tell lanes apart; their values are bound by name.
            last: Orders rows of the same turn.
            shown: The columns of a row that are read.
            ready: Which of them may be picked, where it is not all.
        """
        self.table = table
        here = " AND ".join((predicate, *(f"{name} = :{name}" for name in lane)))
        rows = f"FROM {table.name} WHERE {here}"
        self.top = text(f"SELECT max(priority) {rows} AND priority < :below")
        # A walk from one requester to the next over the index, which neither database finds by
        # itself for DISTINCT.
        mine = f"SELECT min(requester) {rows} AND priority = :priority"
        self.requesters = text(
            f"""
            WITH RECURSIVE those(name) AS (
              {mine}
              UNION ALL
              SELECT ({mine} AND requester > those.name) FROM those WHERE those.name IS NOT NULL
            )
            SELECT those.name, coalesce(rounds.served, 0) AS served, (
              SELECT coalesce(max(served), 0) FROM rounds
              WHERE rounds.queue = :rounds_queue AND rounds.registry = :rounds_registry
            ) AS last
            FROM those LEFT JOIN rounds ON rounds.queue = :rounds_queue
              AND rounds.registry = :rounds_registry AND rounds.requester = those.name
            WHERE those.name IS NOT NULL
            """  # noqa: S608 -- of constants
        ).columns(column("name"), column("served", Integer), column("last", Integer))
        query = select(*shown).where(
            text(here),
            table.c.priority == bindparam("priority"),
            table.c.requester == bindparam("requester"),
        )
        if ready is not None:
            query = query.where(ready)
        self.rows = query.order_by(table.c.turn, last).limit(bindparam("most"))


@dataclass(slots=True)
class Rounds:
    """Who of the requesters in a queue was served when; remembers who is served now."""

    queue: str
    registry: str = ""
    last: int = 0  # the newest stamp, as a line has read it
    _now: dict[str, int] = field(default_factory=dict)

    @property
    def key(self) -> dict[str, str]:
        """What binds the statements of `Waiting` to these."""
        return {"rounds_queue": self.queue, "rounds_registry": self.registry}

    def served(self, requester: str, before: int) -> int:
        """When it was served: now, or as the database has it, *before*."""
        return self._now.get(requester, before)

    def serve(self, requester: str) -> None:
        """It has its turn now."""
        self.last += 1
        self._now[requester] = self.last

    def write(self, connection: Connection) -> None:
        """Write down who was served."""
        for requester, stamp in self._now.items():
            connection.execute(
                _SERVED,
                {
                    "queue": self.queue,
                    "registry": self.registry,
                    "requester": requester,
                    "served": stamp,
                    "stamp": stamp,
                },
            )


@dataclass(slots=True)
class Line:
    """The rows of one lane in fair order, read as they are asked for.

    *most* rows will be taken from it at most; *top* is the highest priority there. *sift* is given
    rows in their order, returns those that may be picked, and takes care that the others do not
    wait here any more.
    """

    waiting: Waiting
    connection: Connection
    where: Mapping[str, Any]
    rounds: Rounds
    most: int
    top: int
    sift: Sift = unsifted
    _below: int | None = None  # the priority that is read
    _queues: dict[str, list[Row[Any]] | None] = field(default_factory=dict)  # None: not read yet
    _before: dict[str, int] = field(default_factory=dict)

    def head(self) -> Row[Any] | None:
        """The row whose turn it is; None where nothing is left."""
        while True:
            while self._queues:
                requester = min(
                    self._queues, key=lambda one: self.rounds.served(one, self._before[one])
                )
                rows = self._queues[requester]
                if rows is None:
                    rows = self._queues[requester] = self._read(requester)
                if rows:
                    return rows[0]
                del self._queues[requester]
            if not self._next_priority():
                return None

    @property
    def stamp(self) -> int:
        """When the requester of the head was served last."""
        head = self.head()
        return (
            -1 if head is None else self.rounds.served(head.requester, self._before[head.requester])
        )

    @property
    def requesters(self) -> Collection[str]:
        """Those who wait with the head's priority, and more."""
        return self._before

    def take(self, *, in_turn: bool) -> Row[Any]:
        """Take the head, of which there is one. *in_turn*: that was the turn of its requester.

        Who is alone takes no turns, and nothing is written down of it.
        """
        row = self._pop()
        if in_turn:
            self.rounds.serve(row.requester)
        return row

    def read_again(self) -> None:
        """Others of these rows were taken: what is left is read when it is asked for."""
        self._queues = dict.fromkeys(self._before)

    def _pop(self) -> Row[Any]:
        row = self.head()
        assert row is not None
        rows = self._queues[row.requester]
        assert rows is not None
        return rows.pop(0)

    def _next_priority(self) -> bool:
        top = self.top if self._below is None else self._next_below(self._below)
        if top is None:
            return False
        self._below = top
        where = {**self.where, **self.rounds.key, "priority": top}
        found = self.connection.execute(self.waiting.requesters, where).all()
        self.rounds.last = max([self.rounds.last, *(row.last for row in found)])
        self._before = {row.name: row.served for row in found}
        self._queues = dict.fromkeys(self._before)
        return True

    def _next_below(self, priority: int) -> int | None:
        where = {**self.where, "below": priority}
        top: int | None = self.connection.execute(self.waiting.top, where).scalar()
        return top

    def _read(self, requester: str) -> list[Row[Any]]:
        where = {**self.where, "priority": self._below, "requester": requester}
        kept: list[Row[Any]] = []
        for most in (self.most, _PAGE, _PAGE):
            rows = self.connection.execute(self.waiting.rows, {**where, "most": most}).all()
            kept = list(self.sift(rows))
            if len(kept) == len(rows):
                break
        return kept  # where very many were sifted out, the next look goes on
