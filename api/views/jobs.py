"""What the API shows: the shapes of INTERFACE §1, built from rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, Field, computed_field
from sqlalchemy import Connection

from transship.store.catalog.db.schema import jobs as jobs_table
from transship.store.catalog.scheduling import children, progress
from transship.store.catalog.scheduling.admission.limits import RegistryLimits
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


class Problem(BaseModel):
    """What went wrong, on which side, and what can be done about it."""

    code: str
    side: str = Field(description="source, destination, store, request or internal")
    subject: str
    detail: str
    hint: str
    retryable: bool
    attempts: int = 1
    errors: list[dict[str, str]] | None = None


class ProblemDetails(Problem):
    """An error as an answer carries it: RFC 9457, `application/problem+json`."""

    type: str
    title: str
    status: int


class ProgressView(BaseModel):
    """Figures in bytes and blobs; *skipped* did not have to move for this job."""

    bytes_total: int
    bytes_done: int
    bytes_moved: int
    bytes_skipped: int
    blobs_total: int
    blobs_done: int

    @computed_field(json_schema_extra={"deprecated": True})  # type: ignore[prop-decorator]
    @property
    def bytes_spared(self) -> int:
        """The name of `bytes_skipped` before 0.2; goes with the next release."""
        return self.bytes_skipped


class MirrorProgressView(ProgressView):
    """The same of a mirror, with its images: those *done* are in place, *failed* ones are not."""

    images_total: int = Field(description="from when the tags have been chosen")
    images_done: int
    images_failed: int = Field(description="failed or cancelled")


class JobSummary(BaseModel):
    """A job as lists and streams show it: all but its spec."""

    id: str
    kind: str
    state: str = Field(description="queued, running, succeeded, failed or cancelled")
    label: str
    priority: int
    parent: str | None
    root: str
    requested_by: str
    created_at: str
    started_at: str | None
    finished_at: str | None
    deadline: str | None
    progress: MirrorProgressView | ProgressView
    children: dict[str, int]
    result: dict[str, Any] | None
    error: Problem | None
    superseded_by: str | None
    retry_of: str | None


class JobView(JobSummary):
    """A job. Its spec is shown to whoever asked for it, and to `admin`; others see an empty one."""

    spec: dict[str, Any]


class JobList(BaseModel):
    """A page of jobs, without their specs; *next* is the cursor of the one that follows."""

    items: list[JobSummary]
    next: str | None


class RejectedMessage(BaseModel):
    """A message of the broker that could not become a job."""

    time: str
    reason: str
    excerpt: str = Field(description="the beginning of the message, escaped")


class RejectedList(BaseModel):
    """Messages that were rejected, the newest first."""

    items: list[RejectedMessage]
    next: str | None = None


class TransferView(BaseModel):
    """One blob on its way for a job."""

    digest: str
    direction: str
    state: str
    size: int
    bytes_done: int
    bytes_moved: int
    media_type: str
    registry: str
    repository: str
    attempts: int
    joined: bool
    worker: str | None
    error: Problem | None


class TransferList(BaseModel):
    """The transfers of a job."""

    items: list[TransferView]
    next: str | None = None


class EventList(BaseModel):
    """What happened to a job, oldest first; every event has `id`, `job`, `time` and `type`.

    *next* is the `after` of those that follow.
    """

    items: list[dict[str, Any]]
    next: str | None = None


class LimitView(BaseModel):
    """A limit in force and where it comes from: default, environment or override."""

    value: int
    source: str


class RegistryLimitsView(BaseModel):
    """What is set for one registry, and whether it is left alone at present."""

    concurrency: int | None = Field(description="blob bodies at a time, both directions together")
    requests_per_second: float | None
    bytes_per_second: int | None
    paused: bool
    parked_seconds: float = Field(
        description="for so long nothing is asked of it, since it said so or does not answer"
    )
    budget_parked_seconds: float = Field(
        description="for so long at most a credential that has used up its budget asks nothing"
    )

    @classmethod
    def of(
        cls, limits: RegistryLimits, parked_seconds: float, budget_parked_seconds: float
    ) -> RegistryLimitsView:
        """Show *limits*, and for how long the registry and budgets at it are parked."""
        return cls(
            **asdict(limits),
            parked_seconds=round(parked_seconds, 1),
            budget_parked_seconds=round(budget_parked_seconds, 1),
        )


class LimitsView(BaseModel):
    """Every limit in force. *registries* has those that are limited, or parked now."""

    max_concurrent_downloads: LimitView
    max_concurrent_uploads: LimitView
    max_download_attempts: LimitView
    max_upload_attempts: LimitView
    registries: dict[str, RegistryLimitsView]


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


def event_view(event: Event) -> dict[str, Any]:
    """An event as streams and logs show it."""
    return {
        "id": event.id,
        "job": event.job,
        "time": rfc3339(event.time),
        "type": event.type,
        **{key: value for key, value in event.data.items() if value is not None},
    }


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
