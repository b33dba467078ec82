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
    parking,
    retention,
)
from store.catalog.heartbeats import Observer
from store.errors import TransshipError
from workers import schedule
from workers.stopping import stop_late
from workers.upkeep import start_collection
from workers.wire import Message
from workers.world import MAX_ANNOUNCED, World, ring, transfer_message

log = logging.getLogger(__name__)

SECONDS = 1.0
STOPPING_SECONDS = 0.5  # of a tick; what is left then follows with the next one
PROMOTIONS = 200  # jobs a tick; more would hold the write lock too long
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
        with world.catalog.write() as connection:
            now = world.now()
            if dead:
                log.warning("silent for a whole lease: %s", [key for key, _ in dead])
                heartbeats.bury(connection, dead, now)
            if collection.note_space(connection, short=short) and short:
                log.warning("the store is short of space: nothing more is admitted that fills it")
            self._look_after(connection, now, short=short)
            schedule.start_due(connection, ready, world.sealer, now)
            admission.promote(connection, now)
            jobs.promote(connection, now, limit=PROMOTIONS)
            parking.move(connection, parking.movable(connection, now), now)
            messages += [transfer_message(a) for a in admission.unstarted(connection, now)]
            messages += ring(connection, now)
        world.wire.publish(messages)
        self._stop_late()
        world.tell_all()

    def _stop_late(self) -> None:
        """Stop what has passed its deadline, page by page, for as long as a tick may take."""
        until = time.monotonic() + STOPPING_SECONDS
        while time.monotonic() < until:
            with self._world.catalog.read() as connection:
                if not jobs.past_deadline(connection, self._world.now(), limit=1):
                    return
            with self._world.change() as change:
                ended = stop_late(change.connection, change.now)
                change.jobs.update(ended[:MAX_ANNOUNCED])
            self._world.catalog.give_way()

    def _look_after(self, connection: Connection, now: float, *, short: bool) -> None:
        """Forget what is old and start a collection, now and then."""
        if time.monotonic() < self._upkeep_due:
            return
        upkeep = self._world.upkeep
        start_collection(connection, upkeep, now, urgent=short)
        before = now - upkeep.keep_jobs
        more = retention.forget(connection, before) >= retention.MOST_AT_ONCE
        more |= retention.forget_records(connection, before) >= retention.RECORDS_AT_ONCE
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
