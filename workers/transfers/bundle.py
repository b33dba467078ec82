"""A bundle of transfers in one slot, from its message to the next state of each row.

The blobs move one after the other, over one connection. What has arrived is published and written
down together; what fails leaves by itself, and decides nothing for the others.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack

from sqlalchemy import Connection

from transship.store.catalog.scheduling import transfers
from transship.store.catalog.scheduling.admission import parking
from transship.store.catalog.scheduling.admission.parking import Probe
from transship.store.catalog.scheduling.admission.sources import WaitSource
from transship.store.catalog.scheduling.transfers import TransferLease
from transship.store.content.ports import Ingest
from transship.store.errors import (
    CancelledError,
    HandedBackError,
    InternalError,
    LeaseLostError,
    Side,
    TransshipError,
)
from transship.store.oci.digest import Digest
from transship.workers.registry.transport.transport import attentive
from transship.workers.runtime.context import WorkerContext, at
from transship.workers.runtime.leases import LeaseMonitor, LeaseRenewer
from transship.workers.transfers.download import download
from transship.workers.transfers.settle import arrived, failed
from transship.workers.transfers.upload import upload

log = logging.getLogger(__name__)

TURN_SECONDS = 1.0  # what has not begun by then waits for another slot


def run_bundle(
    direction: str, number: int, worker: str, context: WorkerContext, renewer: LeaseRenewer
) -> None:
    """Take up an admitted bundle and bring each of its blobs as far as it gets.

    Repeated, it does nothing.
    """
    with context.catalog.write() as connection:
        now = context.now()
        claims = transfers.claim(connection, direction, number, worker, now)
        ready, probe = _enter(connection, claims, now)
    if len(ready) < len(claims):
        with context.change():  # the slot may be free, or another one be wanted
            pass
    if probe is not None:
        context.registries.probe(probe.registry, probe.until)
    if ready:
        Bundle(ready, context, renewer).run()


def _enter(
    connection: Connection, claims: Sequence[TransferLease], now: float
) -> tuple[list[TransferLease], Probe | None]:
    """Those that may go where they are to go; the others are given up.

    Who asks a registry ahead of others goes alone.
    """
    ready: list[TransferLease] = []
    for claim in claims:
        if not claim.sources:
            transfers.stopped(connection, claim, now)
        elif claim.sources[0].registry != claim.registry:
            # The lane was right when it was admitted; count it where it really goes.
            transfers.hand_back(connection, claim, to=claim.sources[0])
        elif claim.sources[0].barred:
            transfers.hand_back(connection, claim)
        else:
            ready.append(claim)
    leave = parking.enter(connection, ready[0].registry, now) if ready else False
    probe = leave if isinstance(leave, Probe) else None
    going = 0 if not leave else 1 if probe is not None else len(ready)
    for claim in ready[going:]:
        transfers.hand_back(connection, claim)
    return ready[:going], probe


class Member:
    """One transfer of a bundle, which this process holds until it is let go."""

    def __init__(self, claim: TransferLease, renewer: LeaseRenewer) -> None:
        """Begin to renew the lease. Waiting for its turn takes as long as it takes."""
        self.claim = claim
        self.source: WaitSource = claim.sources[0]
        self.ingest: Ingest | None = None  # sealed, to be published
        self._kept = ExitStack()
        self.monitor: LeaseMonitor = self._kept.enter_context(renewer.keep(claim))
        self.monitor.unbounded()

    def let_go(self) -> None:
        """Renew it no longer."""
        self._kept.close()

    def move(self, context: WorkerContext) -> None:
        """Bring the blob where it is to go."""
        self.monitor.check()
        if self.claim.direction == "download":
            with at(Side.SOURCE), attentive(self.monitor.check, listener=self.monitor):
                self.ingest = download(self.claim, self.source, context, self.monitor)
        else:
            with at(Side.DESTINATION), attentive(self.monitor.check, listener=self.monitor):
                upload(self.claim, self.source, context, self.monitor)
        self.monitor.unbounded()


class Bundle:
    """Transfers of one lane that share a slot, and of which this process holds all."""

    def __init__(
        self, claims: Sequence[TransferLease], context: WorkerContext, renewer: LeaseRenewer
    ) -> None:
        """Begin to renew the leases of all *claims*, which have a source each."""
        self._context = context
        self._waiting = [Member(claim, renewer) for claim in claims]
        self._arrived: list[Member] = []
        self._late_at = time.monotonic() + TURN_SECONDS

    def run(self) -> None:
        """Bring each blob as far as it gets; what has not begun within a second is handed back."""
        try:
            going_on = True
            while going_on and self._waiting:
                member = self._waiting.pop(0)
                going_on = self._move(member) and time.monotonic() < self._late_at
            self._settle()
        finally:
            for member in (*self._waiting, *self._arrived):
                member.let_go()

    def _move(self, member: Member) -> bool:
        """Move one blob; False: those that follow had better wait."""
        claim, context = member.claim, self._context
        member.monitor.on_check = self._settle_if_late
        going_on = True
        try:
            try:
                member.move(context)
            except HandedBackError:
                going_on = False
                with context.change() as change:
                    transfers.hand_back(change.connection, claim)
            except CancelledError:
                with context.change() as change:
                    transfers.stopped(change.connection, claim, change.now)
            else:
                member.monitor.on_check = lambda: None
                self._arrived.append(member)
                return True
        except LeaseLostError as lost:
            log.warning("transfer %s: %s", claim.digest, lost)
        except TransshipError as error:
            going_on = self._failed(member, error)
        except Exception as error:
            log.exception("transfer %s failed", claim.digest)
            text = f"{type(error).__name__}: {error}"
            going_on = self._failed(member, InternalError(text, subject=claim.digest))
        member.let_go()
        return going_on

    def _settle_if_late(self) -> None:
        """While one blob takes long, the others need not wait for it."""
        if (self._arrived or self._waiting) and time.monotonic() > self._late_at:
            try:
                self._settle()
            except TransshipError as error:
                log.warning("what had arrived is lost until its lease expires: %s", error)

    def _settle(self) -> None:
        """Publish what has arrived and write it down, hand back what has not begun."""
        moved, self._arrived = self._arrived, []
        not_begun, self._waiting = self._waiting, []
        try:
            there = self._published(moved)
            if there or not_begun:
                arrived(
                    [(one.claim, one.source) for one in there],
                    [one.claim for one in not_begun],
                    self._context,
                )
        finally:
            for one in (*moved, *not_begun):
                one.let_go()

    def _published(self, moved: list[Member]) -> list[Member]:
        """Those whose blobs are in their place; no name is given that is not ours to give."""
        if all(one.ingest is None for one in moved):
            return moved
        with self._context.catalog.read() as connection:
            ours = transfers.held(connection, [one.claim for one in moved])
        there = [one for one in moved if one.claim.id in ours]
        content = self._context.content
        try:
            content.publish([one.ingest for one in there if one.ingest is not None])
        except TransshipError as error:
            for one in there:
                self._failed(one, error)
            return []
        for one in there:
            if one.claim.fence > 1:  # an earlier attempt may have begun with another source
                content.discard_partials(Digest.parse(one.claim.digest))
        return there

    def _failed(self, member: Member, error: TransshipError) -> bool:
        try:
            return failed(member.claim, member.source, error, self._context)
        except LeaseLostError as lost:
            log.warning("transfer %s: %s", member.claim.digest, lost)
            return True
