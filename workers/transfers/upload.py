"""Sends one blob from the store to a registry."""

from __future__ import annotations

from store.catalog.transfers import Claim, Place
from store.errors import BlobMissingError
from store.oci.digest import Digest
from workers.leases import Held
from workers.world import World

CLOSING_ANSWER_SECONDS = 16 * 60.0  # a registry may hash and copy for long before it answers


def upload(claim: Claim, place: Place, world: World, held: Held) -> None:
    """Send the blob of *claim* to *place*; on return the registry has confirmed its digest.

    The job that wants it has found it absent and not mountable. After a failed try it is asked
    for again first: the registry may have kept what it did not answer for.

    Raises:
        BlobMissingError: the store has lost it.
    """
    digest = Digest.parse(claim.digest)
    repository = world.repository(place.root, place.registry, place.repository)
    held.bound(CLOSING_ANSWER_SECONDS)
    if claim.tries > 1 and repository.head_blob(digest) is not None:
        claim.done = claim.size
        return
    if world.content.size(digest) != claim.size:
        raise BlobMissingError(
            "the store does not hold the blob to send",
            subject=claim.digest,
            hint="run the job again",
        )

    def sent(count: int) -> None:
        claim.done += count
        claim.moved += max(0, count)  # negative when something is sent again

    with world.content.open(digest) as source:
        repository.upload_blob(
            digest, claim.size, source, upload=None, on_bytes=sent, check=held.check
        )
