"""Brings one blob from a registry into the store."""

from __future__ import annotations

from store.catalog import transfers
from store.catalog.places import Place
from store.catalog.transfers import Claim
from store.content.verify import intact
from store.errors import RegistryNotFoundError
from store.oci.descriptor import Descriptor
from store.oci.digest import Digest
from workers.leases import Held
from workers.world import World

SILENCE_BOUND_SECONDS = 90.0  # connecting, an answer, a token; the client's own limits are tighter


def download(claim: Claim, place: Place, world: World, held: Held) -> None:
    """Bring the blob of *claim* from *place*; on return its file is in the store, and synced.

    What an earlier attempt left is taken over, and only the rest is asked for. A file that is
    there in whole, because somebody died between naming it and recording it, is hashed and kept.
    """
    digest = Digest.parse(claim.digest)
    # Every other try goes past the mirrors: one that gives wrong bytes must not use them all up.
    repository = world.repository(
        place.root, place.registry, place.repository, mirrored=claim.attempts % 2 == 0
    )
    held.bound(SILENCE_BOUND_SECONDS)
    if world.content.size(digest) == claim.size and intact(world.content, digest, held.check):
        if repository.head_blob(digest) is None:
            raise _absent(claim, place)
        return
    with world.content.ingest(digest, fence=claim.fence) as ingest:
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
            if repository.head_blob(digest) is None:
                raise _absent(claim, place)
        else:
            blob = Descriptor(media_type=claim.media_type, digest=digest, size=claim.size)
            with repository.open_blob(blob, offset=ingest.offset, check=held.check) as body:
                known = ingest.offset - body.offset  # not 0 where the range was ignored
                body.read_into(receive, check=held.check)
        held.unbounded()

        def still_ours() -> None:
            with world.catalog.read() as connection:
                transfers.check(connection, claim)

        ingest.commit(size=claim.size, guard=still_ours)


def _absent(claim: Claim, place: Place) -> RegistryNotFoundError:
    return RegistryNotFoundError(
        "the registry does not hold this blob",
        registry=place.registry,
        subject=f"{place.registry}/{place.repository}@{claim.digest}",
        http_status=404,
    )
