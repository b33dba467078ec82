"""Transfers as rows: one blob, one direction, one place, unique among those that are active.

A job waits for transfers; each wait brings the place the job may use, a source of a download or
the destination of an upload. Which transfers may start is decided in `admission`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    and_,
    bindparam,
    exists,
    func,
    insert,
    or_,
    select,
    text,
    update,
)

from store.catalog import admission, blobs, events
from store.catalog import jobs as job_rows
from store.catalog.due import NOW, due
from store.catalog.jobs import JobLease
from store.catalog.schema import (
    JOB_ACTIVE,
    TRANSFER_ACTIVE,
    TRANSFER_DELAYED,
    TRANSFER_PENDING,
    jobs,
    lanes,
    transfers,
    waits,
)
from store.catalog.sql import upsert
from store.errors import LeaseLostError

# --- statements of the hot path, built once: to build one takes longer than to run it ------------

_ACTIVE = (
    select(transfers)
    .where(transfers.c.key == bindparam("wanted"), text(TRANSFER_ACTIVE))
    .with_for_update()
)
_WAIT = upsert(waits).on_conflict_do_nothing()
_INSERT = insert(transfers).returning(transfers.c.id)
_LAST_FENCE = select(func.coalesce(func.max(transfers.c.fence), 0)).where(
    transfers.c.digest == bindparam("same"), transfers.c.direction == "download"
)
_CLAIM = (
    update(transfers)
    .where(transfers.c.id == bindparam("transfer"), text("state = 'admitted'"))
    .values(
        state="running",
        owner=bindparam("by"),
        served_by=bindparam("by"),
        fence=transfers.c.fence + 1,
        rung_until=0,
        bytes_done=0,
        tries=transfers.c.tries + 1,
        started_at=func.coalesce(transfers.c.started_at, bindparam("now")),
    )
    .returning(transfers)
)
_PARKED = exists().where(
    lanes.c.registry == waits.c.registry, ~due(lanes.c.parked_until, lanes.c.parked_delay, NOW)
)
_PLACES = (
    select(waits.c.job, jobs.c.root, waits.c.registry, waits.c.repository, waits.c.fingerprint)
    .join(jobs, jobs.c.id == waits.c.job)
    .where(waits.c.transfer == bindparam("transfer"), text("NOT ended"))
    .order_by(_PARKED, waits.c.priority.desc(), jobs.c.seq)
)
_END_WAITS = (
    update(waits)
    .where(waits.c.transfer == bindparam("waited_for"), text("NOT ended"))
    .values(ended=True, error=bindparam("failure"))
    .returning(waits.c.job)
)
_WAKE_ALL = (
    update(jobs)
    .where(jobs.c.id.in_(bindparam("ids", expanding=True)), text(JOB_ACTIVE))
    .values(due=True)
)
_WAKE = _WAKE_ALL.where(
    or_(
        exists().where(
            waits.c.job == jobs.c.id,
            waits.c.transfer == bindparam("waited_for"),
            text("waits.eager"),
        ),
        ~exists().where(waits.c.job == jobs.c.id, text("NOT waits.ended")),
    )
)
_HELD = and_(
    transfers.c.id == bindparam("held"),
    transfers.c.fence == bindparam("held_fence"),
    transfers.c.owner == bindparam("held_by"),
    text("state = 'running'"),
)
_CHECK = select(transfers.c.id).where(_HELD)
_SAVE = update(transfers).where(_HELD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A blob that a job wants moved, and the place in a registry that the job may use for it."""

    direction: str
    digest: str
    size: int
    media_type: str
    registry: str
    repository: str
    fingerprint: str
    counted: bool = True  # its bytes are the job's progress
    eager: bool = False  # wake the job when this one ends, not with the last one
    absent_at: float = 0.0  # when the destination of an upload was found to lack it

    @property
    def key(self) -> str:
        """What makes the transfer the same one for several jobs."""
        if self.direction == "download":
            return f"download {self.digest}"
        return f"upload {self.digest} {self.registry} {self.repository}"


