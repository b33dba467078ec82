"""Transfers as rows: one blob, one direction, one place, unique among those that are active.

Their life at the hands of a worker: taken up, delayed, handed on, ended. Who wants one is in
`waits`, where it may go in `places`, and which may start is decided in `admission`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import BindParameter, Connection, and_, bindparam, func, select, text, update

from transship.store.catalog.content import blobs
from transship.store.catalog.db.schema import TRANSFER_ADMITTED, TRANSFER_PENDING, transfers
from transship.store.catalog.scheduling import events, waits
from transship.store.catalog.scheduling.admission import silence, sources
from transship.store.catalog.scheduling.admission.sources import WaitSource
from transship.store.catalog.scheduling.progress import Carried
from transship.store.errors import LeaseLostError

# --- statements of the hot path, built once: to build one takes longer than to run it ------------

_CLAIM = (
    update(transfers)
    .where(
        text(TRANSFER_ADMITTED),
        transfers.c.direction == bindparam("way"),
        transfers.c.bundle == bindparam("number"),
    )
    .values(
        state="running",
        owner=bindparam("by"),
        served_by=bindparam("by"),
        fence=transfers.c.fence + 1,
        dispatched_until=0,
        bytes_done=0,
        tries=transfers.c.tries + 1,
        started_at=func.coalesce(transfers.c.started_at, bindparam("now")),
    )
    .returning(
        transfers, silence.is_silent(transfers.c.direction, transfers.c.registry).label("silent")
    )
)
_HELD = and_(
    transfers.c.id == bindparam("held"),
    transfers.c.fence == bindparam("held_fence"),
    transfers.c.owner == bindparam("held_by"),
    text("state = 'running'"),
)
_IDS: BindParameter[Sequence[int]] = bindparam("ids", expanding=True)
_RUNNING = select(transfers.c.id, transfers.c.fence, transfers.c.owner).where(
    transfers.c.id.in_(_IDS), text("state = 'running'")
)
_LOCKED_RUNNING = _RUNNING.order_by(transfers.c.id).with_for_update()
_SAVE = update(transfers).where(_HELD)
_DONE = (
    update(transfers)
    .where(transfers.c.id == bindparam("held"))
    .values(
        state="done",
        owner=None,
        upload_session=None,
        error=None,
        finished_at=bindparam("now"),
        bytes_done=transfers.c.size,
        furthest=transfers.c.size,
        bytes_moved=bindparam("moved"),
    )
)
_HAND_BACK = (
    update(transfers)
    .where(transfers.c.id == bindparam("held"))
    .values(state="pending", owner=None, tries=bindparam("before"))
)
_FROM_ELSEWHERE = select(transfers.c.id).where(transfers.c.id.in_(_IDS), waits.SOME_FROM_ELSEWHERE)


@dataclass(slots=True)
class TransferLease:
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
    sources: Sequence[WaitSource]
    listening: bool = False  # nobody has heard anything in its lane of late
    session: str | None = field(default=None, repr=False)  # of an upload, sealed
    begun_before: bool = False  # somebody may have brought it to its end, unheard
    moved: int = 0  # over the wire, by this try
    done: int = 0  # of the blob

    @property
    def figures(self) -> dict[str, int]:
        """How far it is, as its row has it."""
        return {
            "furthest": max(self.furthest, self.done),
            "bytes_done": self.done,
            "bytes_moved": self.bytes_moved + self.moved,
        }

    @property
    def carried(self) -> Carried:
        """The same, as the progress of those who wait."""
        return Carried(self.done, self.bytes_moved + self.moved)


def claim(
    connection: Connection, direction: str, bundle: int, owner: str, now: float
) -> list[TransferLease]:
    """Take up what was admitted as a bundle, in turn; none is left where someone has it."""
    where = {"way": direction, "number": bundle, "by": owner, "now": now}
    rows = connection.execute(_CLAIM, where).all()
    places = sources.of_transfers(connection, [row.id for row in rows], now)
    return [
        TransferLease(
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
            sources=places[row.id],
            listening=bool(row.silent),
            session=row.upload_session,
            begun_before=row.tries > 1 or row.crashes > 0 or row.alone or row.furthest > 0,
        )
        for row in sorted(rows, key=lambda row: (row.turn, row.id))
    ]


def heard(connection: Connection, claim_: TransferLease) -> None:
    """Its registry has said something to a transfer that was listening."""
    if claim_.listening:
        silence.heard(connection, claim_.direction, claim_.registry)
        claim_.listening = False


def keep_session(
    connection: Connection, claim_: TransferLease, sealed: str | None, offset: int
) -> None:
    """Where the upload may be taken up again, with *offset* bytes there; None: nowhere.

    Raises:
        LeaseLostError: it is somebody else's now.
    """
    _save(connection, claim_, upload_session=sealed, upload_offset=offset, **claim_.figures)
    claim_.session = sealed


def held(
    connection: Connection, claims: Iterable[TransferLease], *, locked: bool = False
) -> set[int]:
    """The ids of those of *claims* that are still ours; *locked*: until the transaction ends."""
    mine = {(one.id, one.fence, one.owner) for one in claims}
    ids = sorted(id_ for id_, _, _ in mine)
    rows = connection.execute(_LOCKED_RUNNING if locked else _RUNNING, {"ids": ids})
    return {row.id for row in rows if (row.id, row.fence, row.owner) in mine}


def complete(
    connection: Connection,
    arrived: Sequence[tuple[TransferLease, WaitSource]],
    now: float,
    *,
    shared: bool = False,
) -> waits.Woken:
    """Blobs have arrived: in the store if they are downloads, in their registry if uploads.

    All are of one direction, and are ours: see `held`. A download serves those who want the blob
    from the repository that it came from, or everybody where trust is *shared*. The others get a
    transfer of their own: their places are read too, and compared, for to know a digest grants
    nothing. Returns what became possible.
    """
    places: defaultdict[blobs.Source, list[TransferLease]] = defaultdict(list)
    sources_of: dict[blobs.Source, WaitSource] = {}
    for claim_, source in arrived:
        seen = blobs.Source(source.registry, source.repository, source.fingerprint)
        places[seen].append(claim_)
        sources_of.setdefault(seen, source)
    moved = {one.id: one.bytes_moved + one.moved for one, _ in arrived}
    connection.execute(_DONE, [{"held": id_, "moved": n, "now": now} for id_, n in moved.items()])
    for seen, some in places.items():
        digests = [one.digest for one in some]
        blobs.confirm(connection, digests, seen, now)
        if some[0].direction == "download":
            blobs.record_bytes(connection, digests, seen)
            if not shared:
                at = {"at_registry": seen.registry, "at_repository": seen.repository}
                ids = {"ids": [one.id for one in some]}
                for id_ in connection.execute(_FROM_ELSEWHERE, {**ids, **at}).scalars().all():
                    waits.hand_on(connection, id_, sources_of[seen], now)
    if arrived[0][0].direction == "download":
        blobs.add(connection, {one.digest: one.size for one, _ in arrived}, now)
    for claim_, _ in arrived:
        heard(connection, claim_)
    ended = {one.id: Carried(one.size, moved[one.id], whole=True) for one, _ in arrived}
    return waits.end(connection, ended, error=None)


def fail(connection: Connection, claim_: TransferLease, error: dict[str, Any], now: float) -> None:
    """The transfer has failed for all who wait for it."""
    _end(connection, claim_, "failed", now, error=error)
    waits.end(connection, {claim_.id: claim_.carried}, error=error)


def exclude(
    connection: Connection,
    claim_: TransferLease,
    source: WaitSource,
    error: dict[str, Any],
    now: float,
) -> None:
    """This place will not serve. Those who brought it are told; others' places come next."""
    waits.exclude(connection, claim_.id, source, claim_.carried, error)
    remaining = sources.of_transfer(connection, claim_.id, now)
    if not remaining:
        _end(connection, claim_, "failed", now, error=error)
        return
    _save(
        connection,
        claim_,
        state="pending",
        owner=None,
        attempts=0,  # the next place has a budget of its own
        **sources.queue_at(connection, claim_.id, claim_.registry, remaining[0]),
        **claim_.figures,
    )


