"""A request's body, read as a file by a thread of the server that works on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import anyio
from anyio import from_thread, to_thread
from anyio.lowlevel import RunVar
from fastapi import Request
from starlette.requests import ClientDisconnect

from transship.api.http.pipes import SILENCE_SECONDS
from transship.store.errors import IncompleteBodyError

_T = TypeVar("_T")

MAX_AT_ONCE = 8  # compressing takes a processor each; others wait before they send
_limiter: RunVar[anyio.CapacityLimiter] = RunVar("bodies at once")


async def with_body(request: Request, work: Callable[[RequestBody], _T]) -> _T:
    """Run *work* in a thread, with the body of *request* to read, and return what it returns."""
    try:
        limiter = _limiter.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(MAX_AT_ONCE)
        _limiter.set(limiter)
    return await to_thread.run_sync(work, RequestBody(request), limiter=limiter)


class RequestBody:
    """See `transship.store.layers.codecs.formats.Source`; for threads of `with_body` only."""

    def __init__(self, request: Request) -> None:
        """Read nothing yet."""
        self._pieces = request.stream()
        self._left = b""

    def read(self, size: int, /) -> bytes:
        """At most *size* bytes; none at the end.

        Raises:
            IncompleteBodyError: it ended early, or nothing came for too long.
        """
        while not self._left:
            piece = from_thread.run(self._next)
            if piece is None:
                return b""
            self._left = piece
        data, self._left = self._left[:size], self._left[size:]
        return data

    async def _next(self) -> bytes | None:
        try:
            with anyio.fail_after(SILENCE_SECONDS):
                return await anext(self._pieces, None)
        except ClientDisconnect:
            raise IncompleteBodyError("the client went away before the body was whole") from None
        except TimeoutError:
            raise IncompleteBodyError(f"nothing came for {SILENCE_SECONDS:.0f} s") from None
