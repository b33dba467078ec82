"""Which due jobs are dispatched now: no more are out than there are threads to advance them.

A mirror's ten thousand children are rows; a few dozen messages are in the queues. What is
dispatched is a *batch*: jobs of the same parent, or else requester, kind, lane and priority, which
one thread advances together. It counts as one, and its message names its first job. A lane is made
of the registries that a job asks. What is read is the head of each lane's due jobs, however many
are behind it; a lane with a closed registry is not read at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Integer,
    Label,
    Row,
    TextualSelect,
    bindparam,
    column,
    func,
    literal,
    select,
    text,
    update,
)

from transship.store.catalog.content import collection
from transship.store.catalog.db.due import NOW, due, is_due
from transship.store.catalog.db.schema import (
    JOB_BATCHED,
    JOB_DUE,
    JOB_OUT,
    JOB_STOPPING,
    jobs,
    workers,
)
from transship.store.catalog.db.sql import ONE, ZERO, constant
from transship.store.catalog.scheduling.admission import lanes
from transship.store.catalog.scheduling.admission.lanes import Openness
from transship.store.catalog.scheduling.admission.turns import Line, Rounds, Sift, Waiting, unsifted
from transship.store.catalog.scheduling.jobs import CONTROL, LOCAL, asked

RESEND_SECONDS = 5.0  # none is dispatched twice within
MAX_JOBS = 32  # of a batch
QUEUES = (CONTROL, LOCAL)

# Built once: to build a statement takes longer than to run it.
_QUEUE = jobs.c.queue == bindparam("queue")


def _standing(queue: str, threads: Column[int]) -> Iterator[Label[Any]]:
    yield (
        select(func.coalesce(func.sum(threads), ZERO)).scalar_subquery().label(f"{queue}_threads")
    )
    for name, predicate, order in (
        ("due", JOB_DUE, (jobs.c.queue, jobs.c.lane)),
        ("stopping", JOB_STOPPING, (jobs.c.queue, jobs.c.seq)),
        ("out", JOB_OUT, (jobs.c.queue,)),
    ):
        yield (
            select(jobs.c.seq)
            .where(text(predicate), jobs.c.queue == constant(queue))
            # In the order of the index, or PostgreSQL reads the table until it finds one.
            .order_by(*order)
            .limit(ONE)
            .scalar_subquery()
            .label(f"{queue}_{name}")
        )


def _lanes_with_due(queue: str) -> TextualSelect:
    """The lanes that have due jobs, each with the highest priority there.

    A walk from one to the next over the index of due jobs, which neither database finds by itself
    for DISTINCT.
    """
    here = f"FROM jobs WHERE {JOB_DUE} AND queue = '{queue}'"
    return text(
        f"""
        WITH RECURSIVE waiting(lane) AS (
          SELECT min(lane) {here}
          UNION ALL
          SELECT (SELECT min(lane) {here} AND lane > waiting.lane)
          FROM waiting WHERE waiting.lane IS NOT NULL
        )
        SELECT lane, (
          SELECT priority {here} AND lane = waiting.lane ORDER BY priority DESC LIMIT 1
        ) AS head
        FROM waiting WHERE lane IS NOT NULL
        """  # noqa: S608 -- of constants
    ).columns(jobs.c.lane, column("head", Integer))


# Without parameters, so that each is planned once: what is due is told of the rows.
_STANDING = select(*_standing(CONTROL, workers.c.control), *_standing(LOCAL, workers.c.local))
_LANES = {queue: _lanes_with_due(queue) for queue in QUEUES}
_OUT = {
    queue: select(
        func.min(jobs.c.lane).label("lane"),
        func.min(jobs.c.priority).label("priority"),
        func.max(jobs.c.owner).label("owner"),
        func.max(jobs.c.dispatched_until).label("dispatched_until"),
    )
    .where(text(JOB_OUT), jobs.c.queue == constant(queue))
    .group_by(jobs.c.batch)
    for queue in QUEUES
}
_SHOWN = (
    *(jobs.c.id, jobs.c.kind, jobs.c.queue, jobs.c.label, jobs.c.registry, jobs.c.lane),
    *(jobs.c.credential, jobs.c.other_credential, jobs.c.batch_key, jobs.c.alone, jobs.c.fence),
    *(jobs.c.priority, jobs.c.requester, jobs.c.turn, jobs.c.seq),
)
_READY = due(jobs.c.not_before, jobs.c.not_before_delay, NOW) & due(
    jobs.c.dispatched_until, literal(RESEND_SECONDS), NOW
)
_WAITING, _WAITING_TO_READ = (
    Waiting(jobs, JOB_DUE, ("queue", "lane"), last=jobs.c.seq, shown=_SHOWN, ready=ready)
    for ready in (_READY, _READY & ~jobs.c.writes_store)
)
_OF_BATCH_KEY = (
    select(*_SHOWN)
    .where(
        text(JOB_BATCHED),
        _QUEUE,
        jobs.c.lane == bindparam("lane"),
        jobs.c.priority == bindparam("priority"),
        jobs.c.batch_key == bindparam("key"),
        jobs.c.stop_requested.is_(None),
        _READY,
    )
    .order_by(jobs.c.turn, jobs.c.seq)
    .limit(bindparam("most"))
)
_READY_IN_LANE = select(func.count()).select_from(
    select(jobs.c.id)
    .where(text(JOB_DUE), _QUEUE, jobs.c.lane == bindparam("lane"), _READY)
    .limit(bindparam("most"))
    .subquery()
)
_STOPPING = (
    select(*_SHOWN)
    .where(text(JOB_STOPPING), _QUEUE, _READY)
    .order_by(jobs.c.seq)
    .limit(bindparam("most"))
)
_SENT = (
    update(jobs)
    .where(jobs.c.id.in_(bindparam("ids", expanding=True)))
    .values(
        dispatched_until=bindparam("until"),
        batch=bindparam("name"),
        shared=bindparam("together"),
    )
)
_PUT_OFF = (
    update(jobs)
    .where(jobs.c.id == bindparam("job"), text(JOB_DUE))
    .values(
        due=False,
        not_before=bindparam("until"),
        not_before_delay=bindparam("until") - bindparam("at"),
    )
)


@dataclass(frozen=True, slots=True)
class QueueState:
    """How a queue stands: its live threads, and whether there is anything."""

    queue: str
    threads: int
    due: bool
    stopping: bool  # of the due ones, some are to stop
    out: bool  # something is dispatched, or held

    @classmethod
    def of_all(cls, connection: Connection) -> dict[str, QueueState]:
        """Look at every queue, in one statement."""
        row = connection.execute(_STANDING).one()._mapping  # noqa: SLF001 -- SQLAlchemy's own API
        return {
            queue: cls(
                queue,
                row[f"{queue}_threads"],
                *(row[f"{queue}_{name}"] is not None for name in ("due", "stopping", "out")),
            )
            for queue in QUEUES
        }


def possible(connection: Connection, standing: QueueState, state: Openness, now: float) -> bool:
    """Whether `take_due` would find something to do in a queue; changes nothing."""
    room = _Room.of(connection, standing, now, state)
    if room is None or room.free <= 0:
        return False
    if room.stopping():
        return True
    lines = _lines(room, Rounds(standing.queue), room.free, unsifted)
    return any(line.head() is not None for line in lines.values())


def wanting(
    connection: Connection, queue: str, now: float, *, without: Collection[str], most: int
) -> int:
    """How many due jobs would be dispatched, were there threads: of lanes without *without*.

    Counts to *most*.
    """
    room = _Room.of(connection, QueueState.of_all(connection)[queue], now)
    if room is None:
        return 0
    found = 0
    for row in room.waiting:
        held_up = room.is_open(row.lane) and not room.has_for(row.lane, row.head)
        if held_up and found < most and not any(name in without for name in row.lane.split()):
            where = {"queue": queue, "lane": row.lane, "now": now, "most": most - found}
            found += int(connection.execute(_READY_IN_LANE, where).scalar_one())
    return found


@dataclass(frozen=True, slots=True)
class Dispatched:
    """A batch to be published: its first job, and how many others are in it."""

    id: str
    kind: str
    queue: str
    label: str
    others: int


def take_due(
    connection: Connection, now: float, *, queues: Iterable[str] = QUEUES
) -> list[Dispatched]:
    """Pick the batches to dispatch now, and mark their jobs.

    No more are out than a queue has threads; a quarter of these, at least one, takes only jobs of
    priority 0 or above. A lane holds no more threads of the control queue than are left to others,
    so that several slow ones leave room; one with a closed registry holds none. A registry that is
    half open, or was silent, is asked by one job at a time. Jobs whose credential has no budget are
    put off until it has. What is to stop goes first, wherever it belongs.
    """
    some = list(queues)
    standing = QueueState.of_all(connection) if some else {}
    return [one for queue in some for one in _take(connection, standing[queue], now)]


def _take(connection: Connection, standing: QueueState, now: float) -> list[Dispatched]:
    room = _Room.of(connection, standing, now)
    if room is None or room.free <= 0:
        return []
    picked: list[Dispatched] = []
    rounds = Rounds(standing.queue)
    stopping = room.stopping()
    for row in stopping:
        room.give(row)
        picked.append(_sent(connection, row, [], now))
    sift = _sift(room)
    lines = _lines(room, rounds, room.free, sift)
    while room.free > 0:
        heads = []
        for lane, line in lines.items():
            head = line.head()
            if head is not None and room.has_for(lane, head.priority):
                heads.append((line, head))
        if not heads:
            break
        line, head = min(
            heads,
            key=lambda one: (
                -one[1].priority,
                room.held_in(one[1].lane),
                one[0].stamp,
                one[1].turn,
                one[1].seq,
            ),
        )
        line.take(in_turn=len({name for one in lines.values() for name in one.requesters}) > 1)
        others = _companions(room, head, sift)
        picked.append(_sent(connection, head, others, now))
        if others:
            line.read_again()
        room.give(head)
    if picked:
        rounds.write(connection)
    return picked


def _companions(room: _Room, head: Row[Any], sift: Sift) -> list[Row[Any]]:
    """Which due jobs are advanced together with *head*.

    All that there are, for those of a batch ask side by side, and fewer batches are fewer
    transactions.
    """
    if not head.batch_key or head.alone or not room.shares(head.lane):
        return []
    where = {"queue": room.queue, "lane": head.lane, "priority": head.priority, "now": room.now}
    where |= {"key": head.batch_key, "most": MAX_JOBS}
    rows = sift([*room.connection.execute(_OF_BATCH_KEY, where)])
    return [row for row in rows if row.id != head.id][: MAX_JOBS - 1]


def _sent(
    connection: Connection, head: Row[Any], others: Sequence[Row[Any]], now: float
) -> Dispatched:
    """Mark a batch as dispatched, under a name that no other one has."""
    ids = [head.id, *(row.id for row in others)]
    fields = {"name": f"{head.id} {head.fence}", "together": bool(others)}
    connection.execute(_SENT, {"ids": ids, "until": now + RESEND_SECONDS, **fields})
    return Dispatched(head.id, head.kind, head.queue, head.label, len(others))


@dataclass
class _Room:
    """How many threads of a queue are free, and who may have them."""

    connection: Connection
    queue: str
    now: float
    some_stop: bool
    free: int
    low: int  # of these, for priorities below 0
    held: Counter[str]  # threads, by lane
    asking: Counter[str]  # the same threads, by registry
    known: Openness | None  # read when it is asked for

    @classmethod
    def of(
        cls,
        connection: Connection,
        standing: QueueState,
        now: float,
        state: Openness | None = None,
    ) -> _Room | None:
        """What there is now; None where nothing is due. *state*: where it is known already."""
        if not standing.due:
            return None
        queue, capacity = standing.queue, standing.threads
        out = [
            row
            for row in connection.execute(_OUT[queue])
            if row.owner is not None or not is_due(row.dispatched_until, RESEND_SECONDS, now)
        ]
        free = capacity - len(out)
        low = capacity - max(1, capacity // 4) if capacity > 1 else free
        low -= sum(row.priority < 0 for row in out)
        held = Counter(row.lane for row in out)
        asking = Counter(name for row in out for name in row.lane.split())
        return cls(connection, queue, now, standing.stopping, free, low, held, asking, state)

    @property
    def state(self) -> Openness:
        """Which registries may be asked."""
        if self.known is None:
            self.known = lanes.state(self.connection, self.now)
        return self.known

    @cached_property
    def waiting(self) -> Sequence[Row[Any]]:
        """The lanes in which something is due, with the highest priority in each."""
        return self.connection.execute(_LANES[self.queue]).all()

    def stopping(self) -> list[Row[Any]]:
        """Jobs that are to stop: they ask no registry."""
        if not self.some_stop:
            return []
        where = {"queue": self.queue, "now": self.now, "most": self.free}
        found: list[Any] = [*self.connection.execute(_STOPPING, where)]
        return found

    def open_lanes(self) -> dict[str, int]:
        """The lanes whose head may have a thread, those first that are next, and its priority.

        With so many threads to give, none beyond them can have its turn.
        """
        found = [row for row in self.waiting if self.has_for(row.lane, row.head)]
        found.sort(key=lambda row: (-row.head, self.held_in(row.lane)))
        return {row.lane: row.head for row in found[: self.free]}

    def has_for(self, lane: str, priority: int) -> bool:
        """Whether a job of *lane* may have a thread."""
        if self.free <= 0 or (priority < 0 and self.low <= 0) or not self.is_open(lane):
            return False
        held = self.held[lane]
        return self.queue != CONTROL or not held or held < self.free

    def is_open(self, lane: str) -> bool:
        """Whether the registries of *lane* may be asked by one more."""
        state = self.state
        for registry in lane.split():
            here = (self.queue, registry)
            if registry in state.closed or here in state.silent:
                return False
            alone = registry in state.half_open or here in state.listening
            if alone and self.asking[registry]:
                return False
        return True

    def shares(self, lane: str) -> bool:
        """Whether several jobs of *lane* may go together: its registries are known to answer."""
        state = self.state
        return not any(
            registry in state.half_open or (self.queue, registry) in state.listening
            for registry in lane.split()
        )

    def held_in(self, lane: str) -> int:
        """How many threads *lane* holds."""
        return self.held[lane]

    def give(self, row: Row[Any]) -> None:
        """A job has a thread."""
        self.free -= 1
        self.low -= row.priority < 0
        self.held[row.lane] += 1
        self.asking.update(row.lane.split())


def _lines(room: _Room, rounds: Rounds, most: int, sift: Sift) -> dict[str, Line]:
    waiting = _WAITING
    if room.queue == LOCAL and collection.short_of_space(room.connection):
        waiting = _WAITING_TO_READ
    return {
        lane: Line(
            waiting,
            room.connection,
            {"queue": room.queue, "lane": lane, "now": room.now},
            rounds,
            most,
            head,
            sift,
        )
        for lane, head in room.open_lanes().items()
    }


def _sift(room: _Room) -> Sift:
    """Those of some due jobs whose credentials have budgets; puts off the others."""

    def sift(rows: Sequence[Row[Any]]) -> Sequence[Row[Any]]:
        kept: list[Row[Any]] = []
        late: list[dict[str, Any]] = []
        for row in rows:
            until = room.state.until(asked(row))
            if until is None:
                kept.append(row)
            else:
                late.append({"job": row.id, "until": until, "at": room.now})
        if late:
            room.connection.execute(_PUT_OFF, late)
        return kept

    return sift
