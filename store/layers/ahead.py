"""Generators that run a little ahead of who takes from them, in threads.

To read a layer is mostly to inflate it, and the interpreter's lock is not held for that. So layers
are inflated side by side, and while what came out before is hashed and compressed.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from queue import SimpleQueue
from threading import Semaphore
from typing import Final, Generic, TypeVar

# Not a thread for each generator: glibc gives every new one memory that it has to touch first.
_THREADS: Final = min(4, len(os.sched_getaffinity(0)))

T = TypeVar("T")


@contextmanager
def side_by_side(each: Iterable[Generator[T]], ahead: int) -> Iterator[Iterator[Iterator[T]]]:
    """Run the generators of *each*, a few at once; give their items, one after the other's.

    Whoever takes them exhausts one iterator before asking for the next. Leaving ends the generators
    that still run, each after the item that it is at, and waits for that.

    Args:
        each: Run in threads; what one raises is raised where its next item would be.
        ahead: How many items of one may wait to be taken.
    """
    running: deque[_Ahead[T]] = deque()
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="ahead") as pool:
        try:
            yield _in_turn(each, ahead, running, pool)
        finally:
            for one in running:
                one.stop()


def _in_turn(
    each: Iterable[Generator[T]],
    ahead: int,
    running: deque[_Ahead[T]],
    pool: ThreadPoolExecutor,
) -> Iterator[Iterator[T]]:
    for items in each:
        one = _Ahead(items, ahead)
        pool.submit(one.run)
        running.append(one)
        if len(running) > _THREADS:  # one more than run, so that no thread waits for us
            yield iter(running[0])
            running.popleft()
    while running:
        yield iter(running[0])
        running.popleft()


class _End:
    """What follows the last item: nothing, or what the generator raised."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class _Ahead(Generic[T]):
    """Runs *items*, at most *ahead* of what was taken."""

    def __init__(self, items: Generator[T], ahead: int) -> None:
        self._items = items
        self._ready: SimpleQueue[T | _End] = SimpleQueue()
        self._room = Semaphore(ahead)
        self._stopped = False

    def __iter__(self) -> Iterator[T]:
        while not isinstance(item := self._ready.get(), _End):
            self._room.release()
            yield item
        if item.error is not None:
            raise item.error

    def stop(self) -> None:
        """Let the generator end, or not begin."""
        self._stopped = True
        self._room.release()

    def run(self) -> None:
        """Run the generator to its end, in the thread that calls."""
        raised: BaseException | None = None
        try:
            with closing(self._items):
                for item in () if self._stopped else self._items:
                    self._ready.put(item)
                    self._room.acquire()
                    if self._stopped:
                        break
        except BaseException as error:  # noqa: BLE001 -- it is the taker's
            raised = error
        self._ready.put(_End(raised))
