"""Whether what is on record as held can be read.

A file may be missing for a moment: a collection has just moved it, or a shared file system does not
show yet what another host has written. It is lost only when it stays away and is not in the trash.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from transship.store.content.ports import ContentStore
from transship.store.errors import BlobMissingError
from transship.store.oci.digest import Digest

HIDDEN_SECONDS = 5.0  # longer than a network file system remembers that a name is absent
_LOOK_SECONDS = 0.2


def lost(
    content: ContentStore,
    digests: Iterable[Digest],
    *,
    check: Callable[[], None] = lambda: None,
    wait: Callable[[float], None] = time.sleep,
) -> set[Digest]:
    """Return those of *digests* that are gone for good; what is in the trash is taken back.

    Looks for up to `HIDDEN_SECONDS`, for all of them together, and calls *check* meanwhile. Ask
    only for what the catalog says is held: a file comes before its row, and goes after it.
    """
    until = time.monotonic() + HIDDEN_SECONDS
    missing = set(digests)
    while True:
        missing = {d for d in missing if content.size(d) is None and not content.restore(d)}
        if not missing or time.monotonic() >= until:
            return missing
        check()
        wait(_LOOK_SECONDS)


def ensure_present(content: ContentStore, digests: Iterable[Digest]) -> None:
    """See to it that blobs are there whose rows were committed after their files had been seen.

    Just before, a collection may have deleted an older row of the same bytes, and have moved the
    file since: it is taken back. Whoever has leased a digest before looking for its file need not
    ask for this.

    Raises:
        BlobMissingError: it is not in the trash either.
    """
    for digest in lost(content, digests):
        raise BlobMissingError("it was collected as it came", subject=str(digest))
