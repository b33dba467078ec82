"""HTTP for a client that starts fast: the standard library's, over TCP, TLS or a unix socket.

A command lives for a tenth of a second; to import a larger library takes twice as long.
"""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final, Self
from urllib.parse import urlencode, urlsplit

CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 60.0
_PIECE_BYTES: Final = 64 * 1024
_REPEATABLE: Final = frozenset({"GET", "HEAD", "PUT", "DELETE"})  # RFC 9110, 9.2.2


class TransportError(Exception):
    """There is no answer, or it ended early."""


class Response:
    """An answer; its body is read once, in whole or as it comes."""

    def __init__(self, response: HTTPResponse) -> None:
        """Wrap *response*, whose head has been read."""
        self._response = response
        self.status = response.status
        self.headers = response.headers
        self.content = b""

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The body, which has been read, as JSON.

        Raises:
            ValueError: it is not.
        """
        return json.loads(self.content)

    def read(self) -> None:
        """Read the body into `content`."""
        self.content = b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """The bytes of the body, as they come.

        Raises:
            TransportError: it ends early, or nothing comes.
        """
        response = self._response
        with _translated():
            if response.chunked:
                while piece := response.read1(_PIECE_BYTES):
                    yield piece
                return
            while piece := response.read(min(_PIECE_BYTES, response.length or 0)):
                yield piece
            if response.length:
                raise TransportError("the answer ended early")

    def lines(self) -> Iterator[str]:
        """The lines of the body, as they come."""
        rest = b""
        for piece in self.pieces():
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                yield line.decode()
        if rest:
            yield rest.decode()


class HttpClient:
    """Connections to one server, kept for the next request. Whoever makes it closes it.

    Attributes:
        trace: Is told of every request of this process: a line for it and one for its answer,
            without headers and bodies, where secrets are.
    """

    trace: ClassVar[Callable[[str], None] | None] = None

    def __init__(
        self, base_url: str, *, unix_socket: Path | None = None, token: str | None = None
    ) -> None:
        """Talk to *base_url*, through *unix_socket* where one is given, with *token*."""
        url = urlsplit(base_url)
        self._host, self._port = url.hostname or "", url.port
        self._secure = url.scheme == "https"
        self._path = url.path.rstrip("/")
        self._unix_socket = unix_socket
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._idle: list[HTTPConnection] = []
        self.most_seconds: float | None = None  # for any wait, whatever a request allows

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
        """Let go of the connections."""
        while self._idle:
            self._idle.pop().close()

    def request(self, method: str, path: str, **options: Any) -> Response:
        """An answer, with its body; *options* as in `stream`.

        Raises:
            TransportError: there is none.
        """
        with self.stream(method, path, **options) as response:
            response.read()
            return response

    @contextmanager
    def stream(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        content: Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = ANSWER_SECONDS,
    ) -> Iterator[Response]:
        """An answer whose body is read in the block; *timeout* is for each wait, in seconds.

        What is sent is *json*, or *content* in chunks unless `Content-Length` is among *headers*.

        Raises:
            TransportError: there is none.
        """
        if self.most_seconds is not None:
            timeout = min(timeout, self.most_seconds)
        body, more = _encoded(json, content)
        asked = method, path + _query(params), body, {**more, **(headers or {})}
        # Neither headers nor body, and of a query that goes with one nothing: there are secrets.
        told = path if method != "GET" else path + _query(params)
        self._tell(f"> {method} {self._where()}{self._path}{told}")
        began = time.monotonic()
        connection = self._used(timeout)
        was_used = connection is not None
        try:
            connection = connection or self._opened(timeout)
        except TransportError as failed:
            self._tell_of(failed, began)
            raise
        try:
            with _translated():
                try:
                    response = self._ask(connection, *asked)
                except ConnectionError:  # the server may have closed it while this was on its way
                    if not was_used or method not in _REPEATABLE or content is not None:
                        raise
                    connection.close()
                    connection = self._opened(timeout)
                    response = self._ask(connection, *asked)
            self._tell(f"< {response.status} {response.reason}, after {_since(began)}")
            if response.length is None and not response.chunked:  # its end would be no proof
                raise TransportError("the answer does not say how long it is")
            yield Response(response)
            if response.isclosed() and not response.will_close:
                self._idle.append(connection)
                return
        except BaseException as failed:
            if isinstance(failed, TransportError):
                self._tell_of(failed, began)
            connection.close()
            raise
        connection.close()

    def _tell_of(self, failed: TransportError, began: float) -> None:
        self._tell(f"! {failed}, after {_since(began)}")

    def _tell(self, line: str) -> None:
        if HttpClient.trace is not None:
            HttpClient.trace(line)

    def _ask(
        self,
        connection: HTTPConnection,
        method: str,
        target: str,
        body: Iterable[bytes] | bytes | None,
        headers: Mapping[str, str],
    ) -> HTTPResponse:
        chunked = not isinstance(body, bytes | None) and "Content-Length" not in headers
        if chunked:
            headers = {**headers, "Transfer-Encoding": "chunked"}
        with suppress(BrokenPipeError, ConnectionResetError):  # it may have answered before the end
            connection.request(
                method,
                self._path + target,
                body,
                {**self.headers, **headers},
                encode_chunked=chunked,
            )
        return connection.getresponse()

    def _used(self, timeout: float) -> HTTPConnection | None:
        """A connection that was used before and is open still."""
        while self._idle:
            connection = self._idle.pop()
            if connection.sock is not None and not select.select([connection.sock], [], [], 0)[0]:
                connection.sock.settimeout(timeout)
                return connection
            connection.close()  # the server has closed it
        return None

    def _opened(self, timeout: float) -> HTTPConnection:
        connection = self._new()
        with _translated():
            connection.connect()
        connection.sock.settimeout(timeout)
        return connection

    def _where(self) -> str:
        if self._unix_socket is not None:
            return f"unix:{self._unix_socket}:"
        host = f"[{self._host}]" if ":" in self._host else self._host
        port = "" if self._port is None else f":{self._port}"
        return f"{'https' if self._secure else 'http'}://{host}{port}"

    def _new(self) -> HTTPConnection:
        seconds = min(CONNECT_SECONDS, self.most_seconds or CONNECT_SECONDS)
        if self._unix_socket is not None:
            return _UnixConnection(self._unix_socket, seconds)
        if self._secure:
            # The certificates of this machine, where an operator puts a CA of the house.
            import ssl  # noqa: PLC0415 -- it takes a while, and most servers are on this machine

            context = ssl.create_default_context()
            return HTTPSConnection(self._host, self._port, timeout=seconds, context=context)
        return HTTPConnection(self._host, self._port, timeout=seconds)


class _UnixConnection(HTTPConnection):
    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("transship", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise TransportError("nothing came in time") from error
    except (OSError, HTTPException) as error:
        raise TransportError(str(error) or type(error).__name__) from error


def _encoded(
    value: Any, content: Iterable[bytes] | None
) -> tuple[Iterable[bytes] | bytes | None, dict[str, str]]:
    if value is None:
        return content, {}
    return json.dumps(value).encode(), {"Content-Type": "application/json"}


def _since(began: float) -> str:
    return f"{1000 * (time.monotonic() - began):.0f} ms"


def _query(params: Mapping[str, Any] | None) -> str:
    """The part of a URL behind the path; of lists each value, of booleans JSON's words."""
    if not params:
        return ""
    plain = [
        (name, str(one).lower() if isinstance(one, bool) else one)
        for name, value in params.items()
        if value is not None
        for one in (value if isinstance(value, list | tuple) else [value])
    ]
    return "?" + urlencode(plain)
