"""From where, or to where, a transfer may go: the places that those who wait for it brought.

A transfer queues in the lane of one place at a time, and moves to another lane with another place.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, func, select, text

from transship.store.catalog.db.schema import jobs, transfers, waits
from transship.store.catalog.db.sql import chunks
from transship.store.catalog.scheduling.admission import lanes

MAX_SOURCES = 50  # more than a transfer will ever try

# Built once: to build a statement takes longer than to run it. Ten thousand may wait with one and
# the same place: they are read from an index alone, and grouped.
_IDS: BindParameter[Sequence[int]] = bindparam("ids", expanding=True)
_BROUGHT = (
    select(
        waits.c.transfer,
        waits.c.registry,
        waits.c.repository,
        waits.c.fingerprint,
        func.max(waits.c.priority).label("priority"),
        func.min(waits.c.seq).label("seq"),
        func.min(waits.c.job).label("job"),
    )
    .where(waits.c.transfer.in_(_IDS), text("NOT ended"))
    .group_by(waits.c.transfer, waits.c.registry, waits.c.repository, waits.c.fingerprint)
    .subquery("brought")
)
_BARRED = lanes.barred(_BROUGHT.c.registry, _BROUGHT.c.fingerprint)
_BEST = (_BARRED, _BROUGHT.c.priority.desc(), _BROUGHT.c.seq)
_RANKED = (
    select(
        _BROUGHT.c.transfer,
        func.row_number().over(partition_by=_BROUGHT.c.transfer, order_by=_BEST).label("rank"),
        _BROUGHT.c.job,
        jobs.c.root,
        jobs.c.tenant,
        _BROUGHT.c.registry,
        _BROUGHT.c.repository,
        _BROUGHT.c.fingerprint,
        _BARRED.label("barred"),
    )
    .join(jobs, jobs.c.id == _BROUGHT.c.job)
    .subquery("ranked")
)
_SOURCES = (
    select(*(column for column in _RANKED.c if column.name != "rank"))
    .where(_RANKED.c.rank <= MAX_SOURCES)
    .order_by(_RANKED.c.transfer, _RANKED.c.rank)
)


@dataclass(frozen=True, slots=True)
class WaitSource:
    """A repository that waiting jobs brought: one of them, and its root, whose credential opens it.

    Of those who brought the same repository and credential any one will do.
    """

    job: str
    root: str
    tenant: str
    registry: str
    repository: str
    fingerprint: str
    barred: bool = field(default=False, compare=False)  # it must not be asked now


def of_transfer(connection: Connection, id_: int, now: float) -> list[WaitSource]:
    """The places of those who wait, each once, the best first: open, urgent, early."""
    return of_transfers(connection, [id_], now)[id_]


def of_transfers(
    connection: Connection, ids: Collection[int], now: float
) -> dict[int, list[WaitSource]]:
    """The same for each of some transfers; there are none where nobody waits."""
    found: dict[int, list[WaitSource]] = {id_: [] for id_ in ids}
    for some in chunks(ids):
        for row in connection.execute(_SOURCES, {"ids": some, "now": now}):
            transfer, *place = row
            found[transfer].append(WaitSource(*place))
    return found


def queue_at(connection: Connection, id_: int, registry: str, source: WaitSource) -> dict[str, Any]:
    """What changes when a transfer of the lane of *registry* is to be served from *place*.

    In another lane it gets a turn there: the numbers of one say nothing in another.
    """
    values: dict[str, Any] = {
        "registry": source.registry,
        "repository": source.repository,
        "credential": source.fingerprint,
    }
    if source.registry != registry:
        row = connection.execute(
            select(
                transfers.c.direction,
                transfers.c.root,
                transfers.c.requester,
                transfers.c.priority,
            ).where(transfers.c.id == id_)
        ).one()
        lanes.open_lane(connection, row.direction, source.registry)
        turns = lanes.Turns(row.root, row.requester)
        values["turn"] = turns.take(connection, row.direction, source.registry, row.priority)
    return values
