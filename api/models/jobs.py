"""Jobs, their transfers and what happened to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, computed_field

from transship.api.models.credentials import CredentialBody
from transship.api.models.problems import Problem


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

    @property
    def ended(self) -> bool:
        """Whether it has come to its end, whichever."""
        return self.finished_at is not None

    @property
    def succeeded(self) -> bool:
        """Whether it has ended well."""
        return self.state == "succeeded"


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


class MovingTransfer(BaseModel):
    """What a mirror's progress shows of a blob on its way."""

    digest: str
    direction: str
    state: str
    size: int
    bytes_done: int


class TransferView(MovingTransfer):
    """One blob on its way for a job."""

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


class JobEvent(BaseModel):
    """Something that happened to a job, or to a child of it.

    What else it has depends on its type: `queued`, `received`, `running`, `retrying`, `warning`,
    `worker-died`, or the state in which the job ended. Another version may know more types, and
    more fields of these.
    """

    model_config = ConfigDict(extra="allow")

    id: int = Field(description="grows; a stream continues after it")
    job: str
    time: str
    type: str
    kind: str | None = None
    label: str | None = None
    message: str | None = Field(default=None, description="of a warning")
    digest: str | None = Field(default=None, description="of the blob that is tried again")
    seconds: float | None = Field(default=None, description="until it is tried again")
    crashes: int | None = Field(default=None, description="how many workers have died over it")
    transfer: int | None = None
    result: dict[str, Any] | None = None
    error: Problem | None = None


class ProgressEvent(BaseModel):
    """How far a job is. It is not stored and has no id."""

    type: Literal["progress"] = "progress"
    job: JobSummary
    transfers: Sequence[TransferView | MovingTransfer]


class EventList(BaseModel):
    """What happened to a job, oldest first. *next* is the `after` of those that follow."""

    items: list[JobEvent]
    next: str | None = None


class RetryBody(BaseModel):
    """Credentials for the new job; those of the first one are gone."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    credentials: dict[str, CredentialBody] = Field(default_factory=dict)
