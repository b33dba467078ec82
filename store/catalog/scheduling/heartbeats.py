"""Who is alive, told without comparing clocks.

An owner adds to the beat of what it holds. An observer that has seen the same fence and beat for
a whole lease, on its own monotonic clock, declares the owner dead.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import (
    BindParameter,
    Connection,
    Row,
    and_,
    bindparam,
    case,
    delete,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from transship import __version__
from transship.store.catalog.db.schema import JOB_ACTIVE, TRANSFER_RUNNING, jobs, transfers, workers
from transship.store.catalog.db.sql import chunks, upsert
from transship.store.catalog.scheduling import events, maintenance
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.catalog.scheduling.transfers import TransferLease, end_dead
from transship.store.errors import RepeatedCrashError

MAX_CRASHES = 5  # without progress between them

# By owner as well: one who is taken for dead must not keep alive what another has now.
_IDS: BindParameter[Sequence[Any]] = bindparam("ids", expanding=True)
_OWNERS: BindParameter[Sequence[str]] = bindparam("owners", expanding=True)
_BEAT_JOBS = (
    update(jobs)
    .where(jobs.c.id.in_(_IDS), jobs.c.owner.in_(_OWNERS))
    .values(beat=jobs.c.beat + 1)
    .returning(jobs.c.id, jobs.c.fence, jobs.c.owner, jobs.c.stop_requested)
)
_BEAT = (
    update(transfers)
    .where(
        transfers.c.id.in_(_IDS),
        transfers.c.owner.in_(_OWNERS),
        text("state = 'running'"),
    )
    .values(beat=transfers.c.beat + 1)
    .returning(*(transfers.c.id, transfers.c.fence, transfers.c.owner), transfers.c.stop_requested)
)
_FIGURES = update(transfers).where(
    transfers.c.id == bindparam("held"),
    transfers.c.fence == bindparam("held_fence"),
    transfers.c.owner == bindparam("held_by"),
    text("state = 'running'"),
)

Key = tuple[str, str | int]  # ('job' | 'transfer' | 'worker', id)
Pulse = tuple[int, int]  # fence, beat


@dataclass(frozen=True, slots=True, kw_only=True)
class Threads:
    """How many threads a worker has for each queue."""

    control: int = 0
    downloads: int = 0
    uploads: int = 0
    local: int = 0


@dataclass(slots=True)
class Observer:
    """Remembers since when each pulse has stood still."""

    lease_seconds: float
    _seen: dict[Key, tuple[Pulse, float]] = field(default_factory=dict)

    def silent(self, pulses: Mapping[Key, Pulse], now_monotonic: float) -> list[tuple[Key, Pulse]]:
        """Note the pulses seen now, and return those that have not changed for a lease."""
        seen: dict[Key, tuple[Pulse, float]] = {}
        dead: list[tuple[Key, Pulse]] = []
        for key, pulse in pulses.items():
            before, since = self._seen.get(key, (None, math.inf))
            if before != pulse:
                since = now_monotonic
            seen[key] = (pulse, since)
            if now_monotonic - since >= self.lease_seconds:
                dead.append((key, pulse))
        self._seen = seen
        return dead

    def still_for(self, key: Key, now_monotonic: float) -> float:
        """For how many seconds a pulse has been seen to stand still; 0 for one not seen yet."""
        _, since = self._seen.get(key, (None, now_monotonic))
        return now_monotonic - since


def pulses(connection: Connection) -> dict[Key, Pulse]:
    """The pulse of everything that somebody holds, and of every worker."""
    alive = connection.execute(select(workers.c.id, workers.c.beat))
    return {**_held_pulses(connection), **{("worker", row.id): (0, row.beat) for row in alive}}


def _held_pulses(connection: Connection, owner: str | None = None) -> dict[Key, Pulse]:
    """The pulse of everything that *owner* holds, or that anybody does."""
    moving = select(transfers.c.id, transfers.c.fence, transfers.c.beat).where(
        text(TRANSFER_RUNNING)
    )
    led = select(jobs.c.id, jobs.c.fence, jobs.c.beat).where(text("owner IS NOT NULL"))
    if owner is not None:
        moving, led = moving.where(transfers.c.owner == owner), led.where(jobs.c.owner == owner)
    found: dict[Key, Pulse] = {
        ("transfer", row.id): (row.fence, row.beat) for row in connection.execute(moving)
    }
    found |= {("job", row.id): (row.fence, row.beat) for row in connection.execute(led)}
    return found


def register(
    connection: Connection, worker: str, *, pid: int, threads: Threads, now: float
) -> None:
    """A worker is there, and takes up what is admitted."""
    connection.execute(
        upsert(workers)
        .values(
            id=worker,
            host=socket.gethostname(),
            pid=pid,
            **asdict(threads),
            beat=0,
            started_at=now,
            version=__version__,
        )
        .on_conflict_do_nothing()
    )


def offer(connection: Connection, worker: str, threads: Threads) -> None:
    """Let admission count *threads* of a worker from now on."""
    connection.execute(update(workers).where(workers.c.id == worker).values(**asdict(threads)))


def retire(connection: Connection, worker: str) -> None:
    """A worker takes nothing up any more, and counts for nothing; what it holds is still its."""
    offer(connection, worker, Threads())
    maintenance.give_up(connection, worker)


def unregister(connection: Connection, worker: str) -> None:
    """A worker has left, and holds nothing."""
    connection.execute(delete(workers).where(workers.c.id == worker))
    maintenance.give_up(connection, worker)


def beat_worker(connection: Connection, worker: str) -> bool:
    """Show that a worker lives; False: it was declared dead, and must register anew."""
    done = connection.execute(
        update(workers).where(workers.c.id == worker).values(beat=workers.c.beat + 1)
    )
    return done.rowcount == 1


def beat_jobs(connection: Connection, leases: Collection[JobLease]) -> dict[str, str | None]:
    """Renew leases of jobs that are still held.

    Returns, of these, the reason of a requested stop. What is left out is lost.
    """
    return {row.id: row.stop_requested for row in _renewed(connection, _BEAT_JOBS, leases)}


def beat_transfers(connection: Connection, claims: Collection[TransferLease]) -> dict[int, bool]:
    """Renew leases of transfers that are still held, and write how far they are.

    Returns, of these, whether a stop was requested. What is left out is lost.
    """
    found = {row.id: bool(row.stop_requested) for row in _renewed(connection, _BEAT, claims)}
    moved = [
        {"held": one.id, "held_fence": one.fence, "held_by": one.owner, **one.figures}
        for one in claims
        if one.id in found and (one.done or one.moved)
    ]
    if moved:
        connection.execute(_FIGURES, moved)
    return found


def _renewed(
    connection: Connection,
    statement: ReturningUpdate[Any],
    leases: Collection[JobLease] | Collection[TransferLease],
) -> list[Row[Any]]:
    """Beat for *leases*; the rows of those that are still held."""
    mine = {(one.id, one.fence, one.owner) for one in leases}
    owners = sorted({one.owner for one in leases})
    return [
        row
        for ids in chunks({one.id for one in leases})
        for row in connection.execute(statement, {"ids": ids, "owners": owners})
        if (row.id, row.fence, row.owner) in mine
    ]


def reap(connection: Connection, dead: Sequence[tuple[Key, Pulse]], now: float) -> int:
    """Take work from the dead, and let others have it. Says how many rows were changed.

    What has beaten since it was observed is left alone.
    """
    count = 0
    for (what, id_), (fence, beat) in dead:
        if what == "worker":
            gone = delete(workers).where(workers.c.id == id_, workers.c.beat == beat)
            if connection.execute(gone).rowcount:
                maintenance.give_up(connection, str(id_))
                count += 1
        elif what == "job":
            count += _bury_job(connection, str(id_), fence, beat, now)
        else:
            count += _bury_transfer(connection, int(id_), fence, beat, now)
    return count


def bury_process(connection: Connection, pid: int, now: float) -> int:
    """A worker process of this host is known to have ended: reap it and what it held at once."""
    here = select(workers.c.id).where(workers.c.pid == pid, workers.c.host == socket.gethostname())
    return sum(bury_owner(connection, one, now) for one in connection.execute(here).scalars().all())


def bury_host(connection: Connection, now: float) -> int:
    """No worker of this host lives, as the caller knows: reap all that are known, at once."""
    here = select(workers.c.id).where(workers.c.host == socket.gethostname())
    return sum(bury_owner(connection, one, now) for one in connection.execute(here).scalars().all())


def bury_everyone(connection: Connection, now: float) -> int:
    """No worker lives on any host, as the caller knows: reap all, at once."""
    owners = {maintenance.standing(connection).owner}
    owners |= set(connection.execute(select(workers.c.id)).scalars())
    owners |= set(
        connection.execute(select(jobs.c.owner).where(text("owner IS NOT NULL"))).scalars()
    )
    owners |= set(
        connection.execute(select(transfers.c.owner).where(text(TRANSFER_RUNNING))).scalars()
    )
    return sum(bury_owner(connection, owner, now) for owner in owners if owner is not None)


def bury_owner(connection: Connection, owner: str, now: float) -> int:
    """Bury one worker and what it held."""
    held = list(_held_pulses(connection, owner).items())
    unregister(connection, owner)
    return reap(connection, held, now) + 1


def _bury_job(connection: Connection, id_: str, fence: int, beat: int, now: float) -> int:
    row = connection.execute(
        update(jobs)
        .where(
            jobs.c.id == id_,
            jobs.c.fence == fence,
            jobs.c.beat == beat,
            jobs.c.owner.is_not(None),  # it may have been let go since it was observed
            text(JOB_ACTIVE),
        )
        .values(
            owner=None,
            due=True,
            not_before=0,
            dispatched_until=0,
            fence=jobs.c.fence + 1,
            # The death of a batch counts for none that were in it: each goes by itself now.
            crashes=case((jobs.c.shared, jobs.c.crashes), else_=jobs.c.crashes + 1),
            alone=or_(jobs.c.shared, jobs.c.alone),
        )
        .returning(jobs.c.crashes, jobs.c.owner)
    ).one_or_none()
    if row is None:
        return 0
    if row.crashes >= MAX_CRASHES:
        connection.execute(
            update(jobs).where(jobs.c.id == id_).values(stop_requested="repeated-death")
        )
    events.record(connection, id_, "worker-died", now, crashes=row.crashes)
    return 1


def _bury_transfer(connection: Connection, id_: int, fence: int, beat: int, now: float) -> int:
    """Take it from its owner; the death of a bundle counts for none that were in it.

    Who knows which of them it died over? Each travels alone until it gets further.
    """
    got_further = transfers.c.furthest > transfers.c.furthest_at_death
    crashes = case((got_further, 1), else_=transfers.c.crashes + 1)
    row = connection.execute(
        update(transfers)
        .where(
            transfers.c.id == id_,
            transfers.c.fence == fence,
            transfers.c.beat == beat,
            text("state = 'running'"),
        )
        .values(
            state="pending",
            owner=None,
            fence=transfers.c.fence + 1,
            tries=transfers.c.tries - 1,
            crashes=case((transfers.c.shared, transfers.c.crashes), else_=crashes),
            alone=or_(transfers.c.shared, and_(transfers.c.alone, ~got_further)),
            furthest_at_death=transfers.c.furthest,
        )
        .returning(transfers.c.crashes, transfers.c.digest)
    ).one_or_none()
    if row is None:
        return 0
    error: dict[str, Any] | None = None
    if row.crashes >= MAX_CRASHES:
        error = RepeatedCrashError(
            f"{row.crashes} workers died over it without getting further",
            subject=row.digest,
        ).as_json()
    end_dead(connection, id_, error, now)
    return 1
