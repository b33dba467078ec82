"""Brings one blob from a registry into the store, or reads it to see that the registry has it."""

from __future__ import annotations

from transship.store.catalog.content import blobs, collection
from transship.store.catalog.scheduling.admission.sources import WaitSource
from transship.store.catalog.scheduling.transfers import TransferLease
from transship.store.content.ports import Ingest
from transship.store.content.verify import intact
from transship.store.errors import DigestMismatchError, RegistryNotFoundError, WrongSizeError
from transship.store.oci.descriptor import Descriptor
from transship.store.oci.digest import Digest
from transship.workers.registry.client import Repository
from transship.workers.runtime.context import WorkerContext
from transship.workers.runtime.leases import LeaseMonitor

SILENCE_BOUND_SECONDS = 90.0  # connecting, an answer, a token; the client's own limits are tighter


def download(
    claim: TransferLease, source: WaitSource, context: WorkerContext, monitor: LeaseMonitor
) -> Ingest | None:
    """Bring the blob of *claim* from *source*; returns it sealed, to be published.

    What an earlier attempt left of the bytes of the same repository is taken over, and only the
    rest is asked for. Where the store holds the blob already, it came from elsewhere, or somebody
    died between naming its file and recording it: then the source has to show that it has the bytes
    too, all of them, nothing is written, and None is returned.

    Raises:
        WrongSizeError: the store holds the blob, and its size is not what the claim says.
    """
    digest = Digest.parse(claim.digest)
    # Every other try goes past the mirrors: one that gives wrong bytes must not use them all up.
    repository = context.repository(
        source.root,
        source.tenant,
        source.registry,
        source.repository,
        mirrored=claim.attempts % 2 == 0,
    )
    blob = Descriptor(media_type=claim.media_type, digest=digest, size=claim.size)
    monitor.bound(SILENCE_BOUND_SECONDS)
    if _is_here(blob, context, monitor):
        if not _may_take_its_word(claim, source, context):
            _compare(blob, claim, repository, monitor)
        elif repository.head_blob(digest, sure=True) is None:
            raise _absent(claim, source)
        return None
    # One who has the end of a blob has not shown that it has the beginning.
    origin = "" if context.shared_trust else f"{source.registry}/{source.repository}"
    with context.content.ingest(
        digest, fence=claim.fence, origin=f"{claim.size} {origin}"
    ) as ingest:
        if ingest.offset > claim.size:
            ingest.rewind()
        claim.done = ingest.offset
        known = 0  # bytes to come that the ingest has already

        def receive(chunk: memoryview) -> None:
            nonlocal known
            claim.moved += len(chunk)
            skipped = min(known, len(chunk))
            known -= skipped
            ingest.write(chunk[skipped:])
            claim.done += len(chunk) - skipped

        if ingest.offset == claim.size and ingest.resumed:
            if repository.head_blob(digest, sure=True) is None:
                raise _absent(claim, source)
        else:
            with repository.open_blob(blob, offset=ingest.offset, check=monitor.check) as body:
                known = ingest.offset - body.offset  # not 0 where the range was ignored
                body.read_into(receive, check=monitor.check)
        monitor.unbounded()
        ingest.seal(claim.size)
        return ingest


def _is_here(blob: Descriptor, context: WorkerContext, monitor: LeaseMonitor) -> bool:
    """Whether the store holds the blob, on record or as a file that is what its digest says."""
    size = context.content.size(blob.digest)
    if size is None:
        return False
    with context.catalog.read() as connection:
        recorded = bool(collection.held(connection, [str(blob.digest)]))
    if not recorded and not intact(context.content, blob.digest, monitor.check):
        return False
    if size != blob.size:
        raise WrongSizeError(subject=str(blob.digest), claimed=blob.size, actual=size)
    return True


def _may_take_its_word(claim: TransferLease, source: WaitSource, context: WorkerContext) -> bool:
    """Whether HEAD is enough: trust is shared, or the bytes came from this repository before."""
    if context.shared_trust:
        return True
    with context.catalog.read() as connection:
        return bool(
            blobs.proven(
                connection,
                [claim.digest],
                registry=source.registry,
                repository=source.repository,
            )
        )


def _compare(
    blob: Descriptor, claim: TransferLease, repository: Repository, monitor: LeaseMonitor
) -> None:
    """Read the blob as the repository has it, and write nothing.

    Raises:
        DigestMismatchError: it is something else.
    """
    hasher = blob.digest.hasher()

    def look(chunk: memoryview) -> None:
        hasher.update(chunk)
        claim.moved += len(chunk)
        claim.done += len(chunk)

    claim.done = 0
    with repository.open_blob(blob, offset=0, check=monitor.check) as body:
        body.read_into(look, check=monitor.check)
    actual = Digest.from_hash(hasher)
    if actual != blob.digest:
        raise DigestMismatchError(expected=str(blob.digest), actual=str(actual))


def _absent(claim: TransferLease, source: WaitSource) -> RegistryNotFoundError:
    return RegistryNotFoundError(
        "the registry does not hold this blob",
        registry=source.registry,
        subject=f"{source.registry}/{source.repository}@{claim.digest}",
        http_status=404,
    )
