"""Keeps what this process holds: one side thread beats for all of it.

While nothing is held, only the worker's own row is to show that it lives, and seldom.

The owner works; the thread renews its leases in SQL, writes how far transfers are, and brings
back requests to stop. The owner asks `check` between steps. An owner that is stuck beyond the
bound of its phase is not beaten for, so that somebody else gets its work; one whose leases cannot
be renewed for three quarters of their time stops by itself, before anybody else starts.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.scheduling import heartbeats, transfers
from transship.store.catalog.scheduling.admission import silence
from transship.store.catalog.scheduling.admission.silence import Silent
from transship.store.catalog.scheduling.heartbeats import Threads
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.catalog.scheduling.transfers import TransferLease
from transship.store.errors import (
    CancelledError,
    DeadlineExceededError,
    HandedBackError,
    LeaseLostError,
    RepeatedCrashError,
    TransshipError,
)

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 0.5  # how old the figures on a screen may be, and how late a stop arrives
PAUSE_IN_BODY_SECONDS = 3.0  # between two pieces of a blob, beyond what an answer may take
CLOSING_BYTES_PER_SECOND = 4 * 1024 * 1024  # as slow as a registry may hash what it was sent
SURE_PART = 0.75  # of a lease: whoever could not renew for so long stops by itself
SHOW_PART = 1 / 3  # of a lease: so often at least a worker's row beats while nothing is held
CONTROL_BOUND_SECONDS = 150.0  # one answer of 60 s, its retry with a new token, and some


class LeaseMonitor:
    """One lease that this process holds, as its owner sees it."""

    def __init__(
        self,
        lease: JobLease | TransferLease,
        stopping: threading.Event,
        renewed_since: Callable[[float], bool] = lambda _: True,
    ) -> None:
        """Wrap *lease*.

        *stopping* is set when the worker is to hand back what it has; *renewed_since* says whether
        leases that were taken up at a time of the monotonic clock are sure to be ours still.
        """
        self.lease = lease
        self._stopping = stopping
        self._renewed_since = renewed_since
        self._taken_at = time.monotonic()
        self._lost = False
        self._stop_reason: str | None = None
        self._touched = time.monotonic()
        self._bound: float | None = CONTROL_BOUND_SECONDS
        self._reported = False
        self._wanted_by_others = False
        self._hearing = threading.Lock()
        self._asked = ""
        self._unanswered = 0
        self._heard_at = time.monotonic()
        self._answers = 0
        self.on_check: Callable[[], None] = lambda: None  # of each check that has passed

    def check(self) -> None:
        """Return if the work may go on.

        Raises:
            LeaseLostError: somebody else may have it. Nothing more may be written.
            CancelledError, DeadlineExceededError, RepeatedCrashError: a stop was requested.
            HandedBackError: this worker is stopping.
        """
        self._touched = time.monotonic()
        # Asked here too: the thread that renews may hang in the database itself.
        if self._lost or not self._renewed_since(self._taken_at):
            raise LeaseLostError("the lease could not be renewed in time")
        if self._stop_reason is not None:
            raise stop_exception(self._stop_reason)
        if self._stopping.is_set():
            raise HandedBackError("the worker is stopping")
        if self._wanted_by_others:
            raise HandedBackError("its registry says nothing, and others have a use for its place")
        self.on_check()

    def unbounded(self) -> None:
        """What follows, hashing or syncing, takes as long as it takes; until the next check."""
        self.bound(None)

    def bound(self, seconds: float | None) -> None:
        """Each step from here on must reach `check` within *seconds*."""
        self._bound = seconds
        self._touched = time.monotonic()

    def lose(self) -> None:
        """The lease is gone; the next check says so."""
        self._lost = True

    def lose_unless_renewed(self) -> None:
        """The lease is gone if it could not be renewed for too long, of the time it was held."""
        if not self._renewed_since(self._taken_at):
            self._lost = True

    def request_stop(self, reason: str | None) -> None:
        """Note the reason of a requested stop; None takes it back."""
        self._stop_reason = reason

    # --- what it hears of registries: a `Listener` of the transport ---

    def asks(self, registry: str) -> None:
        """A request is on its way."""
        with self._hearing:
            if not self._unanswered:
                self._heard_at = time.monotonic()
            self._unanswered += 1
            self._asked = registry

    def hears(self) -> None:
        """Bytes have come, or were taken."""
        self._heard_at = time.monotonic()

    def ends(self, *, answered: bool) -> None:
        """There is an answer, or there will be none."""
        with self._hearing:
            self._unanswered -= 1
            self._answers += answered
            self._heard_at = time.monotonic()

    @property
    def has_heard(self) -> bool:
        """Whether there was an answer."""
        return self._answers > 0

    def silent(self, now: float) -> Silent | None:
        """Which registry has said nothing, and for how long; None where that is not for long."""
        seconds = now - self._heard_at
        lease = self.lease
        if self._bound is None:  # it is busy with the disk
            return None
        if isinstance(lease, TransferLease):
            if not self._unanswered:
                seconds -= PAUSE_IN_BODY_SECONDS
            elif lease.direction == "upload" and lease.done >= lease.size:
                # The registry has it all, and may have to hash and to move it before it answers.
                seconds -= lease.size / CLOSING_BYTES_PER_SECOND
            queue, registry = lease.direction, lease.registry
        else:
            names = [name for name, _ in lease.asks]
            if not self._unanswered or not names:
                return None
            queue, registry = lease.queue, self._asked if self._asked in names else names[0]
        if seconds < silence.PATIENCE_SECONDS:
            return None
        return Silent(lease.id, queue, registry, seconds)

    def make_way(self) -> None:
        """Others have a use for its slot or its thread; the next check says so."""
        self._wanted_by_others = True

    def stuck(self, now: float) -> bool:
        """Whether the owner has passed the bound of its phase."""
        return self._bound is not None and now - self._touched > self._bound

    def report_stuck(self) -> None:
        """Log, once, that the owner is stuck."""
        if not self._reported:
            self._reported = True
            log.warning("%s is stuck, its lease is not renewed", self.lease.id)


class LeaseRenewer:
    """The beating thread of a process."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        worker: str,
        lease_seconds: float,
        stopping: threading.Event,
        threads: Callable[[], Threads | None] = lambda: None,
    ) -> None:
        """Keep the leases of *worker*, each lasting *lease_seconds*.

        *threads* are those that the worker can use now, as its row is to say; None: as it says.
        """
        self._catalog = catalog
        self._worker = worker
        self._lease_seconds = lease_seconds
        self._stopping = stopping
        self._threads = threads
        self._offered: Threads | None = None
        self._held: set[LeaseMonitor] = set()
        self._lock = threading.Lock()
        self._let_go = threading.Condition(self._lock)
        self._end = threading.Event()
        self._renewed = time.monotonic()
        self._shown = self._renewed  # when the worker's own row beat last
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)
        # Called when the worker's own row is gone, and when it has got other threads.
        self.on_forgotten: Callable[[], None] = lambda: None
        self.on_offered: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Start beating."""
        self._thread.start()

    def stop(self) -> None:
        """Stop beating; what is still held will expire."""
        self._end.set()
        self._thread.join()

    @contextmanager
    def keep(self, lease: JobLease | TransferLease) -> Iterator[LeaseMonitor]:
        """Beat for *lease* while the block runs."""
        monitor = LeaseMonitor(lease, self._stopping, self._renewed_since)
        with self._lock:
            self._held.add(monitor)
        try:
            yield monitor
        finally:
            with self._lock:
                self._held.discard(monitor)
                self._let_go.notify_all()

    @contextmanager
    def beating(self) -> Iterator[Connection]:
        """A write transaction that is a heartbeat of the worker's row, too."""
        with self._catalog.write() as connection:
            shown = self._show(connection)
            yield connection
        self._has_shown(*shown)

    def wait_idle(self, seconds: float) -> list[LeaseMonitor]:
        """Wait until nothing is held, at most *seconds*; returns what still is."""
        with self._lock:
            self._let_go.wait_for(lambda: not self._held, seconds)
            return list(self._held)

    def _renewed_since(self, taken_at: float) -> bool:
        last = max(self._renewed, taken_at)
        return time.monotonic() - last <= SURE_PART * self._lease_seconds

    def _run(self) -> None:
        interval = min(PROGRESS_SECONDS, self._lease_seconds / 4)
        while not self._end.wait(interval):
            with self._lock:
                held = list(self._held)
            began = time.monotonic()
            if not held and not self._is_to_show(began):
                continue
            try:
                self._beat(held, began)
                self._renewed = began
            except TransshipError as error:
                log.warning("leases cannot be renewed: %s", error)
            except Exception:
                log.exception("leases cannot be renewed")
            for one in held:
                one.lose_unless_renewed()

    def _beat(self, held: list[LeaseMonitor], now: float) -> None:
        with self._catalog.write() as connection:
            moving: list[tuple[LeaseMonitor, TransferLease]] = []
            advancing: list[tuple[LeaseMonitor, JobLease]] = []
            for one in held:
                if one.stuck(now):
                    one.report_stuck()
                elif isinstance(one.lease, TransferLease):
                    moving.append((one, one.lease))
                else:
                    advancing.append((one, one.lease))
            if advancing:
                self._beat_jobs(connection, advancing)
            if moving:
                self._beat_transfers(connection, moving)
            silent = [(one, found) for one in held if (found := one.silent(now)) is not None]
            if silent:
                waiting = [found for _, found in silent]
                wanted = silence.yielding(connection, waiting, self._catalog.now())
                for one, found in silent:
                    if found.id in wanted:
                        one.make_way()
            shown = self._show(connection)
        self._has_shown(*shown)

    def _beat_jobs(
        self, connection: Connection, advancing: list[tuple[LeaseMonitor, JobLease]]
    ) -> None:
        leases = [lease for _, lease in advancing]
        reasons = heartbeats.beat_jobs(connection, leases)
        for monitor, lease in advancing:
            if lease.id in reasons:
                monitor.request_stop(reasons[lease.id])
            else:
                monitor.lose()

    def _beat_transfers(
        self, connection: Connection, moving: list[tuple[LeaseMonitor, TransferLease]]
    ) -> None:
        claims = [lease for _, lease in moving]
        stops = heartbeats.beat_transfers(connection, claims)
        for monitor, lease in moving:
            if lease.id not in stops:
                monitor.lose()
                continue
            monitor.request_stop("cancelled" if stops[lease.id] else None)
            if monitor.has_heard:
                transfers.heard(connection, lease)

    def _is_to_show(self, now: float) -> bool:
        """Whether the worker's row is to beat, or to be changed, although nothing is held."""
        threads = self._threads()
        changed = threads is not None and threads != self._offered
        return changed or now - self._shown >= SHOW_PART * self._lease_seconds

    def _show(self, connection: Connection) -> tuple[bool, Threads | None]:
        """Beat for the worker's row; whether it is there, and the threads that it offers."""
        known = heartbeats.beat_worker(connection, self._worker)
        threads = self._threads()
        if known and threads is not None and threads != self._offered:
            heartbeats.offer(connection, self._worker, threads)
        return known, threads

    def _has_shown(self, known: bool, threads: Threads | None) -> None:
        self._shown = time.monotonic()
        before, self._offered = self._offered, threads if known else None
        if not known:
            self.on_forgotten()
        elif threads != before:
            self.on_offered()


def stop_exception(reason: str) -> TransshipError:
    """The error that ends work for which a stop was requested."""
    if reason == "deadline-exceeded":
        return DeadlineExceededError(
            "the job's deadline passed before it was done", hint="give it more time with --deadline"
        )
    if reason == "repeated-death":
        return RepeatedCrashError(
            f"{heartbeats.MAX_CRASHES} workers died over it without getting further"
        )
    return CancelledError("a stop was requested")