def delay(
    connection: Connection,
    claim_: TransferLease,
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
        **claim_.figures,
    )
    events.record_for_waiting(
        connection,
        claim_.id,
        "retrying",
        now,
        digest=claim_.digest,
        seconds=seconds,
        error=error,
    )


def hand_back(
    connection: Connection, claim_: TransferLease, *, to: WaitSource | None = None
) -> None:
    """Give the transfer to whoever comes next, in the lane of *to* if given; this was no try."""
    values: dict[str, Any] = {"tries": claim_.tries - 1}
    if to is not None:
        values |= sources.queue_at(connection, claim_.id, claim_.registry, to)
    _save(connection, claim_, state="pending", owner=None, **values, **claim_.figures)


def hand_back_all(connection: Connection, claims: Iterable[TransferLease]) -> None:
    """Give transfers of which nothing has begun, and that are ours, to whoever comes next."""
    rows = [{"held": one.id, "before": one.tries - 1} for one in claims]
    if rows:
        connection.execute(_HAND_BACK, rows)


def stopped(connection: Connection, claim_: TransferLease, now: float) -> None:
    """The owner has closed its socket after a request to stop.

    When someone has joined meanwhile, the request was taken back and the transfer goes on.
    """
    if sources.of_transfer(connection, claim_.id, now):
        hand_back(connection, claim_)
        return
    _end(connection, claim_, "cancelled", now)


def end_dead(
    connection: Connection,
    id_: int,
    error: dict[str, Any] | None,
    now: float,
) -> None:
    """End a transfer whose owner died, where it must not go on.

    With *error* it has failed; where nobody waits for it, it is cancelled.
    """
    cancelled = {"state": "cancelled", "finished_at": now, "upload_session": None}
    connection.execute(
        update(transfers).where(transfers.c.id == id_, waits.UNWANTED).values(**cancelled)
    )
    if error is not None:
        row = connection.execute(
            update(transfers)
            .where(transfers.c.id == id_, text(TRANSFER_PENDING))
            .values(state="failed", finished_at=now, error=error, upload_session=None)
            .returning(transfers.c.bytes_done, transfers.c.bytes_moved)
        ).one_or_none()
        if row is not None:
            waits.end(connection, {id_: Carried(*row)}, error=error)
    events.record_for_waiting(connection, id_, "worker-died", now, transfer=id_)


# --- inside --------------------------------------------------------------------------------------


def _end(
    connection: Connection, claim_: TransferLease, state: str, now: float, **more: Any
) -> None:
    """Nobody owns what has ended, and no upload goes on from it."""
    ended = {"state": state, "owner": None, "upload_session": None, "finished_at": now}
    _save(connection, claim_, **claim_.figures, **ended, **more)


def _held(claim_: TransferLease) -> dict[str, Any]:
    return {"held": claim_.id, "held_fence": claim_.fence, "held_by": claim_.owner}


def _save(connection: Connection, claim_: TransferLease, **values: Any) -> None:
    written = connection.execute(_SAVE, {**_held(claim_), **values})
    if written.rowcount != 1:
        raise _lost(claim_)


def _lost(claim_: TransferLease) -> LeaseLostError:
    return LeaseLostError("the transfer is held by another worker now", subject=claim_.digest)
