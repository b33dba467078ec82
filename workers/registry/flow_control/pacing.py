"""How requests and bytes to a registry are spaced, where somebody limits them.

Who keeps the budgets is elsewhere; a pacer says at once how long to wait. The waiting is done
here, in the thread that moves the bytes, and goes on looking whether it should stop.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from transship.workers.registry.transport.limits import ATTENTION_SECONDS, PAUSE_SECONDS
from transship.workers.registry.transport.transport import look_up


class Pacer(Protocol):
    """Keeps the budgets of registries. Called by many threads; never blocks, never raises."""

    def request(self, registry: str) -> float:
        """Count a request about to be sent to *registry*; seconds to wait before it is sent."""

    def bytes(self, registry: str, count: int) -> float:
        """Count *count* bytes of a blob, moved to or from *registry*; seconds until the next."""


class Unpaced:
    """Nobody waits."""

    def request(self, registry: str) -> float:
        """Let every request go at once."""
        return 0.0

    def bytes(self, registry: str, count: int) -> float:
        """Let all bytes go at once."""
        return 0.0


def pause(seconds: float, check: Callable[[], None] | None = None) -> None:
    """Wait, at most a minute, and call *check* about once a second; what it raises ends it.

    Without one, it is that of the enclosing `attentive` block.
    """
    deadline = time.monotonic() + min(seconds, PAUSE_SECONDS)
    while (left := deadline - time.monotonic()) > 0:
        (check or look_up)()
        time.sleep(min(left, ATTENTION_SECONDS))
