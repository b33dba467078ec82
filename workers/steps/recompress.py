"""A layer of the store, compressed in another way."""

from __future__ import annotations

from transship.store.catalog.content import layers
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.errors import DigestMismatchError, Side
from transship.store.images.build.new_layer import MadeLayer, NewLayer
from transship.store.layers.codecs.formats import Compression, open_reader
from transship.store.oci.digest import Digest
from transship.workers.jobs.intake import Arrivals
from transship.workers.runtime.context import WorkerContext
from transship.workers.runtime.leases import LeaseMonitor

_READ_BYTES = 1024 * 1024


def recompress(
    digest: Digest,
    diff_id: Digest,
    compression: Compression,
    lease: JobLease,
    context: WorkerContext,
    monitor: LeaseMonitor,
) -> MadeLayer:
    """Write the stream *diff_id*, which the blob *digest* holds, to a blob compressed anew.

    It is leased, and on record as what holds that stream.

    Raises:
        DigestMismatchError: the blob is damaged, and holds something else.
        DecompressionError: it is damaged, and cannot be read.
        DiskFullError: no space is left.
    """
    monitor.unbounded()
    with (
        context.content.open(digest) as blob,
        open_reader(blob, subject=str(digest)) as stream,
        NewLayer(context.content, lease.id, compression) as new,
    ):
        while data := stream.read(_READ_BYTES):
            monitor.check()
            new.write(data)
        made = new.commit()
    if made.diff_id != diff_id:
        raise DigestMismatchError(expected=str(diff_id), actual=str(made.diff_id)).at(Side.STORE)
    arrivals = Arrivals(lease, context)
    arrivals.add(made.digest, made.size)
    arrivals.flush()
    with context.catalog.write() as connection:
        layers.record(connection, [made.pair], verified=True)
    return made
