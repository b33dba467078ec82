"""A worker: the threads beside the task bodies, and the row that says it is there.

One process holds one. The task bodies come from Celery's thread pool or from `LocalWire`'s; the
worker does not know which.
"""

from __future__ import annotations

import logging
import os
import threading
from uuid import uuid4

from store.catalog import heartbeats, limits
from store.catalog.heartbeats import Threads
from workers.leases import Keeper
from workers.run import run_job
from workers.transfers.attempt import attempt
from workers.transfers.tick import Tick
from workers.wire import Message, Queue
from workers.world import World

log = logging.getLogger(__name__)

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

    def __init__(self, world: World, threads: Threads) -> None:
        """Prepare a worker; nothing runs before `start`."""
        self.id = uuid4().hex
        self._world = world
        self._threads = threads
        self._stopping = threading.Event()
        with world.catalog.read() as connection:
            lease_seconds = limits.lease_seconds(connection)
        self._keeper = Keeper(
            world.catalog,
            worker=self.id,
            lease_seconds=lease_seconds,
            stopping=self._stopping,
        )
        self._keeper.on_forgotten = self._register
        self._tick = Tick(world, lease_seconds)

    def start(self) -> None:
        """Become visible to admission, beat and tick."""
        self._register()
        self._keeper.start()
        self._tick.start()
        self._tick.once()

    def run(self, message: Message) -> None:
        """The body of every task: take up what the message rings for, if it is there to take."""
        if self._stopping.is_set():
            return
        if message.queue in (Queue.CONTROL, Queue.LOCAL):
            run_job(message.id, self.id, self._world, self._keeper)
        else:
            attempt(int(message.id), self.id, self._world, self._keeper)

    def hand_back(self) -> None:
        """Take nothing up any more, and let what runs be handed back at its next check."""
        self._stopping.set()

    def stop(self) -> None:
        """Leave, after `hand_back` and after the task bodies have ended."""
        self._stopping.set()
        self._tick.stop()
        self._keeper.stop()
        with self._world.catalog.write() as connection:
            heartbeats.unregister(connection, self.id)

    def _register(self) -> None:
        with self._world.catalog.write() as connection:
            heartbeats.register(
                connection,
                self.id,
                pid=os.getpid(),
                threads=self._threads,
                now=self._world.now(),
            )
