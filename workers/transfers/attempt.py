"""One attempt at one transfer, from its message to the row's next state."""

from __future__ import annotations

import logging
from typing import Any

from sqlalchemy import Connection

from transship.store.catalog.scheduling import transfers, waits
from transship.store.catalog.scheduling.admission import limits, parking
from transship.store.catalog.scheduling.admission.parking import Probe
from transship.store.catalog.scheduling.admission.sources import WaitSource
from transship.store.catalog.scheduling.transfers import TransferLease
from transship.store.errors import (
    CancelledError,
    HandedBackError,
    InternalError,
    LeaseLostError,
    Side,
    TransshipError,
)
from transship.workers.registry.transport.transport import attentive
from transship.workers.runtime.context import MAX_ANNOUNCED, WorkerContext, at
from transship.workers.runtime.leases import LeaseRenewer
from transship.workers.runtime.missing import looked_again
from transship.workers.transfers.download import download
from transship.workers.transfers.retry import Again, Attempt, Exclude, decide
from transship.workers.transfers.upload import upload

log = logging.getLogger(__name__)

_MOVES = {"download": (download, Side.SOURCE), "upload": (upload, Side.DESTINATION)}


def attempt(id_: int, worker: str, context: WorkerContext, renewer: LeaseRenewer) -> None:
    """Take up an admitted transfer and bring it as far as it gets. Repeated, it does nothing."""
    with context.catalog.write() as connection:
        now = context.now()
        claim = transfers.claim(connection, id_, worker, now)
        if claim is None:
            return
        leave = _enter(connection, claim, now)
    if not leave:
        with context.change():  # the slot is free for another registry
            return
    if isinstance(leave, Probe):
        context.registries.probe(claim.registry, leave.until)
    try:
        _run(claim, context, renewer)
    except LeaseLostError as lost:
        log.warning("transfer %s: %s", claim.digest, lost)


def _enter(connection: Connection, claim: TransferLease, now: float) -> Probe | bool:
    """Whether the place may be gone to; if it was closed since admission, the claim is given up."""
    if not claim.sources or claim.sources[0].registry != claim.registry:
        return True
    leave = not claim.sources[0].barred and parking.enter(connection, claim.registry, now)
    if not leave:
        transfers.hand_back(connection, claim)
    return leave


def _run(claim: TransferLease, context: WorkerContext, renewer: LeaseRenewer) -> None:
    if not claim.sources:
        with context.change() as change:
            transfers.stopped(change.connection, claim, change.now)
        return
    source = claim.sources[0]
    if source.registry != claim.registry and claim.direction == "download":
        # The lane was right when it was admitted; count it where it really goes.
        with context.change() as change:
            transfers.hand_back(change.connection, claim, to=source)
        return
    move, side = _MOVES[claim.direction]
    with renewer.keep(claim) as monitor:
        try:
            monitor.check()
            with at(side), attentive(monitor.check, listener=monitor):
                move(claim, source, context, monitor)
        except LeaseLostError:
            raise
        except HandedBackError:
            with context.change() as change:
                transfers.hand_back(change.connection, claim)
        except CancelledError:
            with context.change() as change:
                transfers.stopped(change.connection, claim, change.now)
        except TransshipError as error:
            _failed(claim, source, error, context)
        except Exception as error:
            log.exception("transfer %s failed", claim.digest)
            fault = InternalError(f"{type(error).__name__}: {error}", subject=claim.digest)
            _failed(claim, source, fault, context)
        else:
            done(claim, source, context)


def done(claim: TransferLease, source: WaitSource, context: WorkerContext) -> None:
    """Write down that the blob has arrived, and admit what the free slot makes possible.

    Raises:
        LeaseLostError: the transfer is held no more; nothing was written.
    """
    with context.change() as change:
        change.directions = [claim.direction]
        if not transfers.complete(
            change.connection, claim, source, change.now, shared=context.shared_trust
        ):
            change.queues = ()


def _failed(
    claim: TransferLease, source: WaitSource, error: TransshipError, context: WorkerContext
) -> None:
    log.info("transfer %s: attempt %d: %s", claim.digest, claim.attempts + 1, error)
    error = looked_again(error, context)
    with context.change() as change:
        connection, now = change.connection, change.now
        most = limits.effective(connection)[limits.ATTEMPTS[claim.direction]].value
        history = Attempt(claim.attempts, claim.tries, claim.done - claim.furthest)
        told = waits.jobs_of(connection, claim.id, limit=MAX_ANNOUNCED)
        described: dict[str, Any] = {**error.as_json(), "attempts": claim.attempts + 1}
        match decide(error, history, most=most):
            case Again(seconds=seconds, counts=counts) as again:
                transfers.delay(connection, claim, described, seconds, now, counts=counts)
                again.park(connection, source.registry, source.fingerprint, now)
            case Exclude():
                transfers.exclude(connection, claim, source, described, now)
            case _:
                transfers.fail(connection, claim, described, now)
        change.jobs.update(told)