@dataclass(frozen=True, slots=True)
class Place:
    """A repository that a waiting job brought, with the root whose credential opens it."""

    job: str
    root: str
    registry: str
    repository: str
    fingerprint: str


@dataclass(slots=True)
class Claim:
    """A transfer taken up by this process. Every write names the fence, and fails if stale."""

    id: int
    direction: str
    digest: str
    size: int
    media_type: str
    registry: str
    repository: str
    attempts: int
    tries: int
    furthest: int
    bytes_moved: int
    fence: int
    owner: str
    places: Sequence[Place]
    session: str | None = field(default=None, repr=False)  # of an upload, sealed
    moved: int = 0  # over the wire, by this try
    done: int = 0  # of the blob


@dataclass(frozen=True, slots=True)
class WaitState:
    """How it stands with one blob that a job waits for."""

    direction: str
    digest: str
    ended: bool
    error: dict[str, Any] | None


def want(connection: Connection, lease: JobLease, wanted: Iterable[Wanted], now: float) -> None:
    """Make the job wait for each blob, joining a transfer that is active already.

    Joining raises the transfer's priority to the job's, gives it the job's turn if that is
    earlier, and takes back a request to stop. Wanting twice is wanting once. A blob that has
    arrived, in the store or at the destination, since the job looked is not moved again: the job
    looks again instead.

    Raises:
        LeaseLostError: the job is held no more; it waits for nothing new.
    """
    job_rows.save(connection, lease)
    everything = list(wanted)
    downloads = [one.digest for one in everything if one.direction == "download"]
    arrived = blobs.held(connection, downloads, now)
    for one in everything:
        if one.direction == "upload":
            place = blobs.Source(one.registry, one.repository, one.fingerprint)
            arrived |= blobs.confirmed(connection, [one.digest], place, since=one.absent_at)
    if arrived:
        connection.execute(update(jobs).where(jobs.c.id == lease.id).values(due=True))
    turns = admission.Turns(lease.root)
    joined: list[Row[Any]] = []
    for direction, registry in {(one.direction, one.registry) for one in everything}:
        admission.open_lane(connection, direction, registry)
    for one in everything:
        if one.digest in arrived:
            continue
        active = connection.execute(_ACTIVE, {"wanted": one.key}).one_or_none()
        if active is None:
            id_ = _insert(connection, lease, one, turns, now)
        else:
            id_ = active.id
            _join(connection, lease, active, turns)
            joined.append(active)
        row = {
            "job": lease.id,
            "transfer": id_,
            "registry": one.registry,
            "repository": one.repository,
            "fingerprint": one.fingerprint,
            "priority": lease.priority,
            "joined": active is not None,
            "counted": one.counted,
            "eager": one.eager,
            "ended": False,
        }
        connection.execute(_WAIT, row)
    for active in joined:
        queued = active.direction == "download" and active.state in ("pending", "delayed")
        if queued and admission.parked_seconds(connection, active.registry, now):
            _pass_on(connection, active.id, active.registry, now)


def of_job(connection: Connection, job: str) -> list[WaitState]:
    """Every blob that the job has waited for, ended or not."""
    rows = connection.execute(
        select(transfers.c.direction, transfers.c.digest, waits.c.ended, waits.c.error)
        .join(transfers, transfers.c.id == waits.c.transfer)
        .where(waits.c.job == job)
        .order_by(transfers.c.id)
    )
    return [WaitState(*row) for row in rows]


def claim(connection: Connection, id_: int, owner: str, now: float) -> Claim | None:
    """Take up an admitted transfer, or return None: someone has it, or it has ended."""
    row = connection.execute(_CLAIM, {"transfer": id_, "by": owner, "now": now}).one_or_none()
    if row is None:
        return None
    return Claim(
        id=row.id,
        direction=row.direction,
        digest=row.digest,
        size=row.size,
        media_type=row.media_type,
        registry=row.registry,
        repository=row.repository,
        attempts=row.attempts,
        tries=row.tries,
        furthest=row.furthest,
        bytes_moved=row.bytes_moved,
        fence=row.fence,
        owner=owner,
        places=_places(connection, row.id, now),
        session=row.upload_session,
    )


