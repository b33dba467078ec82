"""The root of all errors, and the side where a failure lies."""

from __future__ import annotations

from enum import StrEnum
from typing import Any


class Side(StrEnum):
    """Where a failure lies, seen by whoever asked for the job."""

    SOURCE = "source"
    DESTINATION = "destination"
    STORE = "store"
    REQUEST = "request"
    INTERNAL = "internal"


def named_apart(subject: str, detail: str) -> bool:
    """Whether the subject is to be said before the detail: not where that ends with it.

    It may be there with what was left out: the default tag, or an ID's algorithm.
    """
    return bool(subject) and not detail.endswith(
        (f": {subject}", f": {subject}:latest", f":{subject}")
    )


def sentence(subject: str, detail: str) -> str:
    """What happened, and to what."""
    return f"{subject}: {detail}" if named_apart(subject, detail) else detail


class TransshipError(Exception):
    """Root of every error that this project raises on purpose.

    Args:
        detail: One sentence that says what happened, without the side, and without the subject
            unless it ends with it, after a colon.
        subject: What it was about: a reference, a digest, a host, a path, a field.
        hint: What the user can do about it, if anything.
        side: Overrides the class's side. The registry client does not know whether it reads or
            writes for a job; who calls it sets the side with `at`.
    """

    code: str = "internal"
    side: Side = Side.INTERNAL
    retryable: bool = False

    def __init__(
        self, detail: str, *, subject: str = "", hint: str = "", side: Side | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.subject = subject
        self.hint = hint
        if side is not None:
            self.side = side

    def at(self, side: Side) -> TransshipError:
        """Say on which side of a job this happened, and return the error itself."""
        self.side = side
        return self

    def __str__(self) -> str:
        return sentence(self.subject, self.detail)

    def as_json(self) -> dict[str, Any]:
        """The error as jobs and problems show it (INTERFACE: Error)."""
        return {
            "code": self.code,
            "side": self.side.value,
            "subject": self.subject,
            "detail": self.detail,
            "hint": self.hint,
            "retryable": self.retryable,
        }


class InternalError(TransshipError):
    """A fault of this program. The log holds the traceback."""
