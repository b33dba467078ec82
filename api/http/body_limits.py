"""How long a request's body may be, and may take. It is counted as it arrives; no more is kept."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from typing import Final

from fastapi import HTTPException, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from transship.api.http.problems import problem
from transship.store.errors import TooLargeError

MAX_BYTES = 1024 * 1024
MAX_JOB_BYTES = 16 * 1024 * 1024  # a mirror of 100,000 named tags, 128 characters each, and some

# What goes into the store as it arrives, and is bounded by the space there.
STREAMED = re.compile(r"/api/v1/(?:loads|imports|workspaces/[^/]+/files)")


@dataclass(frozen=True, slots=True)
class Pace:
    """How long may be waited for a body in all: for its beginning, and more for what has come."""

    patience_seconds: float
    bytes_per_second: int

    def left(self, waited_seconds: float, arrived: int) -> float:
        """For how long its next piece is waited for."""
        return self.patience_seconds + arrived / self.bytes_per_second - waited_seconds


PACE: Final = Pace(10.0, 8 * 1024)
# What comes out of a pipe may pause while it is made; and of these a caller has few at a time.
STREAMED_PACE: Final = Pace(300.0, 8 * 1024)


class BodyLimit:
    """Answers 413 to a body above *max_bytes*; *longer* has patterns of longer ones' paths.

    A body that comes too slowly gets 408, or is cut off where it goes into the store as it comes.
    Only waiting counts: nobody is slow while the server does not read.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int, longer: dict[str, int]) -> None:
        """Stand before *app*."""
        self._app = app
        self._max_bytes = max_bytes
        self._longer = [(re.compile(path), most) for path, most in longer.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, with its body under watch."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if STREAMED.fullmatch(scope["path"]) is not None:
            await self._app(scope, _Paced(receive, STREAMED_PACE).or_end, send)
            return
        paced = _Paced(receive, PACE)
        request = Request(scope)
        path = scope["path"]
        fitting = (most for pattern, most in self._longer if pattern.fullmatch(path))
        most = next(fitting, self._max_bytes)
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > most:
            await problem(_too_large(request, most))(scope, receive, send)
            return

        async def counted() -> Message:
            # FastAPI lets HTTP's own exceptions through, and makes 400 of all others.
            try:
                message = await paced.next()
            except TimeoutError:
                raise HTTPException(
                    408, "the body comes too slowly", headers={"Connection": "close"}
                ) from None
            if paced.arrived > most:
                raise HTTPException(413) from _too_large(request, most)
            return message

        await self._app(scope, counted, send)


class _Paced:
    """The messages of a request, its body within a pace."""

    def __init__(self, receive: Receive, pace: Pace) -> None:
        self.arrived = 0
        self._receive = receive
        self._pace = pace
        self._waited = 0.0
        self._whole = False

    async def next(self) -> Message:
        """The next message.

        Raises:
            TimeoutError: the body comes too slowly.
        """
        if self._whole:  # what comes now is that the client has gone, whenever it does
            return await self._receive()
        began = time.monotonic()
        async with asyncio.timeout(self._pace.left(self._waited, self.arrived)):
            message = await self._receive()
        self._waited += time.monotonic() - began
        self.arrived += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        return message

    async def or_end(self) -> Message:
        """The next message, or that the client has gone where it is too slow."""
        try:
            return await self.next()
        except TimeoutError:
            return {"type": "http.disconnect"}


def _too_large(request: Request, most: int) -> TooLargeError:
    return TooLargeError(f"the body has more than {most} bytes", subject=request.url.path)
