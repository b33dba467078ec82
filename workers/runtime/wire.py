"""The port through which work is announced: `publish`, and nothing else is promised.

A message only carries an id. It may be lost, come twice or come late; SQL says what there is to do,
and the scheduler sends again. There are two implementations: Celery
(`workers.broker.celery_wire`), and thread pools of this process, for machines without Redis and for
commands that bring their own engine.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from transship.store.catalog.scheduling.heartbeats import Threads

log = logging.getLogger(__name__)

DISPATCH = "transship.dispatch"  # the task of a message for a batch of jobs


class Queue(StrEnum):
    """The queues, by the names they have in Redis."""

    CONTROL = "transship.control"
    DOWNLOADS = "transship.downloads"
    UPLOADS = "transship.uploads"
    LOCAL = "transship.local"

    @classmethod
    def of(cls, name: str) -> Queue:
        """The queue of a job's row, or of a direction of transfers."""
        return _BY_NAME[name]

    @property
    def direction(self) -> str | None:
        """The direction of the transfers that it carries; None where it carries jobs."""
        return _DIRECTIONS.get(self)


_BY_NAME = {
    "control": Queue.CONTROL,
    "local": Queue.LOCAL,
    "download": Queue.DOWNLOADS,
    "upload": Queue.UPLOADS,
}
_DIRECTIONS = {Queue.DOWNLOADS: "download", Queue.UPLOADS: "upload"}


@dataclass(frozen=True, slots=True)
class Message:
    """Names one row: *task* says what it is, *label* how it reads in Flower."""

    queue: Queue
    task: str
    id: str
    label: str


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """What has become of a job, as Celery tells monitors of a task.

    *type* is one of Celery's, *at* seconds since the epoch by this host's clock, *fields* what an
    event of this type says besides. *seconds* is how long an ended job took, where it was held.
    """

    type: str
    job: str
    kind: str
    label: str
    at: float
    fields: Mapping[str, Any]
    seconds: float | None = None


class Wire(Protocol):
    """Publishes messages, and tells waiting clients and monitors that a job changed."""

    @property
    def broker(self) -> str | None:
        """The broker's address without a password; None where there is no broker."""

    def publish(self, messages: Iterable[Message]) -> None:
        """Send. Never raises and never waits for the broker: the scheduler sends again."""

    def announce(self, jobs: Iterable[str]) -> None:
        """Wake whoever waits for news of *jobs*, in any process. Best effort."""

    def report(self, events: Iterable[TaskEvent]) -> None:
        """Tell Celery's monitors, Flower say. Best effort: never raises and never waits."""

    def listen(self, on_job: Callable[[str], None]) -> Callable[[], None]:
        """Call *on_job* with each announced job, from another thread.

        Calling the returned function ends that.
        """

    def reachable(self) -> bool:
        """Whether what is published arrives, as far as this process knows."""


class LocalWire:
    """Runs the same task bodies on thread pools of this process."""

    def __init__(self, threads: Threads) -> None:
        """Make the pools; nothing runs before `attach`."""
        self._pools = {
            Queue.CONTROL: ThreadPoolExecutor(threads.control, "control"),
            Queue.DOWNLOADS: ThreadPoolExecutor(threads.downloads, "downloads"),
            Queue.UPLOADS: ThreadPoolExecutor(threads.uploads, "uploads"),
            Queue.LOCAL: ThreadPoolExecutor(threads.local, "local"),
        }
        self._run: Callable[[Message], None] | None = None
        self._listeners: list[Callable[[str], None]] = []
        self._lock = threading.Lock()

    def attach(self, run: Callable[[Message], None]) -> None:
        """Run each message with *run* from now on."""
        self._run = run

    def publish(self, messages: Iterable[Message]) -> None:
        """Hand the messages to the pools."""
        for message in messages:
            try:
                self._pools[message.queue].submit(self._guarded, message)
            except RuntimeError:  # shutting down: whoever starts next finds the row
                return

    def announce(self, jobs: Iterable[str]) -> None:
        """Call the listeners."""
        with self._lock:
            listeners = list(self._listeners)
        for job in jobs:
            for listener in listeners:
                listener(job)

    def report(self, events: Iterable[TaskEvent]) -> None:
        """Do nothing: there is no Celery that anybody could monitor."""

    def listen(self, on_job: Callable[[str], None]) -> Callable[[], None]:
        """Add a listener."""
        with self._lock:
            self._listeners.append(on_job)

        def close() -> None:
            with self._lock:
                self._listeners.remove(on_job)

        return close

    @property
    def broker(self) -> str | None:
        """There is none."""
        return None

    def reachable(self) -> bool:
        """It is this process."""
        return True

    def close(self) -> None:
        """Wait for what runs, drop what has not begun."""
        for pool in self._pools.values():
            pool.shutdown(cancel_futures=True)

    def _guarded(self, message: Message) -> None:
        if self._run is None:
            return
        try:
            self._run(message)
        except Exception:  # the row's lease expires, and the work is taken up again
            log.exception("%s %s failed", message.task, message.label)
