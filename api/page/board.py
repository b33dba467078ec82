"""What the page shows, read and rendered once for all who look at the same.

A part is read again when somebody wants it and it is older than its time; nobody looks, nothing is
read. What differs from login to login, as a form's secret, is in the frame around the parts.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from transship.api.http.auth import ADMIN, Caller
from transship.api.page import render
from transship.api.page.parts import PARTS, Parts

# How old a part may be. What is to be seen within two seconds is read at each look of a feed.
_SECONDS: Final = {"store": 15.0, "mirrors": 2.0}
_OTHERS: Final = 1.3
_KEPT: Final = 500  # parts, before those that nobody wants are forgotten


@dataclass(slots=True)
class _Rendered:
    at: float = float("-inf")
    html: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)


class Board:
    """The parts of all pages. Safe to use from many threads."""

    def __init__(self, parts: Parts, clock: Callable[[], float] = time.monotonic) -> None:
        """Read from *parts*."""
        self._parts = parts
        self._clock = clock
        self._lock = threading.Lock()
        self._rendered: dict[tuple[str, str, str], _Rendered] = {}

    def html(self, part: str, asking: Caller, subject: str = "") -> str:
        """The inner HTML of *part*, about *subject*, as whoever asks may see it.

        Raises:
            NotFoundError: there is no such subject, or not for whoever asks.
        """
        key = (part, subject, _sight(asking))
        with self._lock:
            kept = self._rendered.setdefault(key, _Rendered())
            if len(self._rendered) > _KEPT:
                self._forget()
        with kept.lock:
            if self._clock() - kept.at >= _SECONDS.get(part, _OTHERS):
                values: Mapping[str, Any] = PARTS[part](self._parts, asking, subject)
                kept.html = render.section(part, {"may": asking.may(ADMIN), **values})
                kept.at = self._clock()
            return kept.html

    def stale(self) -> None:
        """Something was changed from a page: let the next one show it."""
        with self._lock:
            self._rendered.clear()

    def _forget(self) -> None:
        before = self._clock() - 60.0
        for key in [key for key, kept in self._rendered.items() if kept.at < before]:
            del self._rendered[key]


def _sight(asking: Caller) -> str:
    """What those have in common who see the same."""
    if asking.may(ADMIN):
        return "admin"
    return "all" if asking.sees_all_jobs else asking.name
