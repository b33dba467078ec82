"""What has failed of late, by its cause."""

from __future__ import annotations

from pydantic import BaseModel, Field


class FailedJob(BaseModel):
    """A job that has failed and was not retried."""

    id: str
    kind: str
    label: str
    parent: str | None
    finished_at: str


class FailureGroup(BaseModel):
    """Jobs that have failed for one cause, the newest first."""

    id: str = Field(description="the same for the same cause")
    code: str
    side: str = Field(description="source, destination, store, request or internal")
    registry: str = Field(description="where it was; empty where it was at none")
    detail: str = Field(description="the cause, without what differs from job to job")
    hint: str
    retryable: bool
    number: int = Field(description="how many jobs")
    first_at: str
    last_at: str
    jobs: list[FailedJob] = Field(description="the newest of them")


class FailureList(BaseModel):
    """Causes of failures, the one that struck last first."""

    items: list[FailureGroup]
    complete: bool = Field(description="false: there are more failures than were looked at")
    next: None = None
