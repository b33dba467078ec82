"""Bearer tokens end to end: a token server, and a registry that wants its tokens.

The registry is a real one; the proxy before it does what a registry with token authentication
does with a request: it lets it pass, or answers 401 with a challenge.
"""

from __future__ import annotations

import io
import json
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.proxy import Action, ProxiedRequest, SlowProxy
from tests.support.registries import RegistryProcess
from transship.store.errors import DeniedError, UnauthorizedError, UntrustedAddressError
from transship.store.oci.digest import Digest
from transship.workers.registry.auth.credentials import Credential
from transship.workers.registry.client import RegistryClient
from transship.workers.registry.transport.direct import DirectTransport
from transship.workers.registry.transport.hosts import HostPolicy

ANN = Credential("ann", "pw")


class TokenServer:
    """Gives everyone a token for what they ask for; the tokens are good until revoked."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.asked: list[list[str]] = []
        self.authorizations: list[str | None] = []
        self.valid: dict[str, set[str]] = {}
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer((host, 0), _TokenHandler)
        self._server.token_server = self  # type: ignore[attr-defined]
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def issue(self, scopes: list[str], authorization: str | None) -> str:
        token = uuid.uuid4().hex
        with self._lock:
            self.asked.append(scopes)
            self.authorizations.append(authorization)
            self.valid[token] = set(scopes)
        return token

    def revoke_all(self) -> None:
        with self._lock:
            self.valid.clear()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _TokenHandler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = cast("TokenServer", self.server.token_server)  # type: ignore[attr-defined]
        scopes = parse_qs(urlsplit(self.path).query).get("scope", [])
        token = server.issue(scopes, self.headers.get("Authorization"))
        body = json.dumps({"token": token, "expires_in": 300}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """The log is `TokenServer.asked`."""


def needed_scope(request: ProxiedRequest) -> str:
    name = request.path.removeprefix("/v2/").rsplit("/", 2)[0]
    name = name.partition("/blobs")[0].partition("/manifests")[0]
    writes = request.method in {"POST", "PUT", "PATCH", "DELETE"}
    return f"repository:{name}:{'pull,push' if writes else 'pull'}"


def allows(scopes: set[str], needed: str) -> bool:
    resource, _, actions = needed.rpartition(":")
    return any(
        held.rpartition(":")[0] == resource
        and set(actions.split(",")) <= set(held.rpartition(":")[2].split(","))
        for held in scopes
    )


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    server = TokenServer()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    with RegistryProcess(tmp_path_factory.mktemp("registry")) as process:
        yield process


@pytest.fixture
def proxy(registry: RegistryProcess, tokens: TokenServer) -> Iterator[SlowProxy]:
    with SlowProxy(registry.host) as made:
        made.on_request = lambda request: guard(request, tokens)
        yield made


def guard(
    request: ProxiedRequest, tokens: TokenServer, *, realm_host: str = "127.0.0.1"
) -> Action | None:
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    needed = needed_scope(request)
    if allows(tokens.valid.get(token, set()), needed):
        return None
    realm = f"http://{realm_host}:{tokens.port}/token"
    challenge = f'Bearer realm="{realm}",service="registry",scope="{needed}"'
    return Action(status=401, headers={"WWW-Authenticate": challenge})


@pytest.fixture
def client() -> Iterator[RegistryClient]:
    with RegistryClient(HostPolicy()) as made:
        yield made


def nothing() -> None:
    return None


def push(client: RegistryClient, name: str, data: bytes) -> None:
    client.repository(name, credential=ANN).upload_blob(
        Digest.of(data),
        len(data),
        io.BytesIO(data),
        upload=None,
        on_bytes=lambda _: None,
        check=nothing,
    )


def test_the_second_pass_needs_no_new_tokens(
    client: RegistryClient, proxy: SlowProxy, tokens: TokenServer
) -> None:
    names = [f"{proxy.host}/mirror/n{number}" for number in range(5)]

    def one_pass() -> None:
        for name in names:
            data = name.encode()
            repository = client.repository(name, credential=ANN)
            if repository.head_blob(Digest.of(data)) is None:
                push(client, name, data)
            repository.head_blob(Digest.of(data))

    one_pass()
    after_first = len(tokens.asked)
    one_pass()
    assert after_first <= 2 * len(names)
    assert len(tokens.asked) == after_first


def test_the_password_goes_to_the_token_server_alone(
    client: RegistryClient, proxy: SlowProxy, tokens: TokenServer
) -> None:
    push(client, f"{proxy.host}/a/b", b"data")
    assert all((sent or "").startswith("Basic ") for sent in tokens.authorizations)
    sent = [request.headers.get("authorization", "Bearer -") for request in proxy.requests()]
    assert all(header.startswith("Bearer ") for header in sent)


def test_a_token_that_dies_during_an_upload_is_replaced_and_the_body_sent_again(
    client: RegistryClient, proxy: SlowProxy, tokens: TokenServer
) -> None:
    died: list[int] = []

    def script(request: ProxiedRequest) -> Action | None:
        if request.method == "PUT" and not died:
            died.append(1)
            tokens.revoke_all()
        return guard(request, tokens)

    proxy.on_request = script
    data = b"x" * 3_000_000
    told: list[int] = []
    repository = client.repository(f"{proxy.host}/a/dies", credential=ANN)
    repository.upload_blob(
        Digest.of(data),
        len(data),
        io.BytesIO(data),
        upload=None,
        on_bytes=told.append,
        check=nothing,
    )
    assert died == [1]
    assert sum(told) == len(data)
    assert repository.head_blob(Digest.of(data)) == len(data)


def test_a_mount_brings_pull_on_the_source(
    client: RegistryClient, proxy: SlowProxy, tokens: TokenServer
) -> None:
    push(client, f"{proxy.host}/a/source", b"to mount")
    target = client.repository(f"{proxy.host}/a/target", credential=ANN)
    digest = Digest.of(b"to mount")
    assert target.mount(digest, from_repository=f"{proxy.host}/a/source") is None
    assert tokens.asked[-1] == ["repository:a/target:pull,push", "repository:a/source:pull"]


def test_many_threads_ask_for_one_token(
    client: RegistryClient, proxy: SlowProxy, tokens: TokenServer
) -> None:
    repository = client.repository(f"{proxy.host}/a/many", credential=ANN)
    repository.head_blob(Digest.of(b"first"))
    tokens.revoke_all()
    tokens.asked.clear()
    threads = [
        threading.Thread(target=repository.head_blob, args=(Digest.of(bytes([number])),))
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(tokens.asked) <= 2  # one flight; a thread that comes late may start another


def test_a_realm_at_another_loopback_address_gets_nothing(
    client: RegistryClient, proxy: SlowProxy, tokens: TokenServer
) -> None:
    proxy.on_request = lambda request: guard(request, tokens, realm_host="127.0.0.2")
    with pytest.raises(UntrustedAddressError):
        push(client, f"{proxy.host}/a/b", b"data")
    assert tokens.asked == []


def test_a_realm_at_the_metadata_address_gets_nothing(
    client: RegistryClient, proxy: SlowProxy
) -> None:
    challenge = 'Bearer realm="https://169.254.169.254/latest",service="s"'
    proxy.on_request = lambda _: Action(status=401, headers={"WWW-Authenticate": challenge})
    with pytest.raises(UntrustedAddressError):
        push(client, f"{proxy.host}/a/b", b"data")


def test_an_allowed_realm_is_asked(registry: RegistryProcess) -> None:
    tokens = TokenServer("127.0.0.2")
    with (
        SlowProxy(registry.host) as proxy,
        RegistryClient(HostPolicy(allow_private=("127.0.0.2",))) as client,
    ):
        proxy.on_request = lambda request: guard(request, tokens, realm_host="127.0.0.2")
        push(client, f"{proxy.host}/a/allowed", b"data")
    tokens.stop()
    assert tokens.asked


def test_tokens_that_are_never_accepted_end_in_unauthorized(
    client: RegistryClient, proxy: SlowProxy, tokens: TokenServer
) -> None:
    def script(request: ProxiedRequest) -> Action | None:
        tokens.revoke_all()
        return guard(request, tokens)

    proxy.on_request = script
    with pytest.raises(UnauthorizedError):
        push(client, f"{proxy.host}/a/b", b"data")
    assert len(tokens.asked) == 1


def test_refused_passwords_leave_no_connection_in_use(
    client: RegistryClient, proxy: SlowProxy
) -> None:
    challenge = f'Bearer realm="http://{proxy.host}/token",service="s"'

    def script(request: ProxiedRequest) -> Action:
        if request.path == "/token":
            return Action(status=403)
        return Action(status=401, headers={"WWW-Authenticate": challenge}, body=b"{}")

    proxy.on_request = script
    for number in range(10):
        wrong = Credential("ann", f"wrong {number}")
        with pytest.raises(DeniedError):
            client.repository(f"{proxy.host}/a/b", credential=wrong).get_manifest("1")
    assert in_use(client) == 0


def in_use(client: RegistryClient) -> int:
    """The connections of the client whose answers are not closed."""
    transports = client._connections._transports.values()
    return sum(one.in_use for one in transports if isinstance(one, DirectTransport))
