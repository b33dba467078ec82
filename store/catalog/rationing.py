"""Which due jobs are rung now: no more are out than there are threads to advance them.

A mirror's ten thousand children are rows; a few dozen messages are in the queues. What is read is
the head of each registry's due jobs, however many are behind it.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from sqlalchemy import (
    Connection,
    Integer,
    bindparam,
    column,
    func,
    literal,
    or_,
    select,
    text,
    update,
)

from store.catalog import collection
from store.catalog.due import NOW, due
from store.catalog.jobs import CONTROL, LOCAL
from store.catalog.schema import JOB_DUE, JOB_OUT, jobs, registries, workers

RING_SECONDS = 5.0  # none is rung twice within
FRUGAL = ("gc", "fsck", "prune", "export")  # local kinds that do not fill the store

# Built once: to build a statement takes longer than to run it.
_QUEUE = jobs.c.queue == bindparam("queue")
_THREADS = {
    CONTROL: select(func.coalesce(func.sum(workers.c.control), 0)),
    LOCAL: select(func.coalesce(func.sum(workers.c.local), 0)),
}
# The registries that have due jobs, each with the highest priority there: a walk from one to the
# next over the index of due jobs, which neither database finds by itself for DISTINCT.
_REGISTRIES = text(
    f"""
    WITH RECURSIVE waiting(registry) AS (
      SELECT min(registry) FROM jobs WHERE {JOB_DUE} AND queue = :queue
      UNION ALL
      SELECT (
        SELECT min(registry) FROM jobs
        WHERE {JOB_DUE} AND queue = :queue AND registry > waiting.registry
      ) FROM waiting WHERE waiting.registry IS NOT NULL
    )
    SELECT registry, (
      SELECT priority FROM jobs
      WHERE {JOB_DUE} AND queue = :queue AND registry = waiting.registry
      ORDER BY priority DESC LIMIT 1
    ) AS head
    FROM waiting WHERE registry IS NOT NULL
    """  # noqa: S608 -- of constants
).columns(jobs.c.registry, column("head", Integer))
_OUT = select(jobs.c.registry, jobs.c.priority).where(
    text(JOB_OUT),
    _QUEUE,
    or_(
        jobs.c.owner.is_not(None),
        ~due(jobs.c.rung_until, literal(RING_SECONDS), NOW),
    ),
)
_PAUSED = select(registries.c.registry).where(registries.c.paused)
_DUE = select(
    *(jobs.c.id, jobs.c.kind, jobs.c.queue, jobs.c.label),
    *(jobs.c.registry, jobs.c.priority, jobs.c.turn, jobs.c.seq),
).where(
    text(JOB_DUE),
    _QUEUE,
    due(jobs.c.not_before, jobs.c.not_before_delay, NOW),
    due(jobs.c.rung_until, literal(RING_SECONDS), NOW),
)
_OF_REGISTRY = (
    _DUE.where(jobs.c.registry == bindparam("registry"))
    .order_by(jobs.c.priority.desc(), jobs.c.turn, jobs.c.seq)
    .limit(bindparam("most"))
)
_FRUGAL_OF_REGISTRY = _OF_REGISTRY.where(jobs.c.kind.in_(FRUGAL))
_STOPPING = (
    _DUE.where(text("stop_requested IS NOT NULL")).order_by(jobs.c.seq).limit(bindparam("most"))
)
_RING = (
    update(jobs)
    .where(jobs.c.id.in_(bindparam("ids", expanding=True)))
    .values(rung_until=bindparam("until"))
)


def take_due(connection: Connection, now: float) -> list[Any]:
    """Pick the jobs to ring now, mark them as rung, and return id, kind, queue and label of each.

    No more are out than a queue has threads; a quarter of these, at least one, takes only jobs of
    priority 0 or above. In the control queue no registry holds more than half of them, so that a
    slow one leaves room for the others, and one that is paused holds none. What is to stop goes
    first, wherever it belongs.
    """
    picked = [row for queue in _THREADS for row in _pick(connection, queue, now)]
    if picked:
        ids = [row.id for row in picked]
        connection.execute(_RING, {"ids": ids, "until": now + RING_SECONDS})
    return picked


def possible(connection: Connection, now: float) -> bool:
    """Whether `take_due` would pick a job. Writes nothing."""
    return any(_pick(connection, queue, now) for queue in _THREADS)


def _pick(connection: Connection, queue: str, now: float) -> list[Any]:
    waiting = connection.execute(_REGISTRIES, {"queue": queue}).all()
    if not waiting:
        return []
    capacity = int(connection.execute(_THREADS[queue]).scalar_one())
    out = connection.execute(_OUT, {"queue": queue, "now": now}).all()
    free = capacity - len(out)
    if free <= 0:
        return []
    where = {"queue": queue, "now": now}
    picked = list(connection.execute(_STOPPING, {**where, "most": free}))
    low_room = capacity - max(1, capacity // 4) - sum(row.priority < 0 for row in [*out, *picked])
    if capacity == 1:
        low_room = free
    per_registry = max(1, capacity // 2) if queue == CONTROL else capacity
    held = Counter(row.registry for row in [*out, *picked])
    paused = set(connection.execute(_PAUSED).scalars())
    of_registry = _OF_REGISTRY
    if queue == LOCAL and collection.short_of_space(connection):
        of_registry = _FRUGAL_OF_REGISTRY
    open_ = [
        row
        for row in waiting
        if row.registry not in paused
        and held[row.registry] < per_registry
        and (row.head >= 0 or low_room > 0)
    ]
    open_.sort(key=lambda row: (-row.head, held[row.registry]))
    stopping = {row.id for row in picked}
    heads: list[list[Any]] = []
    for row in open_[:free]:  # with so many to pick, none beyond them can have its turn
        most = min(free, per_registry - held[row.registry]) + len(stopping)
        found = connection.execute(of_registry, {**where, "registry": row.registry, "most": most})
        heads.append([one for one in found if one.id not in stopping])
    while len(picked) < free:
        first = [
            lane
            for lane in heads
            if lane
            and held[lane[0].registry] < per_registry
            and (lane[0].priority >= 0 or low_room > 0)
        ]
        if not first:
            break
        lane = min(
            first,
            key=lambda lane: (
                -lane[0].priority,
                held[lane[0].registry],
                lane[0].turn,
                lane[0].seq,
            ),
        )
        row = lane.pop(0)
        picked.append(row)
        held[row.registry] += 1
        low_room -= row.priority < 0
    return picked
