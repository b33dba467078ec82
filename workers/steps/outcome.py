"""What an advance comes back with. A failure is an exception."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Waiting:
    """Transfers or children have to end first; they will wake the job."""


@dataclass(frozen=True, slots=True)
class Later:
    """Nothing to wait for in the catalog: look again after *seconds*."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Done:
    """The job has succeeded. *writes* names the target that it held, if any."""

    result: dict[str, Any] = field(default_factory=dict)
    superseded_by: str | None = None


Outcome = Waiting | Later | Done
