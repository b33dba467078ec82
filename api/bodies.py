"""How long a request's body may be. It is counted as it arrives; nothing longer is kept."""

from __future__ import annotations

import re

from fastapi import HTTPException, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem
from store.errors import TooLargeError

MAX_BYTES = 1024 * 1024
MAX_JOB_BYTES = 16 * 1024 * 1024  # a mirror of 100,000 named tags, 128 characters each, and some

# What goes into the store as it arrives, and is bounded by the space there.
STREAMED = re.compile(r"/api/v1/(?:loads|imports|workspaces/[^/]+/files)")


class BodyLimit:
    """Answers 413 to a body above *max_bytes*; *longer* has patterns of longer ones' paths."""

    def __init__(self, app: ASGIApp, *, max_bytes: int, longer: dict[str, int]) -> None:
        """Stand before *app*."""
        self._app = app
        self._max_bytes = max_bytes
        self._longer = [(re.compile(path), most) for path, most in longer.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, with its body under watch."""
        if scope["type"] != "http" or STREAMED.fullmatch(scope["path"]) is not None:
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        path = scope["path"]
        fitting = (most for pattern, most in self._longer if pattern.fullmatch(path))
        most = next(fitting, self._max_bytes)
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > most:
            await problem(_too_large(request, most))(scope, receive, send)
            return
        arrived = 0

        async def counted() -> Message:
            nonlocal arrived
            message = await receive()
            if message["type"] == "http.request":
                arrived += len(message.get("body", b""))
                if arrived > most:
                    # FastAPI lets HTTP's own exceptions through, and makes 400 of all others.
                    raise HTTPException(413) from _too_large(request, most)
            return message

        await self._app(scope, counted, send)


def _too_large(request: Request, most: int) -> TooLargeError:
    return TooLargeError(f"the body has more than {most} bytes", subject=request.url.path)
