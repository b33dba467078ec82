"""Talks to a Transship server, over TCP or over a home's unix socket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from store.errors import ProtocolError, RecordedError, ServerUnreachableError, Side

_PREFIX = "/api/v1"
_WAIT_SECONDS = 30
_SILENCE_SECONDS = 60  # a stream says every 15 s that the server lives


class RefusedError(RecordedError):
    """The server refused a request; *status* is HTTP's."""

    def __init__(self, recorded: dict[str, Any], status: int) -> None:
        """Take the facts from the problem that the server sent."""
        super().__init__(recorded)
        self.http_status = status


class Client:
    """A server, as its API describes itself. Whoever makes it closes it."""

    def __init__(self, base_url: str, *, socket: Path | None = None) -> None:
        """Talk to *base_url*, through the unix *socket* where one is given."""
        self._where = str(socket) if socket is not None else base_url
        self._http = httpx.Client(
            base_url=base_url,
            transport=httpx.HTTPTransport(uds=str(socket)) if socket is not None else None,
            timeout=httpx.Timeout(60, connect=5),
            trust_env=False,
        )

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

    def alive(self) -> bool:
        """Whether a server answers."""
        try:
            return self._http.get("/livez", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def submit(
        self,
        spec: dict[str, Any],
        *,
        credentials: dict[str, Any],
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """Ask for a job."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return self._object(
            "POST", "/jobs", json={**spec, "credentials": credentials}, headers=headers
        )

    def job(self, id_: str) -> dict[str, Any]:
        """A job."""
        return self._object("GET", f"/jobs/{_quoted(id_)}")

    def wait(self, id_: str) -> dict[str, Any]:
        """A job, when it has ended."""
        while True:
            job = self._object("GET", f"/jobs/{_quoted(id_)}", params={"wait": _WAIT_SECONDS})
            if job["finished_at"] is not None:
                return job

    def jobs(self, **filters: Any) -> dict[str, Any]:
        """A page of jobs."""
        return self._object(
            "GET", "/jobs", params={k: v for k, v in filters.items() if v is not None}
        )

    def transfers(self, id_: str) -> dict[str, Any]:
        """A job's transfers."""
        return self._object("GET", f"/jobs/{_quoted(id_)}/transfers")

    def log(self, id_: str) -> dict[str, Any]:
        """A job's log."""
        return self._object("GET", f"/jobs/{_quoted(id_)}/log")

    def cancel(self, id_: str) -> dict[str, Any]:
        """Ask a job to stop."""
        return self._object("POST", f"/jobs/{_quoted(id_)}/cancel")

    def retry(self, id_: str, *, credentials: dict[str, Any]) -> dict[str, Any]:
        """Make a new job like an ended one."""
        return self._object(
            "POST", f"/jobs/{_quoted(id_)}/retry", json={"credentials": credentials}
        )

    def events(self, id_: str, *, after: int = 0) -> Iterator[dict[str, Any]]:
        """A job's events from *after* on, as they happen, until it has ended."""
        headers = {"Accept": "application/x-ndjson", "Last-Event-ID": str(after)}
        with (
            self._unreachable(),
            self._http.stream(
                "GET",
                f"{_PREFIX}/jobs/{_quoted(id_)}/events",
                headers=headers,
                timeout=httpx.Timeout(_SILENCE_SECONDS, connect=5),
            ) as response,
        ):
            if response.status_code != 200:
                response.read()
                raise _refusal(response, self._where)
            for line in response.iter_lines():
                if line:  # an empty one only says that the server lives
                    yield json.loads(line)

    def images(self, pattern: str | None) -> dict[str, Any]:
        """The references in the store."""
        return self._object("GET", "/images", params={"pattern": pattern} if pattern else {})

    def inspect(self, ref: str) -> dict[str, Any]:
        """What is held of an image."""
        return self._object("GET", f"/images/{_quoted(ref)}/inspect")

    def remove(self, ref: str, *, force: bool = False) -> list[dict[str, str]]:
        """Take a name away; with *force*, all names of what a digest or an ID stands for."""
        removed: list[dict[str, str]] = self._ask(
            "DELETE", f"/images/{_quoted(ref)}", params={"force": force} if force else {}
        )
        return removed

    def limits(self) -> dict[str, Any]:
        """The limits in force."""
        return self._object("GET", "/limits")

    def change_limits(self, change: dict[str, Any]) -> dict[str, Any]:
        """Put other values in force; what is absent stays."""
        return self._object("PATCH", "/limits", json=change)

    def reset_limits(self, registries: list[str]) -> dict[str, Any]:
        """Take overrides back: all of them, or those of some registries."""
        params = {"registry": registries} if registries else {}
        return self._object("DELETE", "/limits", params=params)

    def _object(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self._ask(method, path, **options)
        return answer

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        with self._unreachable():
            response = self._http.request(method, _PREFIX + path, **options)
        if response.is_success:
            return response.json()
        raise _refusal(response, self._where)

    @contextmanager
    def _unreachable(self) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            raise ServerUnreachableError(
                f"no Transship server answers: {str(error) or type(error).__name__}",
                subject=self._where,
                hint="check TRANSSHIP_URL, or start one with `transship up`",
            ) from error


def _refusal(response: httpx.Response, where: str) -> Exception:
    try:
        body = response.json()
        return RefusedError(body, response.status_code)
    except (ValueError, KeyError, TypeError):
        return ProtocolError(
            f"answered {response.status_code}, and not as a Transship server does",
            subject=where,
            hint="check TRANSSHIP_URL",
            side=Side.REQUEST,
        )


def _quoted(segment: str) -> str:
    return quote(segment, safe="/:@")