def keep_session(connection: Connection, claim_: Claim, sealed: str | None, offset: int) -> None:
    """Where the upload may be taken up again, with *offset* bytes there; None: nowhere.

    Raises:
        LeaseLostError: it is somebody else's now.
    """
    _save(connection, claim_, upload_session=sealed, upload_offset=offset, **_figures(claim_))
    claim_.session = sealed


def check(connection: Connection, claim_: Claim) -> None:
    """Make sure that the transfer is still ours.

    Raises:
        LeaseLostError: it is not.
    """
    if connection.execute(_CHECK, _held(claim_)).first() is None:
        raise _lost(claim_)


def complete(connection: Connection, claim_: Claim, place: Place, now: float) -> None:
    """The blob has arrived: in the store for a download, in the registry for an upload."""
    _save(
        connection,
        claim_,
        state="done",
        owner=None,
        upload_session=None,
        finished_at=now,
        error=None,
        bytes_done=claim_.size,
        furthest=claim_.size,
        bytes_moved=claim_.bytes_moved + claim_.moved,
    )
    if claim_.direction == "download":
        blobs.add(connection, claim_.digest, claim_.size, now)
    blobs.confirm(
        connection,
        [claim_.digest],
        blobs.Source(place.registry, place.repository, place.fingerprint),
        now,
    )
    _end_waits(connection, claim_.id, error=None)


def fail(connection: Connection, claim_: Claim, error: dict[str, Any], now: float) -> None:
    """The transfer has failed for all who wait for it."""
    _save(
        connection,
        claim_,
        state="failed",
        owner=None,
        upload_session=None,
        finished_at=now,
        error=error,
        **_figures(claim_),
    )
    _end_waits(connection, claim_.id, error=error)


def strike(
    connection: Connection,
    claim_: Claim,
    place: Place,
    error: dict[str, Any],
    now: float,
) -> None:
    """This place will not serve. Those who brought it are told; others' places come next."""
    struck = and_(
        waits.c.transfer == claim_.id,
        waits.c.registry == place.registry,
        waits.c.repository == place.repository,
        waits.c.fingerprint == place.fingerprint,
        text("NOT ended"),
    )
    touched = connection.execute(
        update(waits).where(struck).values(ended=True, error=error).returning(waits.c.job)
    ).scalars()
    _wake(connection, list(touched), claim_.id, failed=True)
    remaining = _places(connection, claim_.id, now)
    if not remaining:
        _save(
            connection,
            claim_,
            state="failed",
            owner=None,
            upload_session=None,
            finished_at=now,
            error=error,
            **_figures(claim_),
        )
        return
    _save(
        connection,
        claim_,
        state="pending",
        owner=None,
        attempts=0,  # the next place has a budget of its own
        **_queue_at(connection, claim_.id, claim_.registry, remaining[0]),
        **_figures(claim_),
    )


def delay(
    connection: Connection,
    claim_: Claim,
    error: dict[str, Any],
    seconds: float,
    now: float,
    *,
    counts: bool,
) -> None:
    """Try again after *seconds*; the slot is free meanwhile."""
    _save(
        connection,
        claim_,
        state="delayed",
        owner=None,
        error=error,
        not_before=now + seconds,
        not_before_delay=seconds,
        attempts=claim_.attempts + counts,
        **_figures(claim_),
    )
    for job in _waiting_jobs(connection, claim_.id):
        events.record(
            connection,
            job,
            "retrying",
            now,
            digest=claim_.digest,
            seconds=seconds,
            error=error,
        )


def hand_back(connection: Connection, claim_: Claim, *, to: Place | None = None) -> None:
    """Give the transfer to whoever comes next, in the lane of *to* if given; this was no try."""
    values: dict[str, Any] = {"tries": claim_.tries - 1}
    if to is not None:
        values |= _queue_at(connection, claim_.id, claim_.registry, to)
    _save(connection, claim_, state="pending", owner=None, **values, **_figures(claim_))


