"""What has failed of late, grouped by its cause.

A job counts until it is retried, by itself or with its parent. A mirror that failed because images
of it did is told of by these.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, exists, func, select

from transship.api.http.auth import Caller
from transship.api.models.failures import FailedJob, FailureGroup
from transship.api.views.jobs import rfc3339
from transship.api.views.visibility import own_jobs
from transship.store.catalog.db.schema import jobs as jobs_table

LOOKED_AT: Final = 2000  # failed jobs, those that were asked for last
NAMED: Final = 5  # jobs of a group in a list of groups
PARTIAL: Final = "partial"  # the failure of a job whose children failed

_DIGEST: Final = re.compile("sha256:[0-9a-f]{8,64}|[0-9a-f]{8}-[0-9a-f-]{27}")
_retries = jobs_table.alias("retries")
_NOT_RETRIED = [
    ~exists().where(_retries.c.retry_of.is_not(None), _retries.c.retry_of == retried)
    for retried in (jobs_table.c.id, jobs_table.c.parent)
]
_COLUMNS = tuple(
    jobs_table.c[name] for name in ("id", "kind", "label", "parent", "lane", "finished_at", "error")
)


@dataclass(slots=True)
class Group:
    """Failures of one cause, the newest first."""

    id: str
    registry: str
    rows: list[Row[Any]] = field(default_factory=list)

    def shown(self, *, jobs: int = NAMED, after: int = 0) -> FailureGroup:
        """The group with as many of its *jobs*, without the first *after*."""
        error = self.rows[0].error
        details = {row.error["detail"] for row in self.rows}
        return FailureGroup(
            id=self.id,
            code=error["code"],
            side=error["side"],
            registry=self.registry,
            detail=details.pop() if len(details) == 1 else _alike(error),
            hint=error["hint"],
            retryable=error["retryable"],
            number=len(self.rows),
            first_at=rfc3339(self.rows[-1].finished_at) or "",
            last_at=rfc3339(self.rows[0].finished_at) or "",
            jobs=[
                FailedJob(
                    id=row.id,
                    kind=row.kind,
                    label=row.label,
                    parent=row.parent,
                    finished_at=rfc3339(row.finished_at) or "",
                )
                for row in self.rows[after : after + jobs]
            ],
        )


def groups(connection: Connection, asking: Caller, since: float) -> tuple[list[Group], bool]:
    """The failures after *since* that whoever asks may see, and whether these are all.

    The group that was added to last comes first.
    """
    rows = connection.execute(
        select(*_COLUMNS).where(*_those(asking, since)).order_by(jobs_table.c.finished_at.desc())
    ).all()
    more = connection.execute(_newest(asking).offset(LOOKED_AT).limit(1)).one_or_none()
    found: dict[str, Group] = {}
    for row in rows:
        if row.error is None or row.error["code"] == PARTIAL:
            continue
        registry = _registry(row)
        key = _key(row.error, registry)
        found.setdefault(key, Group(key, registry)).rows.append(row)
    return list(found.values()), more is None


def mark(connection: Connection, asking: Caller, since: float) -> tuple[Any, ...]:
    """What differs when `groups` would; reading it costs a fifth."""
    figures = (func.count(), func.min(jobs_table.c.finished_at), func.max(jobs_table.c.finished_at))
    return tuple(connection.execute(select(*figures).where(*_those(asking, since))).one())


def _those(asking: Caller, since: float) -> list[Any]:
    return [
        jobs_table.c.seq.in_(_newest(asking).limit(LOOKED_AT)),
        jobs_table.c.finished_at > since,
        *_NOT_RETRIED,
    ]


def _newest(asking: Caller) -> Select[int]:
    """Failed jobs that whoever asks may see: how many others have failed changes nothing."""
    return (
        select(jobs_table.c.seq)
        .where(jobs_table.c.state == "failed", own_jobs(asking))
        .order_by(jobs_table.c.seq.desc())
    )


def _registry(row: Row[Any]) -> str:
    """The registry at which it was, of the one or two that the job asks."""
    asked: list[str] = row.lane.split()
    if not asked:
        return ""
    return {"source": asked[0], "destination": asked[-1]}.get(row.error["side"], "")


def _key(error: dict[str, Any], registry: str) -> str:
    parts = (error["code"], error["side"], registry, _alike(error))
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:16]


def _alike(error: dict[str, Any]) -> str:
    """The detail of an error without what differs from image to image."""
    detail: str = error["detail"]
    if subject := error["subject"]:
        detail = detail.replace(subject, "…")
    return _DIGEST.sub("…", detail)
