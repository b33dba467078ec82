"""What was written down as held is there, although a collection may have been at it."""

from __future__ import annotations

from collections.abc import Iterable

from store.content.ports import ContentStore
from store.errors import BlobMissingError
from store.oci.digest import Digest


def see_present(content: ContentStore, digests: Iterable[Digest]) -> None:
    """See to it that blobs are there whose rows were committed after their files had been seen.

    Just before, a collection may have deleted an older row of the same bytes, and have moved the
    file since: it is taken back. Whoever has leased a digest before looking for its file need not
    ask for this.

    Raises:
        BlobMissingError: it is not in the trash either.
    """
    for digest in digests:
        if content.size(digest) is None and not content.restore(digest):
            raise BlobMissingError("it was collected as it came", subject=str(digest))
