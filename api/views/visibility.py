"""What whoever asks may see of jobs: its own, or all; what it may not see is not there.

Images, names and workspaces are seen by their tenant: see `transship.store.catalog.access.tenants`.
"""

from __future__ import annotations

from typing import Any, Final, TypeGuard

from sqlalchemy import Column, ColumnElement, Connection, Row, select, true

from transship.api.http.auth import ADMIN, Caller
from transship.api.models.jobs import JobView
from transship.api.views.jobs import SUMMARIZED, job_summaries
from transship.store.catalog.db.schema import jobs as jobs_table
from transship.store.catalog.scheduling import job_names, jobs
from transship.store.errors import AmbiguousError, NotFoundError

LAST: Final = "last"
MAX_CANDIDATES: Final = 5  # that an error names


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


def job_named(connection: Connection, asking: Caller, name: str) -> str:
    """The id that *name* stands for: an id, its beginning or end, or `last`, the asker's newest.

    Where there is no such job, that is *name* itself, which nothing has as its id.

    Raises:
        AmbiguousError: several jobs that whoever asks may see begin or end so.
    """
    if len(name) >= job_names.ID_CHARS:
        return name
    if name == LAST:
        return job_names.newest(connection, asking.name) or name
    sees = None if asking.sees_all_jobs else asking.name
    found = job_names.matching(connection, name, sees, limit=MAX_CANDIDATES + 1)
    if len(found) > 1:
        raise _ambiguous(connection, name, found)
    return found[0] if found else name


def _ambiguous(connection: Connection, name: str, found: list[str]) -> AmbiguousError:
    rows = connection.execute(
        select(*(jobs_table.c[key] for key in ("id", "kind", "label", "state"))).where(
            jobs_table.c.id.in_(found[:MAX_CANDIDATES])
        )
    ).all()
    several = [f"{row.id} ({row.kind} {row.label}, {row.state})" for row in rows]
    if len(found) > MAX_CANDIDATES:
        several.append("and more")
    return AmbiguousError(
        f"several jobs begin or end so: {', '.join(several)}",
        subject=name,
        hint="give more of the id",
    )


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
