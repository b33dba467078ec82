"""Maintenance: what one worker does for the whole cluster, by a lease row.

It reaps the dead, forgets what is old, starts mirrors and collections that are due, stops what has
passed its deadline, and tells those who wait for transfers that have ended. Every transaction of it
renews the lease first, and fails where another worker has it. Whoever sees the lease stand still
for half of its time takes it, so that with the looks in between less than a lease passes from the
last run of one to the first of the next. All workers watch heartbeats: one that takes over need not
wait a lease to know who is silent.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from transship.store.catalog.content import collection
from transship.store.catalog.scheduling import (
    exports,
    heartbeats,
    jobs,
    maintenance,
    mirrors,
    retention,
    waits,
)
from transship.store.catalog.scheduling.admission import parking
from transship.store.catalog.scheduling.admission.outlook import Outlook
from transship.store.catalog.scheduling.heartbeats import Key, Observer, Pulse
from transship.store.catalog.scheduling.maintenance import Ownership
from transship.store.errors import LeaseLostError
from transship.workers.jobs import schedule
from transship.workers.jobs.stopping import stop_late
from transship.workers.runtime import task_events
from transship.workers.runtime.context import MAX_ANNOUNCED, Change, WorkerContext
from transship.workers.runtime.maintenance_policy import start_collection

log = logging.getLogger(__name__)

STOPPING_SECONDS = 0.5  # of a run; what is left then follows with the next one
SHORTEST_SECONDS = 1.0  # between two runs that have too much to forget for one
RETENTION_SECONDS = 15.0  # what is old enough to go can wait a little longer


class Maintenance:
    """The maintenance as one worker does it, or watches another do it. One thread uses it.

    Attributes:
        upkeep_due: When retention and collections are looked at next, by the monotonic clock.
    """

    def __init__(self, context: WorkerContext, worker: str, lease_seconds: float) -> None:
        """Watch for *worker*; owners silent for *lease_seconds* are dead."""
        self.upkeep_due = 0.0
        self._context = context
        self._worker = worker
        self._observer = Observer(lease_seconds)
        self._patience = lease_seconds / 2
        self._fence: int | None = None  # of our lease
        self._seen: Ownership | None = None
        self._since = 0.0  # when the row was first seen as it is
        self._resigned = False
        self._short = False
        self._dead: list[tuple[Key, Pulse]] = []
        self._to_do = False

    @property
    def is_ours(self) -> bool:
        """Whether this worker has the lease, as far as it knows."""
        return self._fence is not None

    def resign(self) -> None:
        """Never take the lease from now on. Whoever retires the worker gives it up."""
        self._resigned = True

    def see_space(self) -> None:
        """Look how much room the store has: outside of any transaction, for that may hang."""
        if self.is_ours:
            self._short = self._is_short()

    def look(self, connection: Connection, seen: Outlook, now: float) -> None:
        """Renew the lease where it is ours; note who is silent, and whether there is work."""
        if self._fence is not None and not maintenance.renew(connection, self._worker, self._fence):
            self._lose()
        self._dead = self._observer.silent(heartbeats.pulses(connection), time.monotonic())
        if self._fence is None:
            self._watch(maintenance.standing(connection))
            return
        self._to_do = (
            bool(self._dead)
            or seen.overdue
            or seen.telling
            or seen.short_of_space != self._short
            or time.monotonic() >= self.upkeep_due
            or bool(mirrors.due_now(connection, now))
            or bool(parking.movable(connection, now))
        )

    def do(self) -> None:
        """Take the lease where its owner is gone; do what there is to do where it is ours."""
        try:
            if self._may_take() and self._take():
                self._short = self._is_short()
                self._run()
            elif self._fence is not None and self._to_do:
                self._run()
        except LeaseLostError:
            self._lose()

    def until_next(self) -> float:
        """For how many seconds there is nothing to look for here, as far as is known."""
        if self._fence is not None:
            return max(self.upkeep_due - time.monotonic(), SHORTEST_SECONDS)
        if self._resigned:
            return math.inf
        return max(self._since + self._patience - time.monotonic(), 0.0)

    # --- the lease ---

    def _watch(self, found: Ownership) -> None:
        if found != self._seen:
            self._seen, self._since = found, time.monotonic()

    def _may_take(self) -> bool:
        if self._fence is not None or self._resigned or self._seen is None:
            return False
        return self._seen.owner is None or time.monotonic() - self._since >= self._patience

    def _take(self) -> bool:
        assert self._seen is not None
        with self._context.catalog.write() as connection:
            if self._resigned:  # since: it must not be taken after it was given up
                return False
            self._fence = maintenance.take(connection, self._worker, self._seen)
        if self._fence is None:
            self._since = time.monotonic()
            return False
        log.info("the maintenance is done here")
        self.upkeep_due = 0.0
        return True

    def _lose(self) -> None:
        log.info("the maintenance is done elsewhere")
        self._fence = None
        self._seen = None

    @contextmanager
    def _change(self) -> Iterator[Change]:
        """A change that is made only while the lease is ours.

        Raises:
            LeaseLostError: another worker has it.
        """
        with self._context.change() as change:
            if self._fence is None or not maintenance.renew(
                change.connection, self._worker, self._fence
            ):
                raise LeaseLostError("another worker does the maintenance")
            yield change

    # --- the work ---

    def _run(self) -> None:
        context = self._context
        with context.catalog.read() as connection:
            due = mirrors.due_now(connection, context.now())
        ready = [schedule.Ready.of(one) for one in due]
        short = self._short
        with self._change() as change:
            connection, now = change.connection, change.now
            if self._dead:
                log.warning(
                    "no heartbeat for a whole lease, reassigning: %s",
                    ", ".join(f"{what} {id_}" for (what, id_), _ in self._dead),
                )
                heartbeats.reap(connection, self._dead, now)
            if collection.note_space(connection, short=short) and short:
                log.warning("the store is short of space: nothing more is admitted that fills it")
            self._look_after(connection, now)
            schedule.start_due(connection, ready, context.sealer, now)
            parking.move(connection, parking.movable(connection, now), now)
        self._stop_late()
        self._tell_all()

    def _look_after(self, connection: Connection, now: float) -> None:
        """Forget what is old and start a collection, now and then."""
        if time.monotonic() < self.upkeep_due:
            return
        maintenance_policy = self._context.maintenance_policy
        start_collection(connection, maintenance_policy, now, urgent=self._short)
        before = now - maintenance_policy.keep_jobs
        more = retention.forget(connection, before) >= retention.MAX_AT_ONCE
        more |= retention.forget_records(connection, before) >= retention.RECORDS_AT_ONCE
        exports.release_expired(connection, now)
        pause = 0.0 if more else min(RETENTION_SECONDS, maintenance_policy.keep_jobs / 4)
        self.upkeep_due = time.monotonic() + pause

    def _stop_late(self) -> None:
        """Stop what has passed its deadline, page by page, for as long as a run may take."""
        until = time.monotonic() + STOPPING_SECONDS
        while time.monotonic() < until:
            with self._context.catalog.read() as connection:
                if not jobs.past_deadline(connection, self._context.now(), limit=1):
                    return
            with self._change() as change:
                ended = stop_late(change.connection, change.now)
                change.jobs.update(ended[:MAX_ANNOUNCED])
                change.events += task_events.stopped(
                    change.connection, ended, jobs.DEADLINE_EXCEEDED
                )
            self._context.catalog.give_way()

    def _tell_all(self) -> None:
        """Tell all who wait for transfers that have ended, a page a transaction."""
        while True:
            with self._context.catalog.read() as connection:
                if not waits.telling(connection):
                    return
            with self._change() as change:
                waits.tell_more(change.connection)
            self._context.catalog.give_way()

    def _is_short(self) -> bool:
        return self._context.content.free_bytes() < self._context.maintenance_policy.min_free_bytes
