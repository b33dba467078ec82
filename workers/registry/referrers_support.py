"""Which registries have no API for referrers, as far as this process has found out."""

from __future__ import annotations

import threading
import time
from typing import Final

FORGET_SECONDS: Final = 3600.0  # then a registry without the API is asked for it again


class ReferrersSupport:
    """What has refused the API. May be used from many threads; a late note costs a request."""

    def __init__(self) -> None:
        self._lacking: dict[str, float] = {}  # until when
        self._lock = threading.Lock()

    def may_have(self, *names: str) -> bool:
        """Whether the API is worth a request."""
        now = time.monotonic()
        with self._lock:
            return all(self._lacking.get(name, 0.0) <= now for name in names)

    def refused(self, name: str) -> None:
        """A registry, or a repository of it, has refused the API."""
        with self._lock:
            self._lacking[name] = time.monotonic() + FORGET_SECONDS
