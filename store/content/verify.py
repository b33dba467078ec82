"""Whether what the store holds is still what its digests say."""

from __future__ import annotations

from collections.abc import Callable

from transship.store.content.ports import ContentStore
from transship.store.oci.digest import Digest

_CHUNK_BYTES = 1024 * 1024


def intact(content: ContentStore, digest: Digest, check: Callable[[], None]) -> bool:
    """Hash a blob again, calling *check* on the way, and say whether it is what it was.

    Raises:
        BlobMissingError: it is absent.
        StoreError: the disk does not give it back.
    """
    hasher = digest.hasher()
    with content.open(digest) as file:
        while chunk := file.read(_CHUNK_BYTES):
            check()
            hasher.update(chunk)
    return hasher.hexdigest() == digest.hex
