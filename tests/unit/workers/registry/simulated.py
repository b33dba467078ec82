"""A registry in a function: token server, redirects, and a record of what was sent."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import httpx

from transship.workers.registry.auth.credentials import Credential
from transship.workers.registry.client import RegistryClient, Repository
from transship.workers.registry.transport.hosts import HostPolicy

RegistryResponse = Callable[[httpx.Request], httpx.Response]


@dataclass
class Simulated:
    """Answers by host and path; the longest prefix counts. Everything else is 404."""

    routes: dict[str, RegistryResponse] = field(default_factory=dict)
    requests: list[httpx.Request] = field(default_factory=list)
    policy: HostPolicy = field(default_factory=HostPolicy)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        with self.lock:
            self.requests.append(request)
        url = str(request.url)
        fitting = [prefix for prefix in self.routes if url.startswith(prefix)]
        if not fitting:
            return httpx.Response(404)
        return unread(self.routes[max(fitting, key=len)](request))

    def repository(
        self, name: str = "r.test/app", credential: Credential | None = None
    ) -> Repository:
        """Return a handle from the one client of this simulation."""
        return self.client.repository(name, credential=credential)

    @cached_property
    def client(self) -> RegistryClient:
        return RegistryClient(self.policy, transport=httpx.MockTransport(self))

    def sent(self) -> list[str]:
        """Method, URL without query, and scheme of Authorization of each request."""
        return [
            " ".join(
                [
                    request.method,
                    str(request.url).partition("?")[0],
                    request.headers.get("authorization", "-").partition(" ")[0],
                ]
            )
            for request in self.requests
        ]


def unread(response: httpx.Response) -> httpx.Response:
    """Return *response* as a network would give it: its body still to be read."""
    if not response.is_stream_consumed:
        return response
    return httpx.Response(
        response.status_code,
        headers=response.headers,
        stream=httpx.ByteStream(response.content),
    )


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class TokenRegistry(Simulated):
    """A registry that wants tokens of a realm, for the scopes that a request needs."""

    def __init__(self, *, realm: str = "https://auth.test/token") -> None:
        super().__init__()
        self.realm = realm
        self.issued = 0
        self.valid: set[str] = set()
        self.token_status = 200
        self.challenge_scope: str | None = None
        self.routes["https://r.test/v2/"] = self._registry
        self.routes[realm] = self._token

    def _registry(self, request: httpx.Request) -> httpx.Response:
        if request.headers.get("authorization", "").removeprefix("Bearer ") not in self.valid:
            scope = self.challenge_scope or "repository:app:pull"
            return httpx.Response(
                401,
                headers={
                    "WWW-Authenticate": f'Bearer realm="{self.realm}",service="s",scope="{scope}"'
                },
            )
        size = {"Content-Length": "5"}
        return httpx.Response(200, headers=size, stream=httpx.ByteStream(b""))

    def _token(self, _: httpx.Request) -> httpx.Response:
        if self.token_status != 200:
            return httpx.Response(self.token_status, json={"errors": []})
        with self.lock:
            self.issued += 1
            token = f"token-{self.issued}"
            self.valid.add(token)
        return httpx.Response(200, json={"token": token, "expires_in": 300})
