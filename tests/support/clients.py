"""Both clients for programs behind one interface, so that a test holds for both."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Literal

import httpx

from transship.client import AsyncClient, Client

Kind = Literal["blocking", "awaiting"]
KINDS: tuple[Kind, ...] = ("blocking", "awaiting")


def asked(kind: Kind, server: Mapping[str, Any], name: str, /, *args: Any, **options: Any) -> Any:
    """What the method *name* comes to; all the items of one that iterates.

    *server* is what the client is made with.
    """
    if kind == "blocking":
        with Client(**server) as client:
            found = getattr(client, name)(*args, **options)
            return list(found) if isinstance(found, Iterator) else found

    async def ask() -> Any:
        async with AsyncClient(**server) as client:
            found = getattr(client, name)(*args, **options)
            if isinstance(found, AsyncIterator):
                return [item async for item in found]
            return await found

    return asyncio.run(ask())


class Watched(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """A connection to a server that tells when a request has been sent and its answer is awaited.

    It serves one client, of either kind.
    """

    def __init__(self, kind: Kind) -> None:
        self.waiting = threading.Event()
        self._blocking = httpx.HTTPTransport() if kind == "blocking" else None
        self._awaiting = httpx.AsyncHTTPTransport() if kind == "awaiting" else None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions["trace"] = self._traced
        assert self._blocking is not None
        return self._blocking.handle_request(request)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        async def traced(name: str, info: Any) -> None:
            self._traced(name, info)

        request.extensions["trace"] = traced
        assert self._awaiting is not None
        return await self._awaiting.handle_async_request(request)

    def close(self) -> None:
        if self._blocking is not None:
            self._blocking.close()

    async def aclose(self) -> None:
        if self._awaiting is not None:
            await self._awaiting.aclose()

    def _traced(self, name: str, info: Any) -> None:
        if name == "http11.receive_response_headers.started":
            self.waiting.set()
