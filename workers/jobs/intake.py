"""Receives the body of a job: it becomes blobs as it comes, leased to the job and on record.

Whoever receives holds the job's lease meanwhile, as a worker does. Once the body is there in whole
the job is released, and a worker goes on with it. Where it is not, the job has failed; and if the
receiver dies, the lease expires, and the worker that takes the job up finds nothing received.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

from transship.store.archives.limits import ArchiveLimits
from transship.store.archives.receive import receive_archive
from transship.store.catalog.content import blobs, collection
from transship.store.catalog.scheduling import events, jobs
from transship.store.catalog.scheduling.admission import limits
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.content.present import ensure_present
from transship.store.errors import (
    CancelledError,
    ContentError,
    DigestMismatchError,
    DiskFullError,
    HandedBackError,
    IncompleteBodyError,
    InternalError,
    LeaseLostError,
    Side,
    StoreError,
    TransshipError,
)
from transship.store.layers.codecs.formats import Readable
from transship.store.layers.intake import take_in
from transship.store.layers.sources import Check
from transship.store.oci.digest import Digest
from transship.workers.jobs.service import RECEIVED, JobService
from transship.workers.jobs.submission import Submission
from transship.workers.runtime import task_events
from transship.workers.runtime.context import WorkerContext
from transship.workers.runtime.leases import PROGRESS_SECONDS, LeaseMonitor, LeaseRenewer

log = logging.getLogger(__name__)

TOGETHER = 100  # blobs a transaction
RECORD_SECONDS = 5.0  # how old a blob without a row may get; after an hour it could be an orphan
SPACE_BYTES = 64 * 1024 * 1024  # after so many the floor of free space is looked at again


class Receiver:
    """Takes up the jobs whose bodies come to this process; safe to use from many threads."""

    def __init__(self, context: WorkerContext, queue: JobService) -> None:
        """Receive into the store of *context*; jobs are made by *queue*."""
        self.id = uuid4().hex
        self._context = context
        self._queue = queue
        self._stopping = threading.Event()
        with context.catalog.read() as connection:
            self._lease_seconds = limits.lease_seconds(connection)

    def stop(self) -> None:
        """Let what is being received fail."""
        self._stopping.set()

    def begin(self, wanted: Submission) -> JobLease | str:
        """Make a job and hold it; see `JobService.take`.

        Raises:
            ConflictError: see there.
            DiskFullError: the store is short of space.
        """
        with self._context.catalog.read() as connection:
            if collection.short_of_space(connection):
                raise _short()
        return self._queue.take(wanted, self.id)

    def receive(
        self, lease: JobLease, open_body: Callable[[Check], Readable], *, total: int | None = None
    ) -> None:
        """Read the body to its end, and let the job go on; *total* is its length, if known.

        *open_body* is given what is to be called while nothing comes.

        Raises:
            TransshipError: it is not what the job needs, does not arrive whole, or there is no
                space for it. The job has failed with the same error, or was cancelled.
        """
        renewer = LeaseRenewer(
            self._context.catalog,
            worker=self.id,
            lease_seconds=self._lease_seconds,
            stopping=self._stopping,
        )
        renewer.start()
        try:
            with renewer.keep(lease) as monitor:
                monitor.unbounded()  # whoever sends may take their time; the body says for how long
                self._receive(lease, monitor, open_body(monitor.check), total)
        finally:
            renewer.stop()

    def _receive(
        self, lease: JobLease, monitor: LeaseMonitor, body: Readable, total: int | None
    ) -> None:
        try:
            found = receive_body(lease, self._context, monitor, body, total)
            with self._context.change() as change:
                lease.learn(**{RECEIVED: found})
                jobs.save(change.connection, lease)
                events.record(change.connection, lease.id, RECEIVED, change.now)
                jobs.release(change.connection, lease, now=change.now)
                change.jobs.add(lease.id)
        except LeaseLostError:
            raise
        except HandedBackError as stopped:
            error: TransshipError = IncompleteBodyError(
                "the server stopped before the body was whole", hint="send it again"
            )
            self._fail(lease, error)
            raise error from stopped
        except TransshipError as failed:
            if isinstance(failed, ContentError):
                failed.at(Side.REQUEST)
            self._fail(lease, failed)
            raise
        except Exception as fault:
            log.exception("the body of job %s could not be received", lease.id)
            error = InternalError(f"{type(fault).__name__}: {fault}", subject=lease.label)
            self._fail(lease, error)
            raise error from fault

    def _fail(self, lease: JobLease, error: TransshipError) -> None:
        """End the job."""
        cancelled = isinstance(error, CancelledError)
        try:
            with self._context.change() as change:
                state = "cancelled" if cancelled else "failed"
                end = jobs.End(lease, state, error=None if cancelled else error)
                jobs.finish(change.connection, [end], change.now)
                change.jobs.add(lease.id)
                change.events += task_events.ended([end], change.now)
            self._context.content.discard_drafts(lease.id)
        except (LeaseLostError, StoreError) as lost:  # whoever takes it up finds nothing received
            log.warning("job %s ends only when its lease has expired: %s", lease.id, lost)


def receive_body(
    lease: JobLease,
    context: WorkerContext,
    monitor: LeaseMonitor,
    body: Readable,
    total: int | None,
) -> dict[str, Any]:
    """Read what the job's kind takes; returns what its advance needs to know of it.

    Raises:
        ContentError: it is not that.
        DiskFullError: the store is short of space.
    """
    meter = Meter(lease, context, total)
    metered = Metered(body, meter)
    found = (
        _receive_archive(lease, context, monitor, metered)
        if lease.kind == "load"
        else receive_layer(lease, context, monitor, metered, subject="the body")
    )
    meter.finish()
    return found


def receive_layer(
    lease: JobLease,
    context: WorkerContext,
    monitor: LeaseMonitor,
    source: Readable,
    *,
    subject: str,
) -> dict[str, Any]:
    """Take a tar in as a layer; the blob is leased and on record. Returns what it is, as JSON.

    Raises:
        ContentError: it is none.
        DiskFullError: the store is short of space.
    """
    arrivals = Arrivals(lease, context)
    with context.content.draft(lease.id) as draft:
        watched = Watched(source, context, monitor)
        taken = take_in(watched, draft, subject=subject, check=monitor.check)
        digest, size = draft.commit(), draft.size
    arrivals.add(digest, size)
    arrivals.flush()
    return {
        "digest": str(digest),
        "size": size,
        "diff_id": str(taken.diff_id),
        "diff_size": taken.diff_size,
    }


def _receive_archive(
    lease: JobLease, context: WorkerContext, monitor: LeaseMonitor, body: Readable
) -> dict[str, Any]:
    arrivals = Arrivals(lease, context)
    members = receive_archive(
        Watched(body, context, monitor),
        _ArchiveSink(lease, context, arrivals),
        limits=ArchiveLimits(),
        check=monitor.check,
    )
    arrivals.flush()
    return members.to_json()


class Arrivals:
    """The blobs that came in for a job: they get their rows, leased, soon after they are there."""

    def __init__(self, lease: JobLease, context: WorkerContext) -> None:
        """Lease to the job that *lease* holds."""
        self._lease, self._context = lease, context
        self._sizes: dict[Digest, int] = {}
        self._due = time.monotonic() + RECORD_SECONDS

    def add(self, digest: Digest, size: int) -> None:
        """A blob has been committed."""
        self._sizes[digest] = size
        if len(self._sizes) >= TOGETHER:
            self.flush()

    def wait_for_more(self) -> None:
        """Another one is on its way; those that are there need not wait for it for long."""
        if self._sizes and time.monotonic() > self._due:
            self.flush()

    def flush(self) -> None:
        """Write down what was added.

        Raises:
            BlobMissingError: a collection took a blob away, and it is not in the trash either.
            LeaseLostError: the job is held by another.
        """
        found = sorted(self._sizes.items())
        self._sizes.clear()
        self._due = time.monotonic() + RECORD_SECONDS
        with self._context.catalog.write() as connection:
            jobs.save(connection, self._lease)
            blobs.lease(connection, self._lease.id, [str(digest) for digest, _ in found])
            for digest, size in found:
                blobs.add(connection, {str(digest): size}, self._context.now())
        ensure_present(self._context.content, (digest for digest, _ in found))


class _ArchiveSink:
    """See `transship.store.archives.receive.BlobSink`."""

    def __init__(self, lease: JobLease, context: WorkerContext, arrivals: Arrivals) -> None:
        self._lease, self._context, self._arrivals = lease, context, arrivals

    def receive(self, pieces: Iterator[bytes], *, size: int, expected: Digest | None) -> Digest:
        if expected is not None and expected.algorithm != "sha256":
            digest = self._receive_named(pieces, size, expected)
        else:
            with self._context.content.draft(self._lease.id) as draft:
                for piece in pieces:
                    draft.write(piece)
                    self._arrivals.wait_for_more()
                digest = draft.digest
                if expected not in (None, digest):
                    raise DigestMismatchError(expected=str(expected), actual=str(digest))
                draft.commit()
        self._arrivals.add(digest, size)
        return digest

    def _receive_named(self, pieces: Iterator[bytes], size: int, expected: Digest) -> Digest:
        """Drafts are for sha256; this goes the way of downloads, whose fences are lower."""
        with self._context.catalog.write() as connection:
            blobs.lease(connection, self._lease.id, [str(expected)])
        with self._context.content.ingest(
            expected, fence=time.time_ns(), origin=f"received by {self._lease.id}"
        ) as ingest:
            try:
                ingest.rewind()
                for piece in pieces:
                    ingest.write(piece)
                ingest.commit(size=size, guard=lambda: None)
            except BaseException:
                ingest.discard()
                raise
        return expected


class Meter:
    """Counts what a job has worked through into its figures, about twice a second.

    Safe to use from several threads.
    """

    def __init__(self, lease: JobLease, context: WorkerContext, total: int | None) -> None:
        """Count for the job that *lease* holds; *total* is how much there is, if that is known."""
        self._lease, self._context, self._total = lease, context, total or 0
        self._done = 0
        self._due = time.monotonic() + PROGRESS_SECONDS
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        """So many bytes more are done."""
        with self._lock:
            self._done += count
            if time.monotonic() > self._due:
                self._write(max(self._total, self._done))

    def finish(self) -> None:
        """All of it is done."""
        with self._lock:
            self._write(self._done)

    def _write(self, total: int) -> None:
        self._due = time.monotonic() + PROGRESS_SECONDS
        with self._context.catalog.write() as connection:
            jobs.save(connection, self._lease, bytes_total=total, bytes_moved=self._done)


class Metered:
    """Passes a source on, and counts it."""

    def __init__(self, source: Readable, meter: Meter) -> None:
        """Count what is read of *source* by *meter*."""
        self._source, self._meter = source, meter

    def read(self, size: int, /) -> bytes:
        """At most *size* bytes."""
        data = self._source.read(size)
        self._meter.add(len(data))
        return data


class Watched:
    """Passes a source on while the job may go on, and the store has space."""

    def __init__(self, source: Readable, context: WorkerContext, monitor: LeaseMonitor) -> None:
        """Watch over the lease *held*, and the store of *context*."""
        self._source, self._context, self._held = source, context, monitor
        self._left = 0

    def read(self, size: int, /) -> bytes:
        """At most *size* bytes.

        Raises:
            DiskFullError: the store is below its floor of free space.
            Interruption, DeadlineExceededError: see `LeaseMonitor.check`.
        """
        self._held.check()
        if self._left <= 0:
            if self._context.content.free_bytes() < self._context.maintenance_policy.min_free_bytes:
                raise _short()
            self._left = SPACE_BYTES
        data = self._source.read(size)
        self._left -= len(data)
        return data


def _short() -> DiskFullError:
    return DiskFullError(
        "the store is short of space", hint="see `transship df`, or run `transship gc`"
    )
