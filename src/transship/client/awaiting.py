"""The client for programs that await, on asyncio."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, aclosing, closing
from functools import wraps
from types import TracebackType
from typing import Any, BinaryIO, Concatenate, ParamSpec, Self, TypeVar

import httpx

from transship.api.client.requests import Request
from transship.client.calls import Calls
from transship.client.connect import (
    ANSWER_SECONDS,
    PIECE_BYTES,
    RECONNECT_SECONDS,
    ask,
    calls_to,
    failure,
    pieces_of,
    sent,
)
from transship.client.steps import (
    Answer,
    Ask,
    Call,
    Do,
    Give,
    Items,
    Open,
    Read,
    Returned,
    Sleep,
    Steps,
    advance,
    documented,
)

P = ParamSpec("P")
T = TypeVar("T")


def _awaiting(
    function: Callable[Concatenate[Any, P], Call[T]],
) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]:
    @wraps(function)
    async def method(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._result(function(self._calls, *args, **kwargs))

    documented(method, function, "{}")
    return method


def _iterating(
    function: Callable[Concatenate[Any, P], Items[T]],
) -> Callable[Concatenate[AsyncClient, P], AsyncGenerator[T, None]]:
    @wraps(function)
    def method(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[T, None]:
        return self._items(function(self._calls, *args, **kwargs))

    documented(method, function, "AsyncIterator[{}]")
    return method


class AsyncClient:
    """A Transship server, as `Client`: the same methods, as coroutines and async iterators.

    Tasks of one event loop may share it; it is closed by `aclose`, or as an async context manager.
    An iterator that is left before its end keeps its connection until its own `aclose`.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout: float = ANSWER_SECONDS,
        reconnect: float = RECONNECT_SECONDS,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Prepare to talk to a server, as `Client` does with the same arguments.

        Raises:
            InvalidRequestError: a setting is wrong, or others could read the token.
        """
        self._calls, options = calls_to(url, token, timeout=timeout, reconnect=reconnect)
        self._http = httpx.AsyncClient(transport=transport, **options)
        # Files block, so a thread sends them. It also sees an answer that comes before their end:
        # when the server closes then, asyncio drops what it has not read yet.
        self._sending = httpx.Client(**options) if transport is None else None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()
        if self._sending is not None:
            self._sending.close()

    submit = _awaiting(Calls.submit)
    job = _awaiting(Calls.job)
    jobs = _iterating(Calls.jobs)
    wait = _awaiting(Calls.wait)
    follow = _iterating(Calls.follow)
    log = _iterating(Calls.log)
    transfers = _awaiting(Calls.transfers)
    cancel = _awaiting(Calls.cancel)
    retry = _awaiting(Calls.retry)
    load = _awaiting(Calls.load)
    import_image = _awaiting(Calls.import_image)
    export = _awaiting(Calls.export)
    save = _awaiting(Calls.save)
    images = _awaiting(Calls.images)
    inspect = _awaiting(Calls.inspect)
    inspect_remote = _awaiting(Calls.inspect_remote)
    tag = _awaiting(Calls.tag)
    remove = _awaiting(Calls.remove)
    mirrors = _awaiting(Calls.mirrors)
    mirror = _awaiting(Calls.mirror)
    run_mirror = _awaiting(Calls.run_mirror)
    verify_mirror = _awaiting(Calls.verify_mirror)
    mirror_runs = _awaiting(Calls.mirror_runs)

    async def _result(self, steps: Steps[T]) -> T:
        async with aclosing(self._taken(steps)) as taken:
            async for step in taken:
                if isinstance(step, Returned):
                    result: T = step.value
                    return result
        raise AssertionError("a call ends with what it returns")

    async def _items(self, steps: Steps[None]) -> AsyncGenerator[Any, None]:
        async with aclosing(self._taken(steps)) as taken:
            async for step in taken:
                if isinstance(step, Give):
                    yield step.item

    async def _taken(self, steps: Steps[T]) -> AsyncGenerator[Give[Any] | Returned[T], None]:
        """Take the steps of a call; what they give, and what it returns at last, comes out."""
        async with AsyncExitStack() as streams:
            with closing(steps):
                pieces: AsyncIterator[bytes] | None = None
                outcome: object = None
                while True:
                    step = advance(steps, outcome)
                    outcome = None
                    try:
                        match step:
                            case Give():
                                yield step
                            case Returned():
                                yield step
                                return
                            case Sleep(seconds):
                                await asyncio.sleep(seconds)
                            case Do(function):
                                outcome = await asyncio.to_thread(function)
                            case Ask(request, body):
                                if body is not None and self._sending is not None:
                                    outcome = await _by_thread(self._sending, request, body)
                                    continue
                                content = None if body is None else _pieces(body)
                                asked = self._http.stream(**sent(request), content=content)
                                async with asked as response:
                                    whole = await response.aread()
                                outcome = Answer(request, response.status_code, whole)
                            case Open(request):
                                await streams.aclose()
                                asked = self._http.stream(**sent(request))
                                response = await streams.enter_async_context(asked)
                                refused = response.status_code != 200
                                whole = await response.aread() if refused else b""
                                pieces = response.aiter_bytes()
                                outcome = Answer(request, response.status_code, whole)
                            case Read():
                                assert pieces is not None
                                outcome = await anext(pieces, b"")
                    except httpx.RequestError as error:
                        outcome = failure(self._calls.where, error)


async def _by_thread(http: httpx.Client, request: Request, body: BinaryIO) -> Answer:
    cancelled = threading.Event()
    content = pieces_of(body, stopped=cancelled.is_set)
    try:
        return await asyncio.to_thread(ask, http, request, content)
    except asyncio.CancelledError:
        cancelled.set()
        raise


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
        yield piece
