"""What exports pin: until some time after the last download, although their jobs have ended.

A lease whose holder is no job has a colon in its name. When it ends stands in the job's result.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Row, delete, select, text, update

from transship.store.catalog.content import blobs
from transship.store.catalog.db.schema import LEASE_OF_EXPORT, leases
from transship.store.catalog.db.schema import jobs as job_rows
from transship.store.catalog.scheduling import jobs
from transship.store.errors import ConflictError, GoneError, NotFoundError
from transship.store.oci.timestamps import NANOS, parse, rfc3339

KEEP_SECONDS = 3600.0
_HOLDER = "export:"


def pin(connection: Connection, job: str, digests: Iterable[str]) -> None:
    """Keep *digests* for the export *job*."""
    blobs.lease(connection, f"{_HOLDER}{job}", digests)


def pinned(connection: Connection, job: str) -> set[str]:
    """What the export *job* keeps."""
    mine = select(leases.c.digest).where(leases.c.holder == f"{_HOLDER}{job}")
    return set(connection.execute(mine).scalars())


def expiry(now: float) -> str:
    """Until when an export is kept that was made, or downloaded, *now*."""
    return rfc3339(int(now + KEEP_SECONDS))


def opened(connection: Connection, job: str, now: float) -> Row[Any]:
    """The row of an export that can be downloaded now, and for another while.

    Raises:
        NotFoundError: there is no such export.
        ConflictError: it is not ready, or will never be.
        GoneError: it has expired.
    """
    row = jobs.get(connection, job)
    if row is None or row.kind != "export":
        raise NotFoundError("no such export", subject=job, hint="see `transship jobs`")
    if row.state in jobs.ACTIVE:
        raise ConflictError("the export is not ready yet", subject=job, hint="wait for its job")
    if row.state != "succeeded":
        raise ConflictError(
            f"the export was not made: its job has {row.state}", subject=job, hint="make another"
        )
    if _has_expired(row.result, now):
        raise GoneError("the export has expired", subject=job, hint="make another")
    extend(connection, job, now)
    return row


def extend(connection: Connection, job: str, now: float) -> None:
    """Keep an export for another while."""
    row = jobs.get(connection, job)
    if row is not None and row.result is not None:
        result = {**row.result, "expires_at": expiry(now)}
        connection.execute(update(job_rows).where(job_rows.c.id == job).values(result=result))


def release_expired(connection: Connection, now: float) -> int:
    """Let go of what exports pin that have expired, failed, or are on record no more."""
    mine = select(leases.c.holder).where(text(LEASE_OF_EXPORT)).distinct()
    released = 0
    for holder in connection.execute(mine).scalars().all():
        row = jobs.get(connection, holder.removeprefix(_HOLDER))
        if row is not None and row.state in jobs.ACTIVE:
            continue
        if row is not None and row.state == "succeeded" and not _has_expired(row.result, now):
            continue
        connection.execute(delete(leases).where(leases.c.holder == holder))
        released += 1
    return released


def _has_expired(result: dict[str, Any], now: float) -> bool:
    return (parse(result["expires_at"]) or 0) <= now * NANOS