def park(connection: Connection, registry: str, seconds: float, now: float) -> None:
    """Leave a registry alone for *seconds*; what others can serve meanwhile goes to them.

    Downloads that queue there move to the lane of a waiter who brought another source.
    """
    admission.park(connection, registry, seconds, now)
    elsewhere = exists().where(
        waits.c.transfer == transfers.c.id, text("NOT waits.ended"), waits.c.registry != registry
    )
    queued = select(transfers.c.id).where(
        transfers.c.direction == "download", transfers.c.registry == registry, elsewhere
    )
    for state in (TRANSFER_PENDING, TRANSFER_DELAYED):  # one statement for each one's index
        for id_ in connection.execute(queued.where(text(f"transfers.{state}"))).scalars().all():
            _pass_on(connection, id_, registry, now)


def stopped(connection: Connection, claim_: Claim, now: float) -> None:
    """The owner has closed its socket after a request to stop.

    When someone has joined meanwhile, the request was taken back and the transfer goes on.
    """
    if _places(connection, claim_.id, now):
        hand_back(connection, claim_)
        return
    _save(
        connection,
        claim_,
        state="cancelled",
        owner=None,
        upload_session=None,
        finished_at=now,
        **_figures(claim_),
    )


def abandon(connection: Connection, ended_jobs: Sequence[str], now: float) -> None:
    """Jobs wait no longer. Transfers that nobody waits for any more are asked to stop."""
    if not ended_jobs:
        return
    left = connection.execute(
        update(waits)
        .where(waits.c.job.in_(ended_jobs), text("NOT ended"))
        .values(ended=True)
        .returning(waits.c.transfer)
    ).scalars()
    ids = sorted(set(left))
    if not ids:
        return
    lonely = and_(
        transfers.c.id.in_(ids),
        ~exists().where(waits.c.transfer == transfers.c.id, text("NOT waits.ended")),
    )
    connection.execute(
        update(transfers)
        .where(lonely, text("state IN ('pending', 'delayed', 'admitted')"))
        .values(state="cancelled", finished_at=now, upload_session=None)
    )
    connection.execute(
        update(transfers).where(lonely, text("state = 'running'")).values(stop_requested=True)
    )


def end_dead(
    connection: Connection,
    id_: int,
    lonely: Any,
    error: dict[str, Any] | None,
    now: float,
) -> None:
    """End a transfer whose owner died, where it must not go on.

    With *error* it has failed; where the condition *lonely* holds nobody waits for it.
    """
    cancelled = {"state": "cancelled", "finished_at": now, "upload_session": None}
    connection.execute(update(transfers).where(lonely).values(**cancelled))
    if error is not None:
        connection.execute(
            update(transfers)
            .where(transfers.c.id == id_, text(TRANSFER_PENDING))
            .values(state="failed", finished_at=now, error=error, upload_session=None)
        )
        _end_waits(connection, id_, error=error)
    for job in _waiting_jobs(connection, id_):
        events.record(connection, job, "worker-died", now, transfer=id_)


# --- inside --------------------------------------------------------------------------------------


def _insert(
    connection: Connection,
    lease: JobLease,
    want_: Wanted,
    turns: admission.Turns,
    now: float,
) -> int:
    turn = turns.take(connection, want_.direction, want_.registry, lease.priority)
    row = {
        "key": want_.key,
        "direction": want_.direction,
        "digest": want_.digest,
        "size": want_.size,
        "media_type": want_.media_type,
        "registry": want_.registry,
        "repository": want_.repository,
        "root": lease.root,
        "priority": lease.priority,
        "turn": turn,
        "state": "pending",
        "stop_requested": False,
        "not_before": 0,
        "not_before_delay": 0,
        "rung_until": 0,
        "attempts": 0,
        "tries": 0,
        "furthest": 0,
        "fence": _last_fence(connection, want_),
        "beat": 0,
        "deaths": 0,
        "furthest_at_death": 0,
        "bytes_done": 0,
        "bytes_moved": 0,
        "created_at": now,
    }
    return int(connection.execute(_INSERT, row).scalar_one())


