"""Which due jobs are rung now: no more are out than there are threads to advance them.

A mirror's ten thousand children are rows; a few dozen messages are in the queues.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, exists, func, literal, or_, select, text, update

from store.catalog import collection
from store.catalog.due import NOW, due
from store.catalog.jobs import CONTROL, LOCAL
from store.catalog.schema import JOB_ACTIVE, JOB_DUE, jobs, registries, workers

RING_SECONDS = 5.0  # none is rung twice within
FRUGAL = ("gc", "fsck", "prune", "export")  # local kinds that do not fill the store

# Built once: to build a statement takes longer than to run it.
_QUEUE = jobs.c.queue == bindparam("queue")
_THREADS = {
    CONTROL: select(func.coalesce(func.sum(workers.c.control), 0)),
    LOCAL: select(func.coalesce(func.sum(workers.c.local), 0)),
}
_WAITING = select(
    *(
        exists().where(text(JOB_DUE), jobs.c.queue == literal(queue)).label(queue)
        for queue in _THREADS
    )
)
_OUT = select(jobs.c.registry, jobs.c.priority).where(
    text(f"{JOB_ACTIVE} AND (owner IS NOT NULL OR rung_until > 0)"),
    _QUEUE,
    or_(
        jobs.c.owner.is_not(None),
        ~due(jobs.c.rung_until, literal(RING_SECONDS), NOW),
    ),
)
_PAUSED = select(registries.c.registry).where(registries.c.paused)
_DUE = (
    select(jobs.c.id, jobs.c.kind, jobs.c.queue, jobs.c.label, jobs.c.registry, jobs.c.priority)
    .where(
        text(JOB_DUE),
        _QUEUE,
        due(jobs.c.not_before, jobs.c.not_before_delay, NOW),
        due(jobs.c.rung_until, literal(RING_SECONDS), NOW),
        or_(jobs.c.stop_requested.is_not(None), jobs.c.registry.not_in(_PAUSED)),
    )
    .order_by(jobs.c.priority.desc(), jobs.c.turn, jobs.c.seq)
)


def take_due(connection: Connection, now: float) -> list[Any]:
    """Pick the jobs to ring now, mark them as rung, and return id, kind, queue and label of each.

    No more are out than a queue has threads; a quarter of these, at least one, takes only jobs of
    priority 0 or above. In the control queue no registry holds more than half of them, so that a
    slow one leaves room for the others, and one that is paused holds none.
    """
    waiting = connection.execute(_WAITING).one()
    queues = [queue for queue, due_ in zip(_THREADS, waiting, strict=True) if due_]
    return [row for queue in queues for row in _take(connection, queue, now)]


def _take(connection: Connection, queue: str, now: float) -> list[Any]:
    capacity = int(connection.execute(_THREADS[queue]).scalar_one())
    if capacity == 0:
        return []
    frugal = queue == LOCAL and collection.short_of_space(connection)
    out = connection.execute(_OUT, {"queue": queue, "now": now}).all()
    free = capacity - len(out)
    low_room = capacity - max(1, capacity // 4) - sum(row.priority < 0 for row in out)
    if capacity == 1:
        low_room = free
    per_registry = max(1, capacity // 2) if queue == CONTROL else capacity
    held = Counter(row.registry for row in out)
    picked: list[Any] = []
    full: set[str] = {registry for registry, count in held.items() if count >= per_registry}
    while free > 0:
        candidates = _due_rows(
            connection, queue, now, full, low=low_room > 0, frugal=frugal, limit=4 * capacity
        )
        before = len(picked)
        for row in candidates:
            if free == 0:
                break
            if row.registry in full or (row.priority < 0 and low_room <= 0):
                continue
            picked.append(row)
            free -= 1
            low_room -= row.priority < 0
            held[row.registry] += 1
            if held[row.registry] >= per_registry:
                full.add(row.registry)
        if len(picked) == before:
            break
        connection.execute(  # before looking again, lest they be found again
            update(jobs)
            .where(jobs.c.id.in_([row.id for row in picked[before:]]))
            .values(rung_until=now + RING_SECONDS)
        )
        if len(candidates) < 4 * capacity:
            break
    return picked


def _due_rows(
    connection: Connection,
    queue: str,
    now: float,
    full: set[str],
    *,
    low: bool,
    frugal: bool,
    limit: int,
) -> Sequence[Any]:
    query = _DUE.limit(limit)
    if frugal:
        query = query.where(jobs.c.kind.in_(FRUGAL) | jobs.c.stop_requested.is_not(None))
    if full:
        query = query.where(jobs.c.registry.not_in(full))
    if not low:
        query = query.where(jobs.c.priority >= 0)
    return connection.execute(query, {"queue": queue, "now": now}).all()
