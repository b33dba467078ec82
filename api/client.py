"""Talks to a Transship server, over TCP or over a home's unix socket."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from store.errors import ProtocolError, RecordedError, ServerUnreachableError, Side

_PREFIX = "/api/v1"
_WAIT_SECONDS = 30
_READING = httpx.Timeout(600, connect=5)  # the server reads whole layers before it answers
_BODY_SECONDS = 300  # a body's last piece may have to be hashed, and a layer's size to be found
_SILENCE_SECONDS = 60  # a stream says every 15 s that the server lives


class RefusedError(RecordedError):
    """The server refused a request; *status* is HTTP's."""

    def __init__(self, recorded: dict[str, Any], status: int) -> None:
        """Take the facts from the problem that the server sent."""
        super().__init__(recorded)
        self.http_status = status


class Client:
    """A server, as its API describes itself. Whoever makes it closes it."""

    def __init__(
        self, base_url: str, *, socket: Path | None = None, token: str | None = None
    ) -> None:
        """Talk to *base_url*, through the unix *socket* where one is given, with *token*."""
        self._where = str(socket) if socket is not None else base_url
        # The certificates of this machine, where an operator puts a CA of the house.
        secure = base_url.startswith("https:")
        self._http = httpx.Client(
            verify=ssl.create_default_context() if secure else True,
            base_url=base_url,
            transport=httpx.HTTPTransport(uds=str(socket)) if socket is not None else None,
            headers={"Authorization": f"Bearer {token}"} if token else {},
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

    def send(
        self,
        path: str,
        body: Iterable[bytes],
        *,
        params: dict[str, Any],
        size: int | None,
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """Ask for a job whose *body*, of *size* bytes where that is known, is sent along.

        A body that did not make it, too, made a job: one that has failed.
        """
        headers = {"Content-Type": "application/x-tar"}
        if size is not None:
            headers["Content-Length"] = str(size)
        if idempotency_key:
            headers["Idempotency-Key"] = idempotency_key
        with self._unreachable():
            response = self._http.post(
                _PREFIX + path,
                content=body,
                params=_given(**params),
                headers=headers,
                timeout=httpx.Timeout(_BODY_SECONDS, connect=5),
            )
        made = response.headers.get("Location", "")
        if response.is_success:
            job: dict[str, Any] = response.json()
            return job
        if made:
            return self.job(made.rpartition("/")[2])
        raise _refusal(response, self._where)

    @contextmanager
    def download(self, id_: str, *, compress: str) -> Iterator[Iterator[bytes]]:
        """The bytes of an export. An end that comes early raises ServerUnreachableError."""
        path = f"{_PREFIX}/exports/{_quoted(id_)}"
        timeout = httpx.Timeout(_BODY_SECONDS, connect=5)
        with (
            self._unreachable(),
            self._http.stream(
                "GET", path, params={"compress": compress}, timeout=timeout
            ) as response,
        ):
            if response.status_code != 200:
                response.read()
                raise _refusal(response, self._where)
            yield response.iter_raw()

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

    def log(self, id_: str, *, after: str = "0") -> dict[str, Any]:
        """A page of a job's log."""
        return self._object("GET", f"/jobs/{_quoted(id_)}/log", params={"after": after})

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
        headers = {"Last-Event-ID": str(after)}
        return self._lines(f"/jobs/{_quoted(id_)}/events", headers=headers)

    def _lines(
        self, path: str, *, headers: dict[str, str] | None = None, params: Any = None
    ) -> Iterator[dict[str, Any]]:
        """The objects of a stream, as they come."""
        with (
            self._unreachable(),
            self._http.stream(
                "GET",
                _PREFIX + path,
                params=params,
                headers={"Accept": "application/x-ndjson", **(headers or {})},
                timeout=httpx.Timeout(_SILENCE_SECONDS, connect=5),
            ) as response,
        ):
            if response.status_code != 200:
                response.read()
                raise _refusal(response, self._where)
            for line in response.iter_lines():
                if line:  # an empty one only says that the server lives
                    yield json.loads(line)

    def images(
        self, pattern: str | None, *, filters: Iterable[str] = (), all_: bool = False
    ) -> dict[str, Any]:
        """The images in the store."""
        params = _given(pattern=pattern, filter=list(filters), all=all_)
        return self._object("GET", "/images", params=params)

    def inspect(self, ref: str, *, platform: str | None = None) -> dict[str, Any]:
        """What is held of an image."""
        path = f"/images/{_quoted(ref)}/inspect"
        return self._object("GET", path, params=_given(platform=platform))

    def history(self, ref: str, *, platform: str | None = None) -> dict[str, Any]:
        """How an image came about."""
        path = f"/images/{_quoted(ref)}/history"
        return self._object("GET", path, params=_given(platform=platform))

    def children(self, ref: str) -> dict[str, Any]:
        """The images that were made from another."""
        return self._object("GET", f"/images/{_quoted(ref)}/children")

    def tag(self, ref: str, new: str) -> dict[str, Any]:
        """Give an image another name."""
        return self._object("POST", f"/images/{_quoted(ref)}/tag", json={"reference": new})

    def remove(
        self, ref: str, *, force: bool = False, noprune: bool = False
    ) -> list[dict[str, str]]:
        """Take a name away, and with its last name the image; given an ID, all of them."""
        removed: list[dict[str, str]] = self._ask(
            "DELETE", f"/images/{_quoted(ref)}", params=_given(force=force, noprune=noprune)
        )
        return removed

    def create(self, config: bytes, *, parent: str | None = None) -> dict[str, Any]:
        """Make an image of a config."""
        return self._object(
            "POST",
            "/images",
            content=config,
            params=_given(parent=parent),
            headers={"Content-Type": "application/json"},
            timeout=_READING,
        )

    def cached(
        self, config: dict[str, Any], *, parent: str | None = None, sources: Iterable[str] = ()
    ) -> dict[str, Any]:
        """Find the image that a step of a build gives."""
        body = {"config": config, "parent": parent, "from": list(sources)}
        return self._object("POST", "/images/cache", json=body)

    def create_workspace(
        self,
        name: str,
        reference: str | None = None,
        *,
        platform: str | None = None,
        busy: bool = False,
    ) -> dict[str, Any]:
        """Make a workspace over an image, or an empty one."""
        wanted = {"name": name, "reference": reference, "platform": platform, "busy": busy}
        return self._object("POST", "/workspaces", json=wanted)

    def workspaces(self) -> dict[str, Any]:
        """The workspaces."""
        return self._object("GET", "/workspaces")

    def workspace(self, name: str) -> dict[str, Any]:
        """A workspace."""
        return self._object("GET", _workspace(name))

    def change_workspace(self, name: str, *, busy: bool) -> dict[str, Any]:
        """Say whether somebody works in a workspace."""
        return self._object("PATCH", _workspace(name), json={"busy": busy})

    def remove_workspace(self, name: str) -> None:
        """Drop a workspace."""
        self._ask("DELETE", _workspace(name))

    def put_files(self, name: str, path: str, tar: Iterable[bytes]) -> dict[str, Any]:
        """Put the files of a tar into a directory of a workspace."""
        return self._object(
            "PUT",
            f"{_workspace(name)}/files",
            content=tar,
            params={"path": path},
            headers={"Content-Type": "application/x-tar"},
            timeout=_READING,
        )

    def delete_files(self, name: str, path: str) -> None:
        """Remove a path from a workspace."""
        self._ask("DELETE", f"{_workspace(name)}/files", params={"path": path}, timeout=_READING)

    def list_files(self, name: str, path: str) -> dict[str, Any]:
        """What a workspace has at a path and below it."""
        params = {"path": path, "list": True}
        return self._object("GET", f"{_workspace(name)}/files", params=params, timeout=_READING)

    def get_files(self, name: str, path: str) -> Iterator[bytes]:
        """The same as a tar."""
        return self._tar(f"{_workspace(name)}/files", params={"path": path})

    def workspace_changes(self, name: str) -> dict[str, Any]:
        """How a workspace differs from its image."""
        return self._object("GET", f"{_workspace(name)}/diff", timeout=_READING)

    def workspace_layer(self, name: str) -> Iterator[bytes]:
        """The same as the tar of a layer."""
        return self._tar(f"{_workspace(name)}/diff")

    def _tar(self, path: str, params: dict[str, str] | None = None) -> Iterator[bytes]:
        with (
            self._unreachable(),
            self._http.stream(
                "GET",
                _PREFIX + path,
                params=params,
                headers={"Accept": "application/x-tar"},
                timeout=_READING,
            ) as response,
        ):
            if response.status_code != 200:
                response.read()
                raise _refusal(response, self._where)
            yield from response.iter_raw()

    def usage(self) -> dict[str, Any]:
        """What images take up."""
        return self._object("GET", "/usage")

    def image_events(
        self,
        *,
        since: str | None = None,
        until: str | None = None,
        filters: Iterable[str] = (),
        follow: bool = False,
    ) -> Iterator[dict[str, Any]]:
        """Events of images; with *follow* also those that happen from now on, until *until*."""
        params = _given(since=since, until=until, filter=list(filters))
        if follow:
            yield from self._lines("/events", params=params)
            return
        while True:
            page = self._object("GET", "/events", params=params)
            yield from page["items"]
            if page["next"] is None:
                return
            params["cursor"] = page["next"]

    def inspect_remote(
        self, ref: str, *, credential: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """What a registry has under a reference."""
        headers = {"X-Registry-Auth": _registry_auth(credential)} if credential else {}
        return self._object("GET", f"/remote/{_quoted(ref)}/inspect", headers=headers)

    def search(self, term: str, *, filters: Iterable[str] = (), limit: int = 25) -> dict[str, Any]:
        """Search an index of images."""
        params = _given(term=term, filter=list(filters), limit=limit)
        return self._object("GET", "/search", params=params)

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

    def create_token(
        self, name: str | None, scopes: list[str], expires_in_seconds: int | None
    ) -> dict[str, Any]:
        """Make a token."""
        wanted = {"name": name, "scopes": scopes, "expires_in_seconds": expires_in_seconds}
        return self._object("POST", "/tokens", json=wanted)

    def tokens(self) -> dict[str, Any]:
        """The tokens, without the tokens themselves."""
        return self._object("GET", "/tokens")

    def remove_token(self, name: str) -> None:
        """Refuse a token from now on."""
        self._ask("DELETE", f"/tokens/{_quoted(name)}")

    def add_credential(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Give the server a credential to keep."""
        return self._object("POST", "/credentials", json=wanted)

    def credentials(self) -> dict[str, Any]:
        """The named credentials, without their secrets."""
        return self._object("GET", "/credentials")

    def remove_credential(self, name: str) -> None:
        """Let the server forget a credential."""
        self._ask("DELETE", f"/credentials/{_quoted(name)}")

    def _object(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self._ask(method, path, **options)
        return answer

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        with self._unreachable():
            response = self._http.request(method, _PREFIX + path, **options)
        if response.is_success:
            return response.json() if response.content else None
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


def _given(**values: Any) -> dict[str, Any]:
    """The parameters that say something."""
    return {name: value for name, value in values.items() if value}


def _registry_auth(credential: dict[str, Any]) -> str:
    """A credential as Docker's API takes it in a header."""
    fields = {name.replace("_token", "token"): value for name, value in credential.items()}
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()


def _workspace(name: str) -> str:
    return f"/workspaces/{quote(name, safe='')}"


def _quoted(segment: str) -> str:
    return quote(segment, safe="/:@")
