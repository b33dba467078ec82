"""Mirrors that a server keeps, and their runs."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from transship.workers.mirrors.entries import MAX_ENTRIES
from transship.workers.specs import MirrorEntry
from transship.workers.specs.fields import PlatformText

SHORTEST_SECONDS = 60
LONGEST_SECONDS = 366 * 86400


class NewMirror(BaseModel):
    """A policy that is to be kept. What a run is to be is said as for a job of kind `mirror`."""

    model_config = ConfigDict(extra="forbid")

    entries: tuple[MirrorEntry, ...] = Field(min_length=1, max_length=MAX_ENTRIES)
    platforms: tuple[PlatformText, ...] = Field(default=(), max_length=100)
    all_platforms: bool = False
    priority: int = Field(default=-10, ge=-100, le=100)
    verify: Literal["head", "read"] | None = Field(
        default=None, description="after each run ask for all of every image, or read it"
    )
    deadline: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="of a run, seconds from its start"
    )
    interval_seconds: float | None = Field(
        default=None,
        ge=SHORTEST_SECONDS,
        le=LONGEST_SECONDS,
        allow_inf_nan=False,
        description="between the beginnings of two runs; null: it runs when it is asked for",
    )
    enabled: bool = Field(default=True, description="whether the interval counts")


class Verification(BaseModel):
    """How a mirror is verified."""

    model_config = ConfigDict(extra="forbid")

    read: bool = Field(default=False, description="read everything, instead of asking by HEAD")
    repair: bool = Field(default=False, description="copy again what is damaged")


class MirrorChange(BaseModel):
    """What is to become of a policy."""

    model_config = ConfigDict(extra="forbid")

    enabled: bool = Field(description="whether the interval counts")


class RunView(BaseModel):
    """A run in short; the job has its report."""

    job: str
    state: str
    started_at: str
    finished_at: str | None


class MirrorSummary(BaseModel):
    """A policy that is kept, without what it says."""

    name: str
    enabled: bool
    interval_seconds: float | None
    next_run_at: str | None = Field(description="null where no run is to come by itself")
    running: str | None = Field(description="the job of the run that is going on")
    last_run: RunView | None
    entries: int
    created_at: str
    updated_at: str


class MirrorView(MirrorSummary):
    """A policy that is kept."""

    spec: dict[str, object] = Field(description="of the job that a run is")


class MirrorList(BaseModel):
    """The policies, by name."""

    items: list[MirrorSummary]
    next: None = None
