"""What becomes of a blob that could not be read although the catalog says that it is held."""

from __future__ import annotations

from transship.store.catalog.content import blobs
from transship.store.content.present import lost
from transship.store.errors import (
    BlobHiddenError,
    BlobMissingError,
    InvalidDigestError,
    TransshipError,
)
from transship.store.oci.digest import Digest
from transship.workers.runtime.context import WorkerContext


def looked_again(error: TransshipError, context: WorkerContext) -> TransshipError:
    """Return *error*, or, where the blob that it misses is not lost, one that may be retried.

    Nothing is forgotten on the word of somebody who could not read it: the row is deleted only
    where the file is gone for good. Otherwise a shared file system had hidden it, or it lay in the
    trash and was taken back.
    """
    if not isinstance(error, BlobMissingError):
        return error
    try:
        digest = Digest.parse(error.subject)
    except InvalidDigestError:
        return error  # it is about no single blob
    if not lost(context.content, [digest]):
        return BlobHiddenError("the store did not show it for a moment", subject=error.subject)
    with context.catalog.write() as connection:
        # A file comes before its row. Nobody can add the row while this transaction is open.
        if context.content.size(digest) is None:
            blobs.forget(connection, str(digest))
    return error