def _last_fence(connection: Connection, want_: Wanted) -> int:
    """Where fences go on: what an earlier download of the same blob left behind has its own."""
    if want_.direction != "download":
        return 0
    return int(connection.execute(_LAST_FENCE, {"same": want_.digest}).scalar_one())


def _join(
    connection: Connection, lease: JobLease, active: Row[Any], turns: admission.Turns
) -> None:
    changes: dict[str, Any] = {"stop_requested": False}
    if lease.priority > active.priority:
        changes["priority"] = lease.priority
        changes["turn"] = turns.take(connection, active.direction, active.registry, lease.priority)
    elif lease.priority == active.priority and lease.root != active.root:
        turn = turns.take(connection, active.direction, active.registry, lease.priority)
        changes["turn"] = min(active.turn, turn)
    connection.execute(update(transfers).where(transfers.c.id == active.id).values(**changes))


def _places(connection: Connection, id_: int, now: float) -> list[Place]:
    """The places of those who wait, the best first: not parked, urgent, early."""
    rows = connection.execute(_PLACES, {"transfer": id_, "now": now})
    return [Place(*row) for row in rows]


def _pass_on(connection: Connection, id_: int, registry: str, now: float) -> None:
    """Let a transfer that queues at a parked *registry* queue where a waiter can have it now."""
    best = _places(connection, id_, now)[0]
    if best.registry == registry or admission.parked_seconds(connection, best.registry, now):
        return
    connection.execute(
        update(transfers)
        .where(transfers.c.id == id_)
        .values(state="pending", not_before=0, **_queue_at(connection, id_, registry, best))
    )


def _queue_at(connection: Connection, id_: int, registry: str, place: Place) -> dict[str, Any]:
    """What changes when a transfer of the lane of *registry* is to be served from *place*.

    In another lane it gets a turn there: the numbers of one say nothing in another.
    """
    values: dict[str, Any] = {"registry": place.registry, "repository": place.repository}
    if place.registry != registry:
        row = connection.execute(
            select(transfers.c.direction, transfers.c.root, transfers.c.priority).where(
                transfers.c.id == id_
            )
        ).one()
        admission.open_lane(connection, row.direction, place.registry)
        values["turn"] = admission.first_turn(
            connection, row.root, row.direction, place.registry, row.priority
        )
    return values


def _waiting_jobs(connection: Connection, id_: int) -> list[str]:
    return list(
        connection.execute(
            select(waits.c.job).where(waits.c.transfer == id_, text("NOT ended"))
        ).scalars()
    )


def _end_waits(connection: Connection, id_: int, *, error: dict[str, Any] | None) -> None:
    where = {"waited_for": id_, "failure": error}
    ended = list(connection.execute(_END_WAITS, where).scalars())
    _wake(connection, ended, id_, failed=error is not None)


def _wake(connection: Connection, ended: list[str], transfer: int, *, failed: bool) -> None:
    """Make the jobs due that have something to do now that this wait of theirs has ended."""
    if not ended:
        return
    where = {"ids": ended}
    if failed:
        connection.execute(_WAKE_ALL, where)
    else:
        connection.execute(_WAKE, {**where, "waited_for": transfer})


def _figures(claim_: Claim) -> dict[str, Any]:
    return {
        "furthest": max(claim_.furthest, claim_.done),
        "bytes_done": claim_.done,
        "bytes_moved": claim_.bytes_moved + claim_.moved,
    }


def _held(claim_: Claim) -> dict[str, Any]:
    return {"held": claim_.id, "held_fence": claim_.fence, "held_by": claim_.owner}


def _save(connection: Connection, claim_: Claim, **values: Any) -> None:
    written = connection.execute(_SAVE, {**_held(claim_), **values})
    if written.rowcount != 1:
        raise _lost(claim_)


def _lost(claim_: Claim) -> LeaseLostError:
    return LeaseLostError("the transfer is held by another worker now", subject=claim_.digest)
