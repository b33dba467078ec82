"""What comes of tries, written down: what has arrived, what goes on later, what has failed."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Any

from transship.store.catalog.scheduling import transfers, waits
from transship.store.catalog.scheduling.admission import limits
from transship.store.catalog.scheduling.admission.job_admission import QUEUES
from transship.store.catalog.scheduling.admission.lanes import DIRECTIONS
from transship.store.catalog.scheduling.admission.sources import WaitSource
from transship.store.catalog.scheduling.transfers import TransferLease
from transship.store.errors import TransshipError
from transship.workers.runtime.context import MAX_ANNOUNCED, WorkerContext
from transship.workers.runtime.missing import looked_again
from transship.workers.transfers.retry import Again, Attempt, Exclude, decide

log = logging.getLogger(__name__)


def arrived(
    moved: Sequence[tuple[TransferLease, WaitSource]],
    not_begun: Collection[TransferLease],
    context: WorkerContext,
) -> set[int]:
    """Blobs of one slot have arrived, others were *not_begun*: let go of all in one transaction.

    Returns the ids of those that were still ours; of the others nothing was written.
    """
    claims = [*(claim for claim, _ in moved), *not_begun]
    with context.change() as change:
        ours = transfers.held(change.connection, claims, locked=True)
        done = [one for one in moved if one[0].id in ours]
        if done:
            woken = transfers.complete(
                change.connection, done, change.now, shared=context.shared_trust
            )
            change.directions = DIRECTIONS if woken.uploads else [done[0][0].direction]
            change.queues = QUEUES if woken.jobs else ()
        left = [claim for claim in not_begun if claim.id in ours]
        transfers.hand_back_all(change.connection, left)
    for claim in claims:
        if claim.id not in ours:
            log.warning("transfer %s: it is held by another worker now", claim.digest)
    return ours


def failed(
    claim: TransferLease, source: WaitSource, error: TransshipError, context: WorkerContext
) -> bool:
    """A try has failed: again later, with another source, or for all who wait.

    False: the same may happen to others that would go there now.

    Raises:
        LeaseLostError: the transfer is held no more; nothing was written.
    """
    log.info("transfer %s: attempt %d: %s", claim.digest, claim.attempts + 1, error)
    error = looked_again(error, context)
    with context.change() as change:
        connection, now = change.connection, change.now
        most = limits.effective(connection)[limits.ATTEMPTS[claim.direction]].value
        history = Attempt(claim.attempts, claim.tries, claim.done - claim.furthest)
        told = waits.jobs_of(connection, claim.id, limit=MAX_ANNOUNCED)
        described: dict[str, Any] = {**error.as_json(), "attempts": claim.attempts + 1}
        decision = decide(error, history, most=most)
        match decision:
            case Again(seconds=seconds, counts=counts):
                transfers.delay(connection, claim, described, seconds, now, counts=counts)
                decision.park(connection, source.registry, source.fingerprint, now)
            case Exclude():
                transfers.exclude(connection, claim, source, described, now)
            case _:
                transfers.fail(connection, claim, described, now)
        change.jobs.update(told)
    return not isinstance(decision, Again)
