"""The scheduler: a thread of every worker, harmless to run many times at once.

It finds what no message came for: messages that were lost, delays that are over, slots that are
free. It reads first and writes only where there is something to do. A cluster in which nothing is
under way is looked at less often, and such a look is also the heartbeat of its worker, so that an
idle worker makes one transaction in a quarter of a lease.
"""

from __future__ import annotations

import logging
import threading
from contextlib import AbstractContextManager

from sqlalchemy import Connection

from transship.store.catalog.scheduling import jobs
from transship.store.catalog.scheduling.admission import admission, outlook
from transship.store.errors import TransshipError
from transship.workers.process.maintenance import Maintenance
from transship.workers.runtime.context import WorkerContext, bundle_message, dispatch
from transship.workers.runtime.leases import LeaseRenewer

log = logging.getLogger(__name__)

SECONDS = 1.0  # between two looks while anything is under way
IDLE_SECONDS = 5.0  # and while nothing is, at most: as long as a lost message is waited for
PROMOTIONS = 200  # jobs a look; more would hold the write lock too long


class Scheduler:
    """The scheduling thread of a process, which does the maintenance too where that is its own."""

    def __init__(
        self,
        context: WorkerContext,
        renewer: LeaseRenewer,
        maintenance: Maintenance,
        lease_seconds: float,
    ) -> None:
        """Schedule in *context*; idle looks are heartbeats of *renewer*'s worker."""
        self._context = context
        self._renewer = renewer
        self._maintenance = maintenance
        self._busy_seconds = min(SECONDS, lease_seconds / 4)
        self._idle_seconds = min(IDLE_SECONDS, lease_seconds / 4)
        self._pause = 0.0  # until the next look
        self._end = threading.Event()
        self._news = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)

    def start(self) -> None:
        """Start to look, again and again."""
        self._thread.start()

    def stop(self) -> None:
        """Stop, after the look under way."""
        self._end.set()
        self._news.set()
        self._thread.join()

    def wake(self) -> None:
        """Something happened here: look soon, also if nothing was under way."""
        self._news.set()

    def once(self) -> None:
        """Look, and do what is due now."""
        context = self._context
        context.opened.forget_ended()
        self._maintenance.see_space()
        with self._looking() as connection:
            now = context.now()
            seen = outlook.look(connection, now)
            self._maintenance.look(connection, seen, now)
        self._maintenance.do()
        if seen.to_dispatch:
            self._dispatch()
        self._pause = self._until_next(seen, now)

    def _looking(self) -> AbstractContextManager[Connection]:
        """A transaction to look in: one that writes where something is to be written anyway."""
        if self._maintenance.is_ours or self._pause > self._busy_seconds:
            return self._renewer.beating()
        return self._context.catalog.read()

    def _until_next(self, seen: outlook.Outlook, now: float) -> float:
        pause = self._busy_seconds
        if not (seen.busy or seen.to_dispatch):
            pause = self._idle_seconds
            if seen.next_at is not None:
                pause = min(pause, seen.next_at - now)
            pause = max(pause, self._busy_seconds)
        return min(pause, self._maintenance.until_next())

    def _dispatch(self) -> None:
        with self._context.catalog.write() as connection:
            now = self._context.now()
            admission.promote(connection, now)
            jobs.promote(connection, now, limit=PROMOTIONS)
            messages = [bundle_message(one) for one in admission.unstarted(connection, now)]
            messages += dispatch(connection, now)
        self._context.wire.publish(messages)

    def _run(self) -> None:
        while not self._end.wait(min(self._pause, self._busy_seconds)):
            if self._pause > self._busy_seconds:
                self._news.wait(self._pause - self._busy_seconds)
            self._news.clear()
            if self._end.is_set():
                return
            try:
                self.once()
            except TransshipError as error:
                self._pause = self._busy_seconds
                log.warning("scheduler pass failed; retrying: %s", error)
            except Exception:
                self._pause = self._busy_seconds
                log.exception("scheduler pass failed; retrying")
