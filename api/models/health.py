"""Whether a server can do its work."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Health(BaseModel):
    """Whether jobs can be accepted, what keeps them from moving, and the threads of each queue."""

    status: str
    degraded: list[str] = Field(
        description="broker: it does not answer; a queue: no worker that can be reached serves it"
    )
    threads: dict[str, int]
