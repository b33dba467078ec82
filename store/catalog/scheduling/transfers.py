"""Transfers as rows: one blob, one direction, one place, unique among those that are active.

Their life at the hands of a worker: taken up, delayed, handed on, ended. Who wants one is in
`waits`, where it may go in `places`, and which may start is decided in `admission`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, and_, bindparam, func, select, text, update

from transship.store.catalog.content import blobs
from transship.store.catalog.db.schema import TRANSFER_PENDING, transfers
from transship.store.catalog.scheduling import events, waits
from transship.store.catalog.scheduling.admission import silence, sources
from transship.store.catalog.scheduling.admission.sources import WaitSource
from transship.store.catalog.scheduling.progress import Carried
from transship.store.errors import LeaseLostError

# --- statements of the hot path, built once: to build one takes longer than to run it ------------

_CLAIM = (
    update(transfers)
    .where(transfers.c.id == bindparam("transfer"), text("state = 'admitted'"))
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
_CHECK = select(transfers.c.id).where(_HELD)
_SAVE = update(transfers).where(_HELD)
_SAVE_AND_SEE = _SAVE.returning(waits.SOME_FROM_ELSEWHERE)


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


def claim(connection: Connection, id_: int, owner: str, now: float) -> TransferLease | None:
    """Take up an admitted transfer, or return None: someone has it, or it has ended."""
    row = connection.execute(_CLAIM, {"transfer": id_, "by": owner, "now": now}).one_or_none()
    if row is None:
        return None
    return TransferLease(
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
        sources=sources.of_transfer(connection, row.id, now),
        listening=bool(row.silent),
        session=row.upload_session,
    )


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


def check(connection: Connection, claim_: TransferLease) -> None:
    """Make sure that the transfer is still ours.

    Raises:
        LeaseLostError: it is not.
    """
    if connection.execute(_CHECK, _held(claim_)).first() is None:
        raise _lost(claim_)


def complete(
    connection: Connection,
    claim_: TransferLease,
    source: WaitSource,
    now: float,
    *,
    shared: bool = False,
) -> bool:
    """The blob has arrived: in the store for a download, in the registry for an upload.

    A download serves those who want the blob from the repository that it came from, or everybody
    where trust is *shared*. The others get a transfer of their own: their places are read too, and
    compared, for to know a digest grants nothing. Returns whether a job is due now.
    """
    seen = blobs.Source(source.registry, source.repository, source.fingerprint)
    size = claim_.size
    blobs.confirm(connection, [claim_.digest], seen, now)
    values = _ended(claim_, "done", now, error=None, bytes_done=size, furthest=size)
    served = {"at_registry": source.registry, "at_repository": source.repository}
    row = connection.execute(_SAVE_AND_SEE, {**_held(claim_), **values, **served}).one_or_none()
    if row is None:
        raise _lost(claim_)
    if claim_.direction == "download":
        blobs.add(connection, claim_.digest, size, now)
        blobs.record_bytes(connection, [claim_.digest], seen)
        if not shared and row[0]:
            waits.hand_on(connection, claim_.id, source, now)
    heard(connection, claim_)
    carried = Carried(size, claim_.bytes_moved + claim_.moved, whole=True)
    return waits.end(connection, claim_.id, carried, error=None)


def fail(connection: Connection, claim_: TransferLease, error: dict[str, Any], now: float) -> None:
    """The transfer has failed for all who wait for it."""
    _end(connection, claim_, "failed", now, error=error)
    waits.end(connection, claim_.id, claim_.carried, error=error)


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
            waits.end(connection, id_, Carried(*row), error=error)
    events.record_for_waiting(connection, id_, "worker-died", now, transfer=id_)


# --- inside --------------------------------------------------------------------------------------


def _ended(claim_: TransferLease, state: str, now: float, **more: Any) -> dict[str, Any]:
    """What a row says of a transfer that has ended: nobody owns it, no upload goes on from it."""
    values: dict[str, Any] = {**claim_.figures, **more}
    return values | {"state": state, "owner": None, "upload_session": None, "finished_at": now}


def _end(
    connection: Connection, claim_: TransferLease, state: str, now: float, **more: Any
) -> None:
    _save(connection, claim_, **_ended(claim_, state, now, **more))


def _held(claim_: TransferLease) -> dict[str, Any]:
    return {"held": claim_.id, "held_fence": claim_.fence, "held_by": claim_.owner}


def _save(connection: Connection, claim_: TransferLease, **values: Any) -> None:
    written = connection.execute(_SAVE, {**_held(claim_), **values})
    if written.rowcount != 1:
        raise _lost(claim_)


def _lost(claim_: TransferLease) -> LeaseLostError:
    return LeaseLostError("the transfer is held by another worker now", subject=claim_.digest)
