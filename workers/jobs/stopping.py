"""Jobs that are to stop: asked for by a user, by a deadline, or because their parent has failed.

A mirror may have a hundred thousand children. They are stopped in pages, each in a transaction of
its own, so that nobody's lease runs out while others wait to write. A job that was asked to stop
ends when all of its children have been asked, so that whoever takes it up after a crash goes on.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from transship.store.catalog.scheduling import jobs, waits
from transship.store.catalog.scheduling.jobs import JobLease
from transship.workers.runtime import task_events
from transship.workers.runtime.context import MAX_ANNOUNCED, WorkerContext

PAGE = 500  # jobs a transaction


def stop_jobs(connection: Connection, id_: str, reason: str, now: float) -> list[str]:
    """Ask a job and a page of its children to stop; returns those that ended here.

    The job itself ends with the last page, unless somebody holds it. Who wants all pages calls
    again while `jobs.open_children` finds some.
    """
    return [
        *_stop(connection, jobs.open_children(connection, id_, limit=PAGE), reason, now),
        *_stop(connection, [id_], reason, now),
    ]


def stop_late(connection: Connection, now: float) -> list[str]:
    """Ask a page of jobs past their deadline to stop; returns those that ended here."""
    late = jobs.past_deadline(connection, now, limit=PAGE)
    return _stop(connection, late, jobs.DEADLINE_EXCEEDED, now)


def stop_children(lease: JobLease, context: WorkerContext, reason: str) -> None:
    """Ask the children of a job that is held to stop, page by page.

    Raises:
        LeaseLostError: the job is held no more; whoever has it now goes on.
    """
    with context.catalog.read() as connection:
        left = bool(jobs.open_children(connection, lease.id, limit=1))
    while left:
        with context.change() as change:
            jobs.save(change.connection, lease)
            page = jobs.open_children(change.connection, lease.id, limit=PAGE)
            ended = _stop(change.connection, page, reason, change.now)
            change.jobs.update(ended[:MAX_ANNOUNCED])
            change.events += task_events.stopped(change.connection, ended, reason)
            left = len(page) == PAGE
        context.catalog.give_way()


def _stop(connection: Connection, ids: Sequence[str], reason: str, now: float) -> list[str]:
    if not ids:
        return []
    ended = jobs.request_stop(connection, ids, reason, now)
    waits.abandon(connection, ended, now)
    return ended
