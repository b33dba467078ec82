"""What a registry says about its limits (Docker Hub's headers, and the IETF draft's)."""

from __future__ import annotations

import re
from dataclasses import dataclass

import httpx

_VALUE = re.compile(r"\s*(\d{1,12})\s*(?:;\s*w=(\d{1,9}))?")


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How much is left of a limit.

    Args:
        registry: Whose.
        remaining: How many requests are left; 0 is the time to leave it alone.
        window_seconds: The length of the limit's window, if told.
        reset_seconds: When it begins anew, if told.
    """

    registry: str
    remaining: int
    window_seconds: int | None = None
    reset_seconds: int | None = None


def read_rate_limit(registry: str, headers: httpx.Headers) -> RateLimit | None:
    """Return what the headers of an answer say; None if they say nothing."""
    left = _VALUE.match(headers.get("ratelimit-remaining", ""))
    if left is None:
        return None
    reset = _VALUE.match(headers.get("ratelimit-reset", ""))
    return RateLimit(
        registry,
        remaining=int(left.group(1)),
        window_seconds=int(left.group(2)) if left.group(2) else None,
        reset_seconds=None if reset is None else int(reset.group(1)),
    )
