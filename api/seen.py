"""What whoever asks may see of jobs: its own, or all; what it may not see is not there.

Images, names and workspaces are seen by their tenant: see `store.catalog.tenants`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeGuard

from sqlalchemy import Column, ColumnElement, Connection, Row, true

from api.auth import ADMIN, Caller
from api.schemas import SHOWN, JobView, job_views
from store.catalog import jobs
from store.catalog.schema import jobs as jobs_table
from store.errors import NotFoundError


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


def shown_jobs(
    connection: Connection, asking: Caller, rows: Iterable[Any], *, with_spec: bool = True
) -> list[JobView]:
    """Jobs as whoever asks may see them: the specs of others are for `admin`.

    *rows* have the columns `SHOWN`, or those of `SHOWN_WITHOUT_SPEC`, whose views have an empty
    spec.
    """
    found = list(rows)
    views = job_views(connection, found, with_spec=with_spec)
    for row, view in zip(found, views, strict=True):
        if row.requester != asking.name and not asking.may(ADMIN):
            view.spec = {}
    return views


def shown_job(connection: Connection, asking: Caller, id_: str) -> JobView:
    """One job.

    Raises:
        NotFoundError: there is none, or whoever asks may not see it.
    """
    row = existing_job(connection, asking, id_, *SHOWN)
    return shown_jobs(connection, asking, [row])[0]
