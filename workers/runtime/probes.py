"""Small questions to registries, several at a time, and of each registry no more than so many.

A registry that does not answer keeps threads busy for as long as an answer may take: its own, and
nobody else's.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, Final, TypeVar

from transship.workers.registry.transport.transport import look_up

T = TypeVar("T")
R = TypeVar("R")

OF_REGISTRY: Final = 15  # threads, beside those of the jobs that ask: a HEAD a blob
MAX_THREADS: Final = 1024  # in all; there are as many as are needed
LOOK_UP_SECONDS: Final = 0.25


class Probes:
    """The threads that ask, of one process. May be used from many threads at once."""

    def __init__(self) -> None:
        """Start with no thread."""
        self._pool = ThreadPoolExecutor(MAX_THREADS, "probes")
        self._free: defaultdict[str, threading.Semaphore] = defaultdict(
            lambda: threading.Semaphore(OF_REGISTRY)
        )
        self._lock = threading.Lock()

    def ask(
        self, question: Callable[[T], R], items: Iterable[T], *, of: Callable[[T], str]
    ) -> list[R]:
        """Ask the registry *of* each item about it, and return the answers in their order.

        The calling thread asks too, so that it never waits for another one before it begins. What
        its waiting looks up for, that of the others does as well.

        Raises:
            Exception: what the first question raised that failed; no further one is asked then.
        """
        everything = list(items)
        by_registry: dict[str, deque[int]] = {}
        for number, item in enumerate(everything):
            by_registry.setdefault(of(item), deque()).append(number)
        asking = _Asking(question, everything, by_registry)
        for registry, numbers in by_registry.items():
            with self._lock:
                free = self._free[registry]
            # This thread takes one of them, wherever it is.
            wanted = len(numbers) - (len(by_registry) == 1)
            while wanted > 0 and free.acquire(blocking=False):
                wanted -= 1
                here = copy_context()  # a copy for each: no two threads may be in the same one
                self._pool.submit(here.run, asking.help, registry, free.release)
        asking.work()
        while not asking.done.wait(LOOK_UP_SECONDS):
            look_up()
        if asking.failure is not None:
            raise asking.failure
        return asking.answers

    def close(self) -> None:
        """Begin nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class _Asking:
    """One round of questions, on which several threads work."""

    def __init__(
        self,
        question: Callable[[Any], Any],
        items: Sequence[Any],
        by_registry: Mapping[str, deque[int]],
    ) -> None:
        self.answers: list[Any] = [None] * len(items)
        self.failure: BaseException | None = None
        self.done = threading.Event()
        self._items = items
        self._question = question
        self._lock = threading.Lock()
        self._by_registry = by_registry
        self._left = len(items)
        if not items:
            self.done.set()

    def help(self, registry: str, leave: Callable[[], object]) -> None:
        """Ask a registry, and let another one have the thread afterwards."""
        try:
            self.work(registry)
        finally:
            leave()

    def work(self, registry: str | None = None) -> None:
        """Ask, that registry alone or any, until nothing is left or something has failed."""
        while (number := self._take(registry)) is not None:
            try:
                self.answers[number] = self._question(self._items[number])
            except BaseException as error:  # noqa: BLE001 -- raised where the answers are awaited
                self._fail(error)
                return
            self._answered()

    def _take(self, registry: str | None) -> int | None:
        with self._lock:
            if self.failure is not None:
                return None
            if registry is not None:
                numbers = self._by_registry[registry]
            else:
                numbers = next((some for some in self._by_registry.values() if some), deque())
            return numbers.popleft() if numbers else None

    def _answered(self) -> None:
        with self._lock:
            self._left -= 1
            if not self._left:
                self.done.set()

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            if self.failure is None:
                self.failure = error
        self.done.set()
