"""Who uses an image: workspaces, Docker's containers, and jobs under way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from sqlalchemy import Connection, func, select, text

from transship.store.catalog.access.tenants import sees
from transship.store.catalog.db.schema import JOB_ACTIVE, jobs, leases, workspaces
from transship.store.catalog.db.sql import chunks


def workspace_on(
    connection: Connection, tenant: str, manifests: Collection[str], *, busy: bool
) -> str | None:
    """The name of a workspace over one of *manifests*, busy or idle."""
    found = [
        connection.execute(
            select(func.min(workspaces.c.name)).where(
                workspaces.c.base.in_(some),
                workspaces.c.busy.is_(busy),
                sees(tenant, workspaces.c.tenant),
            )
        ).scalar()
        for some in chunks(manifests)
    ]
    return min((name for name in found if name is not None), default=None)


def is_base(connection: Connection, tenant: str, manifest: str) -> bool:
    """Whether a workspace needs the layers of *manifest*."""
    found = select(workspaces.c.name).where(
        workspaces.c.base == manifest, sees(tenant, workspaces.c.tenant)
    )
    return connection.execute(found.limit(1)).first() is not None


def job_on(connection: Connection, tenant: str, digests: Collection[str]) -> str | None:
    """The id of an active job that holds a lease on one of *digests*."""
    found = [
        connection.execute(
            select(jobs.c.seq, jobs.c.id)
            .join(leases, leases.c.holder == jobs.c.id)
            .where(
                leases.c.digest.in_(some),
                text(f"jobs.{JOB_ACTIVE}"),
                sees(tenant, jobs.c.tenant),
            )
            .order_by(jobs.c.seq)
            .limit(1)
        ).first()
        for some in chunks(digests)
    ]
    oldest = min((row for row in found if row is not None), default=None)
    return None if oldest is None else str(oldest.id)


def digests_in_jobs(connection: Connection, tenant: str) -> set[str]:
    """Everything that active jobs hold leases on."""
    return set(
        connection.execute(
            select(leases.c.digest)
            .join(jobs, leases.c.holder == jobs.c.id)
            .where(text(f"jobs.{JOB_ACTIVE}"), sees(tenant, jobs.c.tenant))
            .distinct()
        ).scalars()
    )


def workspaces_by_base(connection: Connection, tenant: str) -> Counter[str]:
    """How many workspaces there are over each manifest."""
    rows = connection.execute(
        select(workspaces.c.base, func.count())
        .where(workspaces.c.base.is_not(None), sees(tenant, workspaces.c.tenant))
        .group_by(workspaces.c.base)
    )
    return Counter({row[0]: row[1] for row in rows})
