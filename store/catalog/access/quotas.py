"""How much of the server one token may take up: unfinished jobs, their specs, bytes of its images.

Only tokens without `admin` have quotas. They are looked up when something is asked for: what was
accepted is not stopped later, and may go beyond a quota by as much as is under way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import (
    BindParameter,
    Connection,
    bindparam,
    func,
    literal_column,
    select,
    text,
    union,
)

from transship.store.catalog.access.tenants import is_token
from transship.store.catalog.db.schema import (
    JOB_ACTIVE,
    JOB_LONG_SPEC,
    JOB_TOP,
    LONG_SPEC_BYTES,
    blobs,
    holdings,
    images,
    jobs,
    references,
    workspace_layers,
)
from transship.store.errors import QuotaError
from transship.store.sizes import human_bytes

_TENANT: BindParameter[str] = bindparam("tenant")
_ACTIVE = select(func.count()).select_from(
    select(literal_column("1"))
    .select_from(jobs)
    .where(jobs.c.tenant == _TENANT, text(JOB_TOP), text(JOB_ACTIVE))
    .limit(bindparam("most"))
    .subquery()
)
_SPEC_BYTES = select(func.coalesce(func.sum(jobs.c.spec_bytes), 0)).where(
    jobs.c.tenant == _TENANT, text(JOB_LONG_SPEC)
)
_HELD = union(
    *(select(table.c.digest).where(table.c.tenant == _TENANT) for table in (holdings, references))
).subquery()
_IMAGE_BYTES = select(func.coalesce(func.sum(images.c.size), 0)).where(
    images.c.digest.in_(select(_HELD.c.digest))
)
_WORKSPACE_BYTES = select(func.coalesce(func.sum(blobs.c.size), 0)).where(
    blobs.c.digest.in_(
        select(workspace_layers.c.digest).where(workspace_layers.c.tenant == _TENANT)
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """What each token may have; None: as much as there is.

    Attributes:
        jobs: Submitted jobs that have not ended; children of mirrors are not counted.
        spec_bytes: Of the specs above 4 KiB of all its jobs on record.
        store_bytes: Of its images, each with all its layers, and of its workspaces.
    """

    jobs: int | None = None
    spec_bytes: int | None = None
    store_bytes: int | None = None

    def check_job(self, connection: Connection, tenant: str, spec_bytes: int) -> None:
        """Check that *tenant* may have one job more, whose spec has so many bytes.

        Raises:
            QuotaError: it may not.
        """
        if not is_token(tenant):
            return
        if self.jobs is not None:
            found = connection.execute(_ACTIVE, {"tenant": tenant, "most": self.jobs}).scalar_one()
            if found >= self.jobs:
                raise QuotaError(
                    f"this token has {self.jobs} unfinished jobs, and may have no more",
                    subject="TRANSSHIP_TOKEN_JOBS",
                    hint="wait until some have ended, or submit one mirror in place of many copies",
                )
        if self.spec_bytes is not None and spec_bytes > LONG_SPEC_BYTES:
            kept = int(connection.execute(_SPEC_BYTES, {"tenant": tenant}).scalar_one())
            if kept + spec_bytes > self.spec_bytes:
                raise QuotaError(
                    f"the specs of this token's jobs would take {human_bytes(kept + spec_bytes)}"
                    f" of {human_bytes(self.spec_bytes)}",
                    subject="TRANSSHIP_TOKEN_SPEC_BYTES",
                    hint="use patterns in place of lists of tags",
                )

    def check_store(self, connection: Connection, tenant: str) -> None:
        """Check that *tenant* may put something more into the store.

        Raises:
            QuotaError: it may not.
        """
        if self.store_bytes is None or not is_token(tenant):
            return
        used = sum(
            int(connection.execute(query, {"tenant": tenant}).scalar_one())
            for query in (_IMAGE_BYTES, _WORKSPACE_BYTES)
        )
        if used >= self.store_bytes:
            raise QuotaError(
                f"the images and workspaces of this token take {human_bytes(used)}"
                f" of {human_bytes(self.store_bytes)}",
                subject="TRANSSHIP_TOKEN_STORE_BYTES",
                hint="delete images or workspaces",
            )


NO_QUOTAS: Final = Quotas()
