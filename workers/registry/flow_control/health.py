"""Which registries do not answer, so that they are asked now and then and not all the time.

Counted by each process for itself; what follows from it is told to functions, for all processes
to share. A connection that breaks in the middle of a blob says nothing about the registry: only
requests that got no answer, or one that says "out of order", count.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

from transship.store.errors import RegistryError, UnreachableError

FAILURES = 3  # in a row, and the registry is left alone for a while


class RegistryHealth:
    """Watches the answers of all registries; may be used from many threads at once.

    Args:
        on_failing: Told of a registry from its third failure in a row on, or when a probe has
            failed; the second argument says whether it has.
        on_answer: Told when a probe got an answer, with the token of the probe.
    """

    def __init__(
        self,
        on_failing: Callable[[str, bool], None] = lambda _registry, _probed: None,
        on_answer: Callable[[str, float], None] = lambda _registry, _token: None,
    ) -> None:
        self._on_failing = on_failing
        self._on_answer = on_answer
        self._lock = threading.Lock()
        self._failures: Counter[str] = Counter()
        self._probes: dict[str, float] = {}

    def probe(self, registry: str, token: float) -> None:
        """Report the next answer of *registry*, or its absence, at once: others wait for it."""
        with self._lock:
            self._probes[registry] = token

    def answered(self, registry: str, status: int) -> None:
        """Note an answer: below 500 the registry is well; 429 is for others to deal with."""
        if status >= 500:
            self.failed(registry)
        elif status != 429 and (registry in self._failures or registry in self._probes):
            with self._lock:
                self._failures.pop(registry, None)
                token = self._probes.pop(registry, None)
            if token is not None:
                self._on_answer(registry, token)

    def failed(self, registry: str) -> None:
        """Note that a request got no answer."""
        with self._lock:
            self._failures[registry] += 1
            probed = self._probes.pop(registry, None) is not None
            failing = probed or self._failures[registry] >= FAILURES
        if failing:
            self._on_failing(registry, probed)

    def raised(self, registry: str, error: RegistryError) -> None:
        """Note an error that came instead of an answer: of the network, or the token server's."""
        if isinstance(error, UnreachableError) or error.http_status >= 500:
            self.failed(registry)
