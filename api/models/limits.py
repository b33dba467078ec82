"""Limits in force."""

from __future__ import annotations

from pydantic import BaseModel, Field


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


class LimitsView(BaseModel):
    """Every limit in force. *registries* has those that are limited, or parked now."""

    max_concurrent_downloads: LimitView
    max_concurrent_uploads: LimitView
    max_download_attempts: LimitView
    max_upload_attempts: LimitView
    registries: dict[str, RegistryLimitsView]
