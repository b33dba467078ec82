"""The client for programs that block."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import httpx

from transship.client.calls import Calls
from transship.client.connect import (
    ANSWER_SECONDS,
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


def _blocking(
    function: Callable[Concatenate[Any, P], Call[T]],
) -> Callable[Concatenate[Client, P], T]:
    @wraps(function)
    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._result(function(self._calls, *args, **kwargs))

    documented(method, function, "{}")
    return method


def _iterating(
    function: Callable[Concatenate[Any, P], Items[T]],
) -> Callable[Concatenate[Client, P], Generator[T, None, None]]:
    @wraps(function)
    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> Generator[T, None, None]:
        return self._items(function(self._calls, *args, **kwargs))

    documented(method, function, "Iterator[{}]")
    return method


class Client:
    """A Transship server. Threads may share it; it is closed by `close`, or as a context manager.

    Its methods raise `ClientError` of a kind in `transship.client.errors`, and nothing else but
    what a file that they read or write raises.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout: float = ANSWER_SECONDS,
        reconnect: float = RECONNECT_SECONDS,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Prepare to talk to a server; nothing is sent yet.

        Args:
            url: `http://HOST:PORT` or `https://HOST`; by default what TRANSSHIP_URL says, or else
                the address of the server on this machine.
            token: By default what TRANSSHIP_TOKEN says, or else, for a server on this machine, the
                token in the data directory.
            timeout: Seconds that the server has for an answer.
            reconnect: Seconds for which a connection that was lost is made again.
            transport: Another way to the server than a connection to *url*.

        Raises:
            InvalidRequestError: a setting is wrong, or others could read the token.
        """
        self._calls, options = calls_to(url, token, timeout=timeout, reconnect=reconnect)
        self._http = httpx.Client(transport=transport, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    submit = _blocking(Calls.submit)
    job = _blocking(Calls.job)
    jobs = _iterating(Calls.jobs)
    wait = _blocking(Calls.wait)
    follow = _iterating(Calls.follow)
    log = _iterating(Calls.log)
    transfers = _blocking(Calls.transfers)
    cancel = _blocking(Calls.cancel)
    retry = _blocking(Calls.retry)
    load = _blocking(Calls.load)
    import_image = _blocking(Calls.import_image)
    export = _blocking(Calls.export)
    save = _blocking(Calls.save)
    images = _blocking(Calls.images)
    inspect = _blocking(Calls.inspect)
    inspect_remote = _blocking(Calls.inspect_remote)
    tag = _blocking(Calls.tag)
    remove = _blocking(Calls.remove)
    mirrors = _blocking(Calls.mirrors)
    mirror = _blocking(Calls.mirror)
    run_mirror = _blocking(Calls.run_mirror)
    verify_mirror = _blocking(Calls.verify_mirror)
    mirror_runs = _blocking(Calls.mirror_runs)

    def _result(self, steps: Steps[T]) -> T:
        for step in self._taken(steps):
            if isinstance(step, Returned):
                result: T = step.value
                return result
        raise AssertionError("a call ends with what it returns")

    def _items(self, steps: Steps[None]) -> Generator[Any, None, None]:
        with closing(self._taken(steps)) as taken:
            for step in taken:
                if isinstance(step, Give):
                    yield step.item

    def _taken(self, steps: Steps[T]) -> Generator[Give[Any] | Returned[T], None, None]:
        """Take the steps of a call; what they give, and what it returns at last, comes out."""
        with ExitStack() as streams, closing(steps):
            pieces: Iterator[bytes] = iter(())
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
                            time.sleep(seconds)
                        case Do(function):
                            outcome = function()
                        case Ask(request, body):
                            content = None if body is None else pieces_of(body)
                            outcome = ask(self._http, request, content)
                        case Open(request):
                            streams.close()
                            response = streams.enter_context(self._http.stream(**sent(request)))
                            pieces = response.iter_bytes()
                            whole = b"" if response.status_code == 200 else b"".join(pieces)
                            outcome = Answer(request, response.status_code, whole)
                        case Read():
                            outcome = next(pieces, b"")
                except httpx.RequestError as error:
                    outcome = failure(self._calls.where, error)
