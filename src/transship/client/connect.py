"""Which server a client talks to, and what `httpx` sends and raises for it."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Final

import httpx

from transship import __version__
from transship.api.client.requests import PREFIX, Request
from transship.api.client.server import is_private, readable, shown_token
from transship.client.calls import Calls
from transship.client.calls.exchange import given
from transship.client.errors import ClientError, InvalidRequestError, as_client_errors, lost
from transship.client.steps import Answer
from transship.store.errors import RequestError
from transship.store.settings import Settings

ANSWER_SECONDS: Final = 60.0
RECONNECT_SECONDS: Final = 15.0
PIECE_BYTES: Final = 64 * 1024
_CONNECT_SECONDS: Final = 5.0
_UNSPECIFIED: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- what a server may listen on


def calls_to(
    url: str | None, token: str | None, *, timeout: float, reconnect: float
) -> tuple[Calls, dict[str, Any]]:
    """The calls to a server, and what an httpx client is made with that sends them.

    Raises:
        InvalidRequestError: settings are wrong, or others could read the token.
    """
    with as_client_errors():
        settings = Settings.load(**given(url=url, token=token))
        where = (settings.url or _local_url(settings)).rstrip("/")
        secret = settings.token.get_secret_value() if settings.token is not None else None
        secret = shown_token(where, secret, settings.home)
        private = settings.token_over_http or is_private(where)
        if secret is not None and not private:
            raise readable("the token", where)
        if secret is not None and not (secret.isascii() and secret.isprintable()):
            raise RequestError("not a Transship token (truncated or mistyped)", subject="token")
    headers = {"Accept-Encoding": "identity", "User-Agent": f"transship/{__version__}"}
    if secret is not None:
        headers["Authorization"] = f"Bearer {secret}"
    options: dict[str, Any] = {
        "base_url": where,
        "headers": headers,
        "timeout": _timeout(timeout),
        # Neither proxies nor netrc: whoever needs a way of their own gives a transport.
        "trust_env": False,
    }
    if where.startswith("https:"):
        # The certificates of this machine, where an operator puts a CA of the house.
        options["verify"] = ssl.create_default_context()
    return Calls(where, private=private, timeout=timeout, reconnect=reconnect), options


def sent(request: Request) -> dict[str, Any]:
    """A request as httpx takes it."""
    wanted = {
        "method": request.method,
        "url": PREFIX + request.path,
        "params": given(**request.params),
        "json": request.json,
        "headers": request.headers,
    }
    if request.timeout is not None:
        wanted["timeout"] = _timeout(request.timeout)
    return wanted


def ask(http: httpx.Client, request: Request, content: Iterator[bytes] | None) -> Answer:
    """Send a request, with a body where there is *content*, and read the answer.

    Raises:
        httpx.RequestError: there is none.
    """
    with http.stream(**sent(request), content=content) as response:
        return Answer(request, response.status_code, b"".join(response.iter_bytes()))


def pieces_of(file: BinaryIO, *, stopped: Callable[[], bool] = lambda: False) -> Iterator[bytes]:
    """What is left of *file*, as a body.

    Raises:
        httpx.WriteError: it has *stopped* being wanted.
    """
    while piece := file.read(PIECE_BYTES):
        if stopped():
            raise httpx.WriteError("the call was cancelled")
        yield piece


def failure(where: str, error: httpx.RequestError) -> ClientError:
    """What *error* of httpx says about the server at *where*."""
    if isinstance(error, httpx.LocalProtocolError | httpx.UnsupportedProtocol):
        return InvalidRequestError.of(RequestError(f"it cannot be sent: {error}", subject=where))
    unsent = httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout | httpx.ProxyError
    timed_out = isinstance(error, httpx.TimeoutException)
    reason = "nothing came in time" if timed_out else str(error) or type(error).__name__
    return lost(where, reason, sent=not isinstance(error, unsent))


def _timeout(seconds: float) -> httpx.Timeout:
    return httpx.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS))


def _local_url(settings: Settings) -> str:
    """Where a server of this machine listens that has the same settings."""
    host = _UNSPECIFIED.get(settings.listen_host, settings.listen_host)
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{settings.listen_port}"
