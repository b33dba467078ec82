"""Keeps to the requests and bytes a second that are set for a registry, over all workers.

A bucket is one number a registry and kind, the time at which what was taken so far is paid for
(the generic cell rate algorithm): whoever takes moves it ahead, and waits until it. With Redis it
lies there, so that all workers share it (`redis_rates`); without, in this process.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.scheduling.admission import limits
from transship.store.catalog.scheduling.admission.limits import RegistryLimits
from transship.store.errors import StoreError

log = logging.getLogger(__name__)

RELOAD_SECONDS = 1.0  # how late a changed rate is noticed
BURST_SECONDS = 0.25  # so much may be sent at once before anybody waits
TAKE_SECONDS = 0.1  # bytes are taken from the bucket for so long at a time, not chunk by chunk


class Buckets(Protocol):
    """Where the buckets are kept."""

    def take(self, key: str, seconds: float) -> float:
        """Take what lasts *seconds* at the bucket's rate; for how long to wait before using it."""


@dataclass(slots=True)
class LocalBuckets:
    """Buckets of this process."""

    clock: Callable[[], float] = time.monotonic
    _paid: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, key: str, seconds: float) -> float:
        """Move the bucket ahead under a lock."""
        now = self.clock()
        with self._lock:
            paid = max(self._paid.get(key, 0.0), now - BURST_SECONDS) + seconds
            self._paid[key] = paid
        return max(0.0, paid - now)


class Rates:
    """The rates that are set for registries, as the catalog has them: a registry client's pacer."""

    def __init__(self, catalog: Catalog, buckets: Buckets) -> None:
        """Read rates from *catalog*, and keep to them by *buckets*."""
        self._catalog = catalog
        self._buckets = buckets
        self._lock = threading.Lock()
        self._set: dict[str, RegistryLimits] = {}
        self._read_at = float("-inf")
        self._in_hand: dict[str, int] = {}  # bytes taken from the bucket and not used yet

    def request(self, registry: str) -> float:
        """Count a request about to go to *registry*; for how many seconds to wait first."""
        rate = self._of(registry).requests_per_second
        return self._buckets.take(f"requests:{registry}", 1 / rate) if rate else 0.0

    def bytes(self, registry: str, count: int) -> float:
        """Count bytes of a blob that went to or from *registry*; seconds to wait before more."""
        rate = self._of(registry).bytes_per_second
        if not rate:
            return 0.0
        with self._lock:
            left = self._in_hand.get(registry, 0) - count
            taken = 0 if left >= 0 else max(-left, round(rate * TAKE_SECONDS))
            self._in_hand[registry] = left + taken
        return self._buckets.take(f"bytes:{registry}", taken / rate) if taken else 0.0

    def _of(self, registry: str) -> RegistryLimits:
        now = time.monotonic()
        if now - self._read_at > RELOAD_SECONDS:
            self._read_at = now  # others go on with what is known
            try:
                with self._catalog.read() as connection:
                    self._set = limits.of_registries(connection)
            except StoreError as error:
                log.warning("the rates of registries cannot be read: %s", error)
        return self._set.get(registry, _OPEN)


_OPEN = RegistryLimits()
