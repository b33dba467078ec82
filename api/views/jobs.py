"""Jobs and events as the API shows them, built from rows."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from transship.api.models.jobs import JobEvent, JobSummary, MirrorProgressView, ProgressView
from transship.api.models.problems import Problem
from transship.store.catalog.db.schema import jobs as jobs_table
from transship.store.catalog.scheduling import children, progress
from transship.store.catalog.scheduling.children import Counts
from transship.store.catalog.scheduling.events import Event
from transship.store.catalog.scheduling.progress import Progress

# Of a job's row what its summary has. Neither its spec, which may be megabytes long, nor its plan,
# which nobody is shown.
SUMMARIZED = tuple(
    jobs_table.c[name]
    for name in (
        *("id", "kind", "state", "label", "priority", "parent", "root"),
        *("requested_by", "requester"),
        *("created_at", "started_at", "finished_at", "deadline"),
        *("result", "error", "superseded_by", "retry_of"),
    )
)


def rfc3339(seconds: float | None) -> str | None:
    """A time as JSON has it, in UTC with milliseconds."""
    if seconds is None:
        return None
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def job_summaries(connection: Connection, rows: Iterable[Any]) -> list[JobSummary]:
    """Jobs as shown, with their figures and their children; *rows* have what is `SUMMARIZED`."""
    found = list(rows)
    ids = [row.id for row in found]
    figures = progress.of_jobs(connection, ids)
    counts = children.counts(connection, ids)
    return [
        JobSummary(
            id=row.id,
            kind=row.kind,
            state=row.state,
            label=row.label,
            priority=row.priority,
            parent=row.parent,
            root=row.root,
            requested_by=row.requested_by,
            created_at=rfc3339(row.created_at) or "",
            started_at=rfc3339(row.started_at),
            finished_at=rfc3339(row.finished_at),
            deadline=rfc3339(row.deadline),
            progress=_progress(row.kind, figures[row.id], counts[row.id]),
            children=dict(counts[row.id].by_state),
            result=row.result,
            error=Problem(**row.error) if row.error else None,
            superseded_by=row.superseded_by,
            retry_of=row.retry_of,
        )
        for row in found
    ]


def event_view(event: Event) -> JobEvent:
    """An event as streams and logs show it: what is not set in it is left out."""
    return JobEvent(
        id=event.id,
        job=event.job,
        time=rfc3339(event.time) or "",
        type=event.type,
        **{key: value for key, value in event.data.items() if value is not None},
    )


_FIGURES = tuple(ProgressView.model_fields)


def _progress(kind: str, figures: Progress, counts: Counts) -> ProgressView:
    values = {name: getattr(figures, name) for name in _FIGURES}
    if kind != "mirror":
        return ProgressView(**values)
    return MirrorProgressView(
        **values,
        images_total=counts.total,
        images_done=counts.by_state.get("succeeded", 0),
        images_failed=sum(counts.by_state.get(state, 0) for state in ("failed", "cancelled")),
    )
