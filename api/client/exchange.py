"""Asks a Transship server, over TCP or over a home's unix socket, and reads what it answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from transship.api.client import requests
from transship.api.client.http import HttpClient, Response, TransportError
from transship.api.client.requests import PREFIX, READING, TAR, Request
from transship.api.client.server import is_private, no_server_of_ours, readable, unreachable
from transship.store.errors import RecordedError


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
        self._private = socket is not None or over_http or is_private(base_url)
        self._asked_before = socket is not None
        self._where = str(socket) if socket is not None else base_url
        if token is not None and not self._private:
            raise readable("the token", self._where)
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
        if not self._private:
            raise readable("registry logins", self._where)
        if not self._asked_before:
            self._object(requests.limits())
            self._asked_before = True

    def _object(self, request: Request, **body: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self._ask(request, **body)
        return answer

    def _ask(self, request: Request, **body: Any) -> Any:
        response = self._response(request, **body)
        if not response.is_success:
            raise self._refusal(response)
        return response.json() if response.content else None

    def _lines(self, request: Request) -> Iterator[dict[str, Any]]:
        """The objects of a stream, as they come."""
        with self._stream(request) as response:
            for line in response.lines():
                if line:  # an empty one only says that the server lives
                    yield json.loads(line)

    def _tar(self, path: str, params: dict[str, str] | None = None) -> Iterator[bytes]:
        """The bytes of a tar, as they come."""
        accept = {"Accept": TAR}
        request = Request("GET", path, params or {}, headers=accept, timeout=READING)
        with self._stream(request) as response:
            yield from response.pieces()

    def _response(self, request: Request, **body: Any) -> Response:
        """The answer to a request, a refusal too."""
        with self._unreachable():
            return self._http.request(
                request.method, PREFIX + request.path, **{**_options(request), **body}
            )

    @contextmanager
    def _stream(self, request: Request) -> Iterator[Response]:
        """An answer that is read as it comes."""
        options = _options(request)
        with (
            self._unreachable(),
            self._http.stream(request.method, PREFIX + request.path, **options) as response,
        ):
            if response.status != 200:
                response.read()
                raise self._refusal(response)
            yield response

    @contextmanager
    def _unreachable(self) -> Iterator[None]:
        try:
            yield
        except TransportError as error:
            raise unreachable(self._where, error) from error

    def _refusal(self, response: Response) -> Exception:
        try:
            body = response.json()
            return RefusedError(body, response.status)
        except (ValueError, KeyError, TypeError):
            return no_server_of_ours(self._where, response.status)


def _options(request: Request) -> dict[str, Any]:
    options = {"params": request.params, "json": request.json, "headers": request.headers}
    return options if request.timeout is None else {**options, "timeout": request.timeout}
