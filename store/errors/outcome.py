"""How a job can end other than by an error of its own."""

from __future__ import annotations

from typing import Any

from transship.store.errors.error import Side, TransshipError


class DeadlineExceededError(TransshipError):
    """The job's deadline passed."""

    code = "deadline-exceeded"
    side = Side.REQUEST


class RepeatedCrashError(TransshipError):
    """Every worker that took this up died over it without getting further."""

    code = "repeated-death"


class RecordedError(TransshipError):
    """A failure that a transfer wrote down, met again by a job that waited for it."""

    code = "recorded"

    def __init__(self, recorded: dict[str, Any]) -> None:
        """Take the facts from *recorded*, the JSON form of the error."""
        super().__init__(
            str(recorded["detail"]),
            subject=str(recorded["subject"]),
            hint=str(recorded["hint"]),
            side=Side(recorded["side"]),
        )
        self.recorded = recorded

    def as_json(self) -> dict[str, Any]:
        """The error as it was recorded, with the attempts that were made."""
        return dict(self.recorded)


class ReportedError(TransshipError):
    """The job did what it could, and failed over the rest; *report* is its result."""

    code = "reported"

    def __init__(
        self,
        detail: str,
        *,
        subject: str = "",
        hint: str = "",
        side: Side | None = None,
        report: dict[str, Any],
    ) -> None:
        super().__init__(detail, subject=subject, hint=hint, side=side)
        self.report = report


class PartialError(ReportedError):
    """Some children of a mirror failed; the report says which."""

    code = "partial"
    side = Side.SOURCE


class DamagedStoreError(ReportedError):
    """Blobs that are in use are wrong or missing; the report says which."""

    code = "store-damaged"
    side = Side.STORE
