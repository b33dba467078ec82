"""Errors, in jobs and as answers alike."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Problem(BaseModel):
    """What went wrong, on which side, and what can be done about it."""

    code: str = Field(description="what kind of error it is; stays the same between versions")
    side: str = Field(description="source, destination, store, request or internal")
    subject: str = Field(description="what it is about: an image, a host, a field; may be empty")
    detail: str = Field(description="the cause, in a sentence")
    hint: str = Field(description="what can be done about it; may be empty")
    retryable: bool = Field(description="whether the same may succeed later")
    attempts: int = Field(default=1, description="how often it was tried")
    errors: list[dict[str, str]] | None = Field(
        default=None, description="each wrong field: its `field`, and the `message`"
    )


class ProblemDetails(Problem):
    """An error as an answer carries it: RFC 9457, `application/problem+json`."""

    type: str = Field(description="`urn:transship:error:` and the code")
    title: str = Field(description="the code in words")
    status: int = Field(description="the status of the answer")
