"""What a token without `admin` may name: it is no way to look around in this network."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator

import pytest

from transship.store.errors import DeniedError, RegistryError, UntrustedAddressError
from transship.workers.registry.client import RegistryClient
from transship.workers.registry.transport import connections
from transship.workers.registry.transport.addresses import parse_address
from transship.workers.registry.transport.hosts import HostPolicy
from transship.workers.registry.transport.proxies import ProxyRules

WORDS = "the lift to the cellar is broken"


class _Inside(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = f'{{"errors": [{{"code": "DENIED", "message": "{WORDS}"}}]}}'.encode()
        self.send_response(403)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def inside() -> Iterator[str]:
    """A host of this network that refuses, with words."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Inside)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def tags_of(client: RegistryClient, host: str, *, confined: bool) -> None:
    list(client.repository(f"{host}/app", confined=confined).list_tags())


def found_by_search(client: RegistryClient, host: str, *, confined: bool) -> None:
    client.search(f"{host}/app", limit=1, confined=confined)


QUESTIONS = [tags_of, found_by_search]


@pytest.mark.parametrize("ask", QUESTIONS)
@pytest.mark.parametrize("deny", [False, True])
def test_a_token_names_nothing_private(inside: str, ask: Callable[..., None], deny: bool) -> None:
    """That an operator lets users do without TLS there makes no difference."""
    policy = HostPolicy(insecure=("127.0.0.0/8",), deny_private=deny)
    with RegistryClient(policy) as client:
        with pytest.raises(UntrustedAddressError, match="'admin'") as refused:
            ask(client, inside, confined=True)
        assert "TRANSSHIP_TOKEN_HOSTS" in refused.value.hint
        with pytest.raises(RegistryError, match=WORDS):  # others get there
            ask(client, inside, confined=False)
        with pytest.raises(UntrustedAddressError):  # and leave no connection behind for it
            ask(client, inside, confined=True)


@pytest.mark.parametrize("setting", ["token_hosts", "allow_private"])
@pytest.mark.parametrize("ask", QUESTIONS)
def test_what_is_listed_may_be_named_and_its_words_are_not_shown(
    inside: str, ask: Callable[..., None], setting: str
) -> None:
    policy = HostPolicy(**{setting: ("127.0.0.0/8",)})  # type: ignore[arg-type]
    with RegistryClient(policy) as client:
        with pytest.raises(DeniedError, match=r"answered 403 Forbidden$"):
            ask(client, inside, confined=True)
        with pytest.raises(DeniedError, match=WORDS):
            ask(client, inside, confined=False)


@pytest.mark.parametrize("ask", QUESTIONS)
def test_a_proxy_is_no_way_around_it(
    monkeypatch: pytest.MonkeyPatch, ask: Callable[..., None]
) -> None:
    address = parse_address("10.0.0.1")
    assert address is not None
    monkeypatch.setattr(connections, "resolve", lambda _host, _port: [address])
    proxies = ProxyRules.from_environ({"HTTPS_PROXY": "http://proxy.test:3128"})
    with (
        RegistryClient(HostPolicy(proxies=proxies)) as client,
        pytest.raises(UntrustedAddressError, match="'admin'"),
    ):
        ask(client, "r.test", confined=True)
