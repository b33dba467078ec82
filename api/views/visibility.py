"""What whoever asks may see of jobs: its own, or all; what it may not see is not there.

Images, names and workspaces are seen by their tenant: see `transship.store.catalog.access.tenants`.
"""

from __future__ import annotations

from typing import Any, TypeGuard

from sqlalchemy import Column, ColumnElement, Connection, Row, true

from transship.api.http.auth import ADMIN, Caller
from transship.api.models.jobs import JobView
from transship.api.views.jobs import SUMMARIZED, job_summaries
from transship.store.catalog.db.schema import jobs as jobs_table
from transship.store.catalog.scheduling import jobs
from transship.store.errors import NotFoundError


def own_jobs(asking: Caller) -> ColumnElement[bool]:
    """The condition that a job is there for whoever asks."""
    return true() if asking.sees_all_jobs else jobs_table.c.requester == asking.name


def existing_job(
    connection: Connection, asking: Caller, id_: str, *columns: Column[Any]
) -> Row[Any]:
    """The job's row, or these *columns* of it and its requester.

    Raises:
        NotFoundError: there is none, or whoever asks may not see it.
    """
    wanted = (*columns, jobs_table.c.requester) if columns else ()
    row = jobs.get(connection, id_, *wanted)
    if _may_see(row, asking):
        return row
    raise NotFoundError("no such job", subject=id_, hint="see `transship jobs`")


def is_seen(connection: Connection, asking: Caller, id_: str) -> bool:
    """Whether a job is there for whoever asks; its children are, then, too."""
    return _may_see(jobs.get(connection, id_, jobs_table.c.requester), asking)


def _may_see(row: Row[Any] | None, asking: Caller) -> TypeGuard[Row[Any]]:
    return row is not None and (asking.sees_all_jobs or row.requester == asking.name)


def shown_job(connection: Connection, asking: Caller, id_: str) -> JobView:
    """One job, with its spec where that is for whoever asks.

    Raises:
        NotFoundError: there is none, or whoever asks may not see it.
    """
    row = existing_job(connection, asking, id_, *SUMMARIZED, jobs_table.c.spec)
    [summary] = job_summaries(connection, [row])
    its_own = row.requester == asking.name or asking.may(ADMIN)
    return JobView(**dict(summary), spec=row.spec if its_own else {})
