"""The tick: once a second, in every worker, harmless to run many times at once.

It finds what nobody rang for: messages that were lost, owners that died, delays that are over.
"""

from __future__ import annotations

import logging
import threading
import time

from sqlalchemy import Connection

from store.catalog import (
    admission,
    collection,
    exports,
    heartbeats,
    jobs,
    mirrors,
    progress,
    retention,
    waits,
)
from store.catalog.heartbeats import Observer
from store.errors import TransshipError
from workers import schedule
from workers.upkeep import start_collection
from workers.wire import Message
from workers.world import World, ring, transfer_message

log = logging.getLogger(__name__)

SECONDS = 1.0
UPKEEP_SECONDS = 15.0  # what is old enough to go can wait a little longer


class Tick:
    """The ticking thread of a process."""

    def __init__(self, world: World, lease_seconds: float) -> None:
        """Watch over *world*; owners silent for *lease_seconds* are dead."""
        self._world = world
        self._observer = Observer(lease_seconds)
        self._upkeep_due = 0.0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tick", daemon=True)

    def start(self) -> None:
        """Start ticking."""
        self._thread.start()

    def stop(self) -> None:
        """Stop, after the tick under way."""
        self._end.set()
        self._thread.join()

    def once(self) -> None:
        """Do what is due now."""
        world = self._world
        with world.catalog.read() as connection:
            pulses = heartbeats.pulses(connection)
            due = mirrors.due_now(connection, world.now())
        dead = self._observer.silent(pulses, time.monotonic())
        short = world.content.free_bytes() < world.upkeep.min_free_bytes
        ready = [schedule.Ready.of(one) for one in due]
        messages: list[Message] = []
        touched: set[str] = set()
        with world.catalog.write() as connection:
            now = world.now()
            if dead:
                log.warning("silent for a whole lease: %s", [key for key, _ in dead])
                heartbeats.bury(connection, dead, now)
            if collection.note_space(connection, short=short) and short:
                log.warning("the store is short of space: nothing more is admitted that fills it")
            touched.update(stop_late(connection, now))
            self._look_after(connection, now, short=short)
            schedule.start_due(connection, ready, world.sealer, now)
            admission.promote(connection, now)
            messages += [transfer_message(a) for a in admission.unstarted(connection, now)]
            messages += ring(connection, now)
        world.wire.publish(messages)
        world.wire.announce(touched)

    def _look_after(self, connection: Connection, now: float, *, short: bool) -> None:
        """Forget what is old and start a collection, now and then."""
        if time.monotonic() < self._upkeep_due:
            return
        upkeep = self._world.upkeep
        start_collection(connection, upkeep, now, urgent=short)
        more = retention.forget(connection, now - upkeep.keep_jobs) == retention.MOST_AT_ONCE
        retention.forget_records(connection, now - upkeep.keep_jobs)
        exports.release_expired(connection, now)
        pause = 0.0 if more else min(UPKEEP_SECONDS, upkeep.keep_jobs / 4)
        self._upkeep_due = time.monotonic() + pause

    def _run(self) -> None:
        while not self._end.wait(SECONDS):
            try:
                self.once()
            except TransshipError as error:
                log.warning("the tick failed, the next one follows: %s", error)
            except Exception:
                log.exception("the tick failed, the next one follows")


def stop_late(connection: Connection, now: float) -> list[str]:
    """Ask jobs past their deadline to stop; returns those that ended here."""
    ended: list[str] = []
    for late in jobs.past_deadline(connection, now):
        ended += stop_jobs(connection, late, "deadline-exceeded", now)
    return ended


def stop_jobs(connection: Connection, id_: str, reason: str, now: float) -> list[str]:
    """Ask a job and its children to stop, for *reason*; returns those that ended here."""
    stopped = jobs.request_stop(connection, id_, reason, now)
    progress.settle(connection, stopped)
    waits.abandon(connection, stopped, now)
    return stopped
