"""Bytes between the event loop and a thread that works on them, some mebibytes at a time.

Whoever is faster waits. Either side may give up, and the other hears of it at its next step.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Self

from transship.store.errors import IncompleteBodyError, TransshipError

MAX_BYTES = 2 * 1024 * 1024  # on their way in one pipe
SENT_BYTES = 256 * 1024  # small pieces are sent together
SILENCE_SECONDS = 300.0  # a client that neither sends nor takes anything for so long has gone
CHECK_SECONDS = 1.0

Write = Callable[[bytes], object]


class ClosedPipeError(Exception):
    """The other side has gone, and wants nothing more."""


class _Pipe:
    """What waits, under a lock, and how the event loop is told that it need not wait."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._moved = threading.Condition()
        self._wake = asyncio.Event()
        self._pieces: deque[bytes] = deque()
        self._bytes = 0
        self._ended = False
        self._closed = False

    def _put(self, data: bytes) -> None:
        self._pieces.append(data)
        self._bytes += len(data)

    def _wake_loop(self) -> None:
        if not self._wake.is_set():
            with suppress(RuntimeError):  # the loop has closed, and nobody waits
                self._loop.call_soon_threadsafe(self._wake.set)


class Inlet(_Pipe):
    """From the event loop to a thread; made on the loop.

    The thread reads it as a file, and calls `close` when it reads no more.
    """

    def __init__(self, *, silence_seconds: float = SILENCE_SECONDS) -> None:
        """A reader waits for *silence_seconds* at most."""
        super().__init__()
        self._silence_seconds = silence_seconds
        self._check: Callable[[], None] = lambda: None
        self._error: TransshipError | None = None

    async def write(self, data: bytes) -> None:
        """Hand *data* over, and wait while too much is waiting.

        Raises:
            ClosedPipeError: the thread reads no more.
        """
        with self._moved:
            self._put(data)
            self._moved.notify()
        while True:
            with self._moved:
                if self._closed:
                    raise ClosedPipeError
                if self._bytes <= MAX_BYTES:
                    return
                self._wake.clear()
            await self._wake.wait()

    def end(self, error: TransshipError | None = None) -> None:
        """Nothing more comes: it is whole, or this is why not."""
        with self._moved:
            self._ended, self._error = True, error
            self._moved.notify()

    def reader(self, check: Callable[[], None]) -> Self:
        """What the thread reads; *check* is called about once a second while nothing comes."""
        self._check = check
        return self

    def read(self, size: int, /) -> bytes:
        """At most *size* bytes; none at the end.

        Raises:
            IncompleteBodyError: it ended early, or nothing came for too long.
        """
        began = time.monotonic()
        while not self._ready():
            self._check()
            if time.monotonic() - began > self._silence_seconds:
                raise IncompleteBodyError(f"nothing came for {self._silence_seconds:.0f} s")
        with self._moved:
            if self._error is not None:
                raise self._error
            if not self._pieces:
                return b""
            data = self._pieces.popleft()
            if len(data) > size:
                self._pieces.appendleft(data[size:])
                data = data[:size]
            self._bytes -= len(data)
            if self._bytes <= MAX_BYTES:
                self._wake_loop()
        return data

    def close(self) -> None:
        """What is written from now on is not read."""
        with self._moved:
            self._closed = True
            self._wake_loop()

    def _ready(self) -> bool:
        with self._moved:
            return self._moved.wait_for(lambda: bool(self._pieces) or self._ended, CHECK_SECONDS)


class Outlet(_Pipe):
    """From a thread to the event loop; made on the loop, which iterates over it."""

    def __init__(self, *, silence_seconds: float = SILENCE_SECONDS) -> None:
        """A writer waits for *silence_seconds* at most until something is taken."""
        super().__init__()
        self._silence_seconds = silence_seconds
        self._error: Exception | None = None

    def write(self, data: bytes) -> None:
        """Hand *data* over, and wait while too much is waiting.

        Raises:
            ClosedPipeError: nobody reads it any more.
        """
        with self._moved:
            taken = self._moved.wait_for(
                lambda: self._bytes <= MAX_BYTES or self._closed, self._silence_seconds
            )
            if self._closed or not taken:
                raise ClosedPipeError
            self._put(data)
            self._wake_loop()

    def end(self, error: Exception | None = None) -> None:
        """Nothing more comes: it is whole, or this is why not."""
        with self._moved:
            self._ended, self._error = True, error
            self._wake_loop()

    def close(self) -> None:
        """It is not read any more."""
        with self._moved:
            self._closed = True
            self._moved.notify()

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield what comes; raises what it was ended with. Who leaves early calls `close`."""
        while True:
            with self._moved:
                data = self._next()
                self._moved.notify()
                if not data and self._ended:
                    if self._error is not None:
                        raise self._error
                    return
                if not data:
                    self._wake.clear()
            if data:
                yield data
            else:
                await self._wake.wait()

    def _next(self) -> bytes:
        """The next pieces; none where there are none."""
        taken: list[bytes] = []
        size = 0
        while self._pieces and size < SENT_BYTES:
            taken.append(self._pieces.popleft())
            size += len(taken[-1])
        self._bytes -= size
        return taken[0] if len(taken) == 1 else b"".join(taken)


async def pieces(write_all: Callable[[Write], object]) -> AsyncGenerator[bytes, None]:
    """Yield what *write_all*, on a thread of its own, writes; raises what that raises.

    Leaving early makes its next write fail.
    """
    outlet = Outlet()
    thread = threading.Thread(target=_fill, args=(outlet, write_all), name="answer", daemon=True)
    thread.start()
    try:
        async for data in outlet.pieces():
            yield data
    finally:
        outlet.close()


def _fill(outlet: Outlet, write_all: Callable[[Write], object]) -> None:
    try:
        write_all(outlet.write)
    except ClosedPipeError:
        outlet.end(TimeoutError("nobody takes it"))
    except Exception as error:  # noqa: BLE001 -- whoever reads must hear of it
        outlet.end(error)
    else:
        outlet.end()
