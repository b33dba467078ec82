"""What a registry says about its limits (Docker Hub's headers, and the IETF draft's).

When little is left of a window, requests are spaced out; when nothing is, the budget of the
credential is parked by whoever is told of it.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx

SCARCE_SHARE = 0.2  # of the window's requests
SCARCE_REQUESTS = 10  # where the window's total is not told
LONGEST_SPACE_SECONDS = 1.0

_VALUE = re.compile(r"\s*(\d{1,12})\s*(?:;\s*w=(\d{1,9}))?")


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How much is left of a limit.

    Args:
        registry: Whose.
        credential: The fingerprint of the credential that it holds for; empty: for requests
            without one.
        remaining: How many requests are left; 0 is the time to leave it alone.
        total: How many the window has, if told.
        window_seconds: The length of the limit's window, if told.
        reset_seconds: When it begins anew, if told.
    """

    registry: str
    remaining: int
    credential: str = ""
    total: int | None = None
    window_seconds: int | None = None
    reset_seconds: int | None = None


def read_rate_limit(
    registry: str, headers: httpx.Headers, credential: str = ""
) -> RateLimit | None:
    """Return what the headers of an answer say; None if they say nothing."""
    left = _VALUE.match(headers.get("ratelimit-remaining", ""))
    if left is None:
        return None
    total = _VALUE.match(headers.get("ratelimit-limit", ""))
    reset = _VALUE.match(headers.get("ratelimit-reset", ""))
    return RateLimit(
        registry,
        remaining=int(left.group(1)),
        credential=credential,
        total=None if total is None else int(total.group(1)),
        window_seconds=int(left.group(2)) if left.group(2) else None,
        reset_seconds=None if reset is None else int(reset.group(1)),
    )


class Spacing:
    """Spaces out the requests of this process with credentials whose limit is nearly used up."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._spaces: dict[tuple[str, str], float] = {}
        self._next: dict[tuple[str, str], float] = {}

    def note(self, limit: RateLimit) -> None:
        """Take note of what an answer said."""
        scarce = SCARCE_REQUESTS if limit.total is None else limit.total * SCARCE_SHARE
        with self._lock:
            if limit.remaining == 0 or limit.remaining > scarce:
                self._spaces.pop((limit.registry, limit.credential), None)
                self._next.pop((limit.registry, limit.credential), None)
                return
            told = (limit.reset_seconds, limit.window_seconds)
            left = next((seconds for seconds in told if seconds is not None), 60)
            space = min(left / limit.remaining, LONGEST_SPACE_SECONDS)
            self._spaces[limit.registry, limit.credential] = space

    def request(self, registry: str, credential: str = "") -> float:
        """Count a request about to be sent with a credential, by its fingerprint.

        For how many seconds to wait before it.
        """
        key = (registry, credential)
        if key not in self._spaces:
            return 0.0
        with self._lock:
            now = self._clock()
            turn = max(self._next.get(key, now), now)
            self._next[key] = turn + self._spaces.get(key, 0.0)
        return turn - now
