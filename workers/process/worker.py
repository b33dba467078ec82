"""A worker: the threads beside the task bodies, and the row that says it is there.

One process holds one. The task bodies come from Celery's thread pool or from `LocalWire`'s; the
worker does not know which.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from uuid import uuid4

from transship.store.catalog.scheduling import heartbeats, jobs, transfers
from transship.store.catalog.scheduling.admission import limits
from transship.store.catalog.scheduling.heartbeats import Threads
from transship.store.catalog.scheduling.transfers import TransferLease
from transship.store.errors import LeaseLostError, StoreError
from transship.workers.process.batch import run_batch
from transship.workers.process.maintenance import Maintenance
from transship.workers.process.scheduler import Scheduler
from transship.workers.runtime.context import WorkerContext
from transship.workers.runtime.leases import LeaseMonitor, LeaseRenewer
from transship.workers.runtime.wire import Message, Queue
from transship.workers.transfers.bundle import run_bundle

log = logging.getLogger(__name__)

HAND_BACK_SECONDS = 6.0  # of the ten that stopping may take; most look up within one
RETIRE_SECONDS = 1.5

# Threads are cheap until they work; limits decide how many do. 16 is the most concurrent blob
# bodies that one process can carry, whatever the limit says.
# Local work, hashing and compressing, gets as many as there are processors to do it.
THREADS = {
    Queue.CONTROL: 8,
    Queue.DOWNLOADS: 16,
    Queue.UPLOADS: 16,
    Queue.LOCAL: max(2, os.cpu_count() or 1),
}


def threads_for(queues: set[Queue]) -> Threads:
    """How many threads a worker of these queues has for each."""
    return Threads(
        control=THREADS[Queue.CONTROL] * (Queue.CONTROL in queues),
        downloads=THREADS[Queue.DOWNLOADS] * (Queue.DOWNLOADS in queues),
        uploads=THREADS[Queue.UPLOADS] * (Queue.UPLOADS in queues),
        local=THREADS[Queue.LOCAL] * (Queue.LOCAL in queues),
    )


class Worker:
    """The worker of this process. Whoever makes it starts and stops it."""

    def __init__(
        self, context: WorkerContext, threads: Threads, connected: Callable[[], bool] = lambda: True
    ) -> None:
        """Prepare a worker; nothing runs before `start`.

        While it is not *connected* nothing can reach it, and admission does not count it.
        """
        self.id = uuid4().hex
        self._context = context
        self._threads = threads
        self._connected = connected
        self._leaving = False
        self._stopping = threading.Event()
        self._started = False
        with context.catalog.read() as connection:
            lease_seconds = limits.lease_seconds(connection)
        self._renewer = LeaseRenewer(
            context.catalog,
            worker=self.id,
            lease_seconds=lease_seconds,
            stopping=self._stopping,
            threads=self._usable,
        )
        self._maintenance = Maintenance(context, self.id, lease_seconds)
        self._scheduler = Scheduler(context, self._renewer, self._maintenance, lease_seconds)
        self._renewer.on_forgotten = self._register
        self._renewer.on_offered = self._scheduler.wake

    def start(self) -> None:
        """Become visible to admission, beat and schedule."""
        self._started = True
        self._register()
        self._renewer.start()
        self._scheduler.once()
        self._scheduler.start()

    def run(self, message: Message) -> None:
        """The body of every task: take up the row that the message names, if nobody has."""
        if self._stopping.is_set():
            return
        self._scheduler.wake()
        direction = message.queue.direction
        if direction is None:
            run_batch(message.id, self.id, self._context, self._renewer)
        else:
            run_bundle(direction, int(message.id), self.id, self._context, self._renewer)
        self._scheduler.wake()

    def leave(self, seconds: float) -> bool:
        """Count for nothing any more, take nothing up, and hold nothing in *seconds* at most.

        What runs is handed back at its next check. What a thread does not hand back in time, for
        it is stuck, is taken from it: the row is free, and whatever that thread still writes is
        refused. False: there are such threads, and nobody should wait for them.
        """
        self._leaving = True
        self._maintenance.resign()
        # In this order, or what is handed back would be admitted for this worker again; but a
        # database that is slow must not hold it up.
        late = threading.Timer(RETIRE_SECONDS, self._stopping.set)
        late.daemon = True
        late.start()
        try:
            with self._context.catalog.write() as connection:
                heartbeats.retire(connection, self.id)
        except StoreError as error:
            log.warning("until its end this worker is counted as if it were there: %s", error)
        finally:
            late.cancel()
            self._stopping.set()
        stuck = self._renewer.wait_idle(seconds)
        for held in stuck:
            log.warning("%s does not stop, it is handed back without it", held.lease.id)
            try:
                self._take_from(held)
            except LeaseLostError:
                continue  # it has ended at the last moment
            except StoreError as error:
                log.warning("it is free only when its lease expires: %s", error)
        return not stuck

    def _take_from(self, monitor: LeaseMonitor) -> None:
        lease = monitor.lease
        with self._context.change() as change:
            if isinstance(lease, TransferLease):
                transfers.hand_back(change.connection, lease)
            else:
                jobs.release(change.connection, lease, now=change.now, again_in=0)
        monitor.lose()

    def stop(self) -> None:
        """Be gone, after `leave` and after the task bodies have ended."""
        self._stopping.set()
        if self._started:
            self._scheduler.stop()
            self._renewer.stop()
        with self._context.catalog.write() as connection:
            heartbeats.unregister(connection, self.id)

    def _register(self) -> None:
        if self._stopping.is_set():  # and was declared dead: there is nothing left to be seen for
            return
        with self._context.catalog.write() as connection:
            heartbeats.register(
                connection,
                self.id,
                pid=os.getpid(),
                threads=self._usable() or Threads(),
                now=self._context.now(),
            )

    def _usable(self) -> Threads | None:
        """The threads that work can reach now; None: what the row says is not to change."""
        if self._leaving:
            return None
        return self._threads if self._connected() else Threads()
