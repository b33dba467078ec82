"""Sends one blob from the store to a registry."""

from __future__ import annotations

import logging

from transship.store.catalog.scheduling import transfers
from transship.store.catalog.scheduling.admission.sources import WaitSource
from transship.store.catalog.scheduling.transfers import TransferLease
from transship.store.content.present import lost
from transship.store.errors import BlobMissingError, StoreError, WrongSizeError
from transship.store.oci.digest import Digest
from transship.workers.registry.client import Repository
from transship.workers.registry.upload_sessions import Upload
from transship.workers.runtime.context import WorkerContext
from transship.workers.runtime.leases import LeaseMonitor

log = logging.getLogger(__name__)

CLOSING_ANSWER_SECONDS = 16 * 60.0  # a registry may hash and copy for long before it answers


def upload(
    claim: TransferLease, source: WaitSource, context: WorkerContext, monitor: LeaseMonitor
) -> None:
    """Send the blob of *claim* to *source*, where it is to go; then the registry has confirmed it.

    The job that wants it has found it absent and not mountable. When it was taken up before, it
    is asked for again first: the registry may have kept what nobody was there to hear of. What
    an earlier owner brought into a session that the registry still knows is not sent again.

    Raises:
        BlobMissingError: the store has lost it.
        WrongSizeError: it has another size than the claim says.
    """
    digest = Digest.parse(claim.digest)
    repository = context.repository(source.root, source.tenant, source.registry, source.repository)
    monitor.bound(CLOSING_ANSWER_SECONDS)
    if claim.begun_before and repository.head_blob(digest) is not None:
        claim.done = claim.size
        return
    if lost(context.content, [digest], check=monitor.check):
        raise BlobMissingError(
            "the store does not hold the blob to send",
            subject=claim.digest,
            hint="run the job again",
        )
    size = context.content.size(digest)
    if size != claim.size and size is not None:
        raise WrongSizeError(subject=claim.digest, claimed=claim.size, actual=size)
    session = _taken_up(claim, source, context, repository)
    if session is not None:
        claim.done = session.offset

    def sent(count: int) -> None:
        claim.done += count
        claim.moved += max(0, count)  # negative when something is sent again

    def keep(moved_on: Upload | None) -> None:
        sealed = None if moved_on is None else context.sealer.seal(_record(moved_on, source))
        with context.catalog.write() as connection:
            offset = 0 if moved_on is None else moved_on.offset
            transfers.keep_session(connection, claim, sealed, offset)

    with context.content.open(digest) as blob_file:
        repository.upload_blob(
            digest,
            claim.size,
            blob_file,
            upload=session,
            on_bytes=sent,
            check=monitor.check,
            keep=keep,
        )


def _taken_up(
    claim: TransferLease, source: WaitSource, context: WorkerContext, repository: Repository
) -> Upload | None:
    """The session of an earlier owner, as far as the registry says that it is."""
    if claim.session is None:
        return None
    try:
        kept = context.sealer.open(claim.session)
    except StoreError as error:  # another key: that much is sent again
        log.warning("the upload session of %s cannot be read: %s", claim.digest, error)
        return None
    if kept["fingerprint"] != source.fingerprint:
        return None  # opened with another credential
    return repository.resume_upload(Upload(kept["location"], chunk_bytes=int(kept["chunk_bytes"])))


def _record(session: Upload, source: WaitSource) -> dict[str, str | int]:
    return {
        "location": session.location,
        "chunk_bytes": session.chunk_bytes,
        "fingerprint": source.fingerprint,
    }
