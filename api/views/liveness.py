"""Which workers live, as the API has seen their rows beat."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, select

from transship.store.catalog.db.schema import workers
from transship.store.catalog.scheduling.admission import limits
from transship.store.catalog.scheduling.heartbeats import Key, Observer, Pulse, Threads


class Liveness:
    """Counts the threads of workers that beat. Safe to use from many threads.

    Workers reap each other; where all of them have died at once nobody is left to do it. So this
    believes no row that has stood still for a lease, on this process's own clock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing has been seen yet: every row is believed."""
        self._clock = clock
        self._observer = Observer(lease_seconds=0)
        self._lock = threading.Lock()

    def workers(self, connection: Connection) -> list[Row[Any]]:
        """The rows of the workers that take up work; none of those that are leaving."""
        rows = connection.execute(select(workers)).all()
        with self._lock:
            self._observer.lease_seconds = limits.lease_seconds(connection)
            pulses: dict[Key, Pulse] = {("worker", row.id): (0, row.beat) for row in rows}
            dead = {key for key, _ in self._observer.silent(pulses, self._clock())}
        return [
            row for row in rows if ("worker", row.id) not in dead and threads_of(row) != Threads()
        ]

    def still_for(self, worker: str) -> float:
        """For how many seconds the heartbeat of a worker has been seen to stand still."""
        with self._lock:
            return self._observer.still_for(("worker", worker), self._clock())

    def alive(self, connection: Connection) -> list[Threads]:
        """The threads of each worker that takes up work; none of those that are leaving."""
        return [threads_of(row) for row in self.workers(connection)]

    def threads(self, connection: Connection) -> Threads:
        """The threads that serve each queue now."""
        return in_all(self.alive(connection))


def threads_of(row: Row[Any]) -> Threads:
    """The threads of a worker's row."""
    return Threads(
        control=row.control, downloads=row.downloads, uploads=row.uploads, local=row.local
    )


def in_all(alive: Iterable[Threads]) -> Threads:
    """The threads of several workers together."""
    each = list(alive)
    return Threads(
        control=sum(one.control for one in each),
        downloads=sum(one.downloads for one in each),
        uploads=sum(one.uploads for one in each),
        local=sum(one.local for one in each),
    )


def degraded(threads: Threads, *, reachable: bool) -> dict[str, bool]:
    """What keeps accepted jobs from moving: the broker, and each queue that has no *threads*.

    *reachable* is what the broker's wire says, which may take its time: no transaction is to be
    open while it is asked.
    """
    queues = {queue: count == 0 for queue, count in asdict(threads).items()}
    return {"broker": not reachable, **queues}
