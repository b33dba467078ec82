"""Wakes requests that wait for news of a job. They read SQL again; the wake-up carries nothing."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress

from transship.workers.runtime.wire import Wire

FALLBACK_SECONDS = 1.0  # an announcement may be lost: look again after so long


class Notifications:
    """Waiting requests by job; lives in the event loop of the API."""

    def __init__(self) -> None:
        """Begin with nobody waiting."""
        self.closing = False
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)

    @asynccontextmanager
    async def from_wire(self, wire: Wire) -> AsyncIterator[None]:
        """Listen on *wire* while the block runs."""
        loop = asyncio.get_running_loop()

        def on_job(job: str) -> None:
            with suppress(RuntimeError):  # the loop has closed
                loop.call_soon_threadsafe(self._wake, job)

        close = wire.listen(on_job)
        try:
            yield
        finally:
            await asyncio.to_thread(close)

    @asynccontextmanager
    async def of(self, jobs: Iterable[str]) -> AsyncIterator[asyncio.Event]:
        """An event that is set whenever there is news of one of *jobs*."""
        event = asyncio.Event()
        if self.closing:
            event.set()
        names = list(jobs)
        for job in names:
            self._waiting[job].add(event)
        try:
            yield event
        finally:
            for job in names:
                self._waiting[job].discard(event)
                if not self._waiting[job]:
                    del self._waiting[job]

    def close(self) -> None:
        """The server stops: wake everybody, and let nobody wait any more."""
        self.closing = True
        for events in self._waiting.values():
            for event in events:
                event.set()

    def _wake(self, job: str) -> None:
        for event in self._waiting.get(job, ()):
            event.set()


class Pace:
    """Lets things be done at once for a while, and then once in *seconds*.

    Args:
        seconds: After so long one more may be done at once.
        burst: How many may be, after a rest.
    """

    def __init__(self, seconds: float, *, burst: int) -> None:
        """Begin rested."""
        self._seconds = seconds
        self._burst = self._left = float(burst)
        self._at = time.monotonic()

    def pause(self) -> float:
        """Count one, and say how many seconds to wait before it."""
        now = time.monotonic()
        rested = self._left + (now - self._at) / self._seconds
        self._left = min(self._burst, rested) - 1
        self._at = now
        return max(0.0, -self._left * self._seconds)


async def wait(event: asyncio.Event, seconds: float) -> None:
    """Return when *event* is set, and clear it, or after *seconds*."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    event.clear()
