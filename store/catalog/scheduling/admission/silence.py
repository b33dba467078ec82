"""Work whose registry says nothing, while others could use its slot or its thread.

A registry that takes requests and does not answer them keeps what whoever asks it holds, for as
long as an answer may take. Where nobody else has a use for that it does no harm. Where somebody
has, a job or a transfer that has heard nothing for a while is handed back, which is no try, and
the registry is left alone for a time; then one asks at a time, until one has heard something. The
while and the time double with each silence, so that a slow registry is heard out in the end, and
halve with each answer. All of it is for each queue by itself: a registry may be quick with
manifests, and silent when it is asked for blobs.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Column, Connection, ScalarSelect, bindparam, case, select, update

from transship.store.catalog.db.schema import lanes
from transship.store.catalog.scheduling.admission import admission, job_admission
from transship.store.catalog.scheduling.admission import lanes as lane_rows
from transship.store.catalog.scheduling.jobs import JobLease

PATIENCE_SECONDS: Final = 0.5  # with a lane in which nothing was silent before
SHORTEST_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 60.0

_HEARD = (
    update(lanes)
    .where(
        lanes.c.direction == bindparam("way"),
        lanes.c.registry == bindparam("at"),
        lanes.c.silent_delay > 0,
    )
    .values(
        silent_until=0,
        silent_delay=case(
            (lanes.c.silent_delay >= 2 * SHORTEST_SECONDS, lanes.c.silent_delay / 2), else_=0
        ),
    )
)


@dataclass(frozen=True, slots=True)
class Silent:
    """A job or transfer that has heard nothing of a registry for *seconds*.

    *queue* is the direction of a transfer, or the queue of a job.
    """

    id: str | int
    queue: str
    registry: str
    seconds: float


def yielding(connection: Connection, silent: Collection[Silent], now: float) -> set[str | int]:
    """Those of some *silent* jobs and transfers that are to make way for others, by id.

    Their registries are left alone for a time.
    """
    return {
        id_
        for queue in sorted({one.queue for one in silent})
        for id_ in _yielding(connection, queue, [one for one in silent if one.queue == queue], now)
    }


def is_silent(queue: Column[str], registry: Column[str]) -> ScalarSelect[bool]:
    """Whether nobody has heard anything of a registry since it was found silent."""
    return (
        select(lanes.c.silent_delay > 0)
        .where(lanes.c.direction == queue, lanes.c.registry == registry)
        .correlate_except(lanes)
        .scalar_subquery()
    )


def heard(connection: Connection, queue: str, registry: str) -> None:
    """Somebody has heard something of a registry: others may ask it again."""
    connection.execute(_HEARD, {"way": queue, "at": registry})


def heard_by_job(connection: Connection, lease: JobLease) -> None:
    """A job has heard something of its registries."""
    for registry, _ in lease.asks:
        heard(connection, lease.queue, registry)


def _yielding(
    connection: Connection, queue: str, silent: Collection[Silent], now: float
) -> list[str | int]:
    rows = connection.execute(
        select(lanes.c.registry, lanes.c.silent_delay).where(
            lanes.c.direction == queue, lanes.c.registry.in_({one.registry for one in silent})
        )
    )
    delays = {row.registry: row.silent_delay for row in rows}
    late = [
        one for one in silent if one.seconds >= max(PATIENCE_SECONDS, delays.get(one.registry, 0.0))
    ]
    if not late:
        return []
    wanting = admission if queue in lane_rows.DIRECTIONS else job_admission
    wanted = wanting.wanting(
        connection, queue, now, without={one.registry for one in late}, most=len(late)
    )
    chosen = sorted(late, key=lambda one: -one.seconds)[:wanted]
    for registry in {one.registry for one in chosen}:
        lane_rows.open_lane(connection, queue, registry)
        delay = min(max(2 * delays.get(registry, 0.0), SHORTEST_SECONDS), LONGEST_SECONDS)
        connection.execute(
            update(lanes)
            .where(lanes.c.direction == queue, lanes.c.registry == registry)
            .values(silent_until=now + delay, silent_delay=delay)
        )
    return [one.id for one in chosen]
