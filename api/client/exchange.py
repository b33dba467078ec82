"""Asks a Transship server, over TCP or over a home's unix socket, and reads what it answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote, urlsplit

from transship.api.client.http import HttpClient, Response, TransportError
from transship.store.errors import (
    ProtocolError,
    RecordedError,
    RequestError,
    ServerUnreachableError,
    Side,
)
from transship.workers.registry.transport.addresses import is_loopback

_PREFIX = "/api/v1"
# Seconds without a byte. A stream says every 15 s that the server lives.
_SILENCE: Final = 60.0
READING: Final = 600.0  # the server reads whole layers before it answers
BODY: Final = 300.0  # a body's last piece may have to be hashed, and a layer's size to be found


class RefusedError(RecordedError):
    """The server refused a request; *status* is HTTP's."""

    def __init__(self, recorded: dict[str, Any], status: int) -> None:
        """Take the facts from the problem that the server sent."""
        super().__init__(recorded)
        self.http_status = status


class Exchange:
    """Connections to one server, and the ways to ask it. Whoever makes it closes it."""

    def __init__(
        self,
        base_url: str,
        *,
        socket: Path | None = None,
        token: str | None = None,
        over_http: bool = False,
    ) -> None:
        """Talk to *base_url*, through the unix *socket* where one is given, with *token*.

        *over_http* lets secrets go over plain HTTP beyond this machine.

        Raises:
            RequestError: the token would, and must not.
        """
        url = urlsplit(base_url)
        local = socket is not None or is_loopback(url.hostname or "")
        self._private = local or over_http or url.scheme == "https"
        self._asked_before = socket is not None
        if token is not None:
            self._check_private("the token", base_url)
        self._where = str(socket) if socket is not None else base_url
        self._http = HttpClient(base_url, unix_socket=socket, token=token)

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
        self._http.close()

    def be_quick(self, seconds: float) -> None:
        """Wait for no answer longer than *seconds*."""
        self._http.most_seconds = seconds

    def alive(self) -> bool:
        """Whether a server answers."""
        try:
            return self._http.request("GET", "/livez", timeout=2).status == 200
        except TransportError:
            return False

    def _check_private(self, what: str, where: str) -> None:
        if not self._private:
            raise RequestError(
                f"{what} would go over plain HTTP, where others can read it",
                subject=where,
                hint="use https, or set TRANSSHIP_TOKEN_OVER_HTTP=1 where the network is your own",
            )

    def _before_logins(self, logins: object) -> None:
        """See to it that *logins* for registries, if there are any, reach nobody but the server.

        It is asked something first that needs the token, so that one who refuses that, or is no
        Transship server, gets no login.

        Raises:
            RequestError: others could read them.
            RefusedError, ProtocolError, ServerUnreachableError: there is no such server.
        """
        if not logins:
            return
        self._check_private("registry logins", self._where)
        if not self._asked_before:
            self._object("GET", "/limits")
            self._asked_before = True

    def _object(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self._ask(method, path, **options)
        return answer

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        response = self._response(method, path, **options)
        if not response.is_success:
            raise self._refusal(response)
        return response.json() if response.content else None

    def _lines(
        self, path: str, *, headers: dict[str, str] | None = None, params: Any = None
    ) -> Iterator[dict[str, Any]]:
        """The objects of a stream, as they come."""
        accept = {"Accept": "application/x-ndjson", **(headers or {})}
        with self._stream(path, params=params, headers=accept, timeout=_SILENCE) as response:
            for line in response.lines():
                if line:  # an empty one only says that the server lives
                    yield json.loads(line)

    def _tar(self, path: str, params: dict[str, str] | None = None) -> Iterator[bytes]:
        """The bytes of a tar, as they come."""
        accept = {"Accept": "application/x-tar"}
        with self._stream(path, params=params, headers=accept, timeout=READING) as response:
            yield from response.pieces()

    def _response(self, method: str, path: str, **options: Any) -> Response:
        """The answer to a request, a refusal too."""
        with self._unreachable():
            return self._http.request(method, _PREFIX + path, **options)

    @contextmanager
    def _stream(self, path: str, **options: Any) -> Iterator[Response]:
        """An answer that is read as it comes."""
        with self._unreachable(), self._http.stream("GET", _PREFIX + path, **options) as response:
            if response.status != 200:
                response.read()
                raise self._refusal(response)
            yield response

    @contextmanager
    def _unreachable(self) -> Iterator[None]:
        try:
            yield
        except TransportError as error:
            raise ServerUnreachableError(
                f"no Transship server answers: {error}",
                subject=self._where,
                hint="check TRANSSHIP_URL, or start one with `transship up`",
            ) from error

    def _refusal(self, response: Response) -> Exception:
        try:
            body = response.json()
            return RefusedError(body, response.status)
        except (ValueError, KeyError, TypeError):
            return ProtocolError(
                f"answered {response.status}, and not as a Transship server does",
                subject=self._where,
                hint="check TRANSSHIP_URL",
                side=Side.REQUEST,
            )


def given(**values: Any) -> dict[str, Any]:
    """The parameters that say something."""
    return {name: value for name, value in values.items() if value}


def quoted(segment: str) -> str:
    """A reference or a name as one part of a path.

    Raises:
        RequestError: it has a part that would lead to another path.
    """
    if not {".", ".."}.isdisjoint(segment.split("/")):
        raise RequestError("no name has `.` or `..` as a part", subject=segment)
    return quote(segment, safe="/:@")
