"""Errors, in jobs and as answers alike."""

from __future__ import annotations

from pydantic import BaseModel, Field


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
