"""How much of the server one caller may have at a time, and all callers together.

What takes long is counted while it lasts: answers that follow a job, downloads, bodies that go into
the store, questions to registries. The rest is short, and bounded by its own limits.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from transship.api.http.auth import LOCAL, Caller
from transship.store.errors import ThrottledError


@dataclass(frozen=True, slots=True)
class Share:
    """How many requests of a kind there may be.

    Attributes:
        name: What they are called.
        each: How many of one caller; more are refused.
        all: How many of all callers; more are refused.
        together: How many of one caller go on at a time, where the others wait.
    """

    name: str
    each: int
    all: int
    together: int | None = None


WAITS: Final = Share("requests that wait for news", 256, 768)
DOWNLOADS: Final = Share("downloads", 8, 32)
BODIES: Final = Share("uploads", 64, 256, together=4)  # of the server's threads for them half
QUESTIONS: Final = Share("questions to registries", 4, 16)

SHARES: Final = {
    "getJob": WAITS,
    "followJob": WAITS,
    "pageFeed": WAITS,
    "listImageEvents": WAITS,
    "downloadExport": DOWNLOADS,
    "getFiles": DOWNLOADS,
    "diffWorkspace": DOWNLOADS,
    "createLoad": BODIES,
    "createImport": BODIES,
    "putFiles": BODIES,
    "digestRemote": QUESTIONS,
    "inspectRemote": QUESTIONS,
    "listTags": QUESTIONS,
    "searchRegistry": QUESTIONS,
}


class Shares:
    """Counts what is open; lives in the event loop of the API."""

    def __init__(self) -> None:
        """Nothing is open."""
        self._of_each: Counter[tuple[Share, str]] = Counter()
        self._of_all: Counter[Share] = Counter()
        self._turns: dict[tuple[Share, str], asyncio.Semaphore] = {}

    @asynccontextmanager
    async def taken(self, operation: str, caller: Caller) -> AsyncIterator[None]:
        """Count an operation while the block runs, where it has a share.

        The owner of the home is one among all, and has no limit of its own.

        Raises:
            ThrottledError: the caller has its share already, or all together have theirs.
        """
        share = SHARES.get(operation)
        if share is None:
            yield
            return
        one = (share, caller.name)
        if caller is not LOCAL and self._of_each[one] >= share.each:
            raise ThrottledError(
                f"this token has {share.each} {share.name} open, and may have no more",
                subject=caller.name,
                hint="wait until one has ended",
            )
        if self._of_all[share] >= share.all:
            raise ThrottledError(
                f"this server has {share.all} {share.name} open, and takes no more",
                hint="try again in a while",
            )
        self._of_each[one] += 1
        self._of_all[share] += 1
        try:
            if share.together is None or caller is LOCAL:
                yield
            else:
                async with self._turns.setdefault(one, asyncio.Semaphore(share.together)):
                    yield
        finally:
            self._of_all[share] -= 1
            self._of_each[one] -= 1
            if not self._of_each[one]:
                del self._of_each[one]
                self._turns.pop(one, None)
