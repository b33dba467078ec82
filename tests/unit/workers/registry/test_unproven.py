"""A name that resolves twice differently takes no TLS away, and no verification."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from transship.store.errors import UnreachableError, UntrustedAddressError
from transship.workers.registry import network
from transship.workers.registry.network import Network
from transship.workers.registry.transport.addresses import Address, parse_address
from transship.workers.registry.transport.connections import Connections, Outgoing
from transship.workers.registry.transport.direct import DirectTransport
from transship.workers.registry.transport.errors import RequestContext
from transship.workers.registry.transport.hosts import HostPolicy, RegistryHost
from transship.workers.registry.transport.origins import origin_of

INSIDE, OUTSIDE = "10.0.0.1", "93.184.216.34"
REGISTRY = RegistryHost.of("r.test")
ASKED = RequestContext("r.test", "r.test", "GET")
POLICY = HostPolicy(insecure=("10.0.0.0/8",), allow_private=("10.0.0.0/8",))


def resolving(*answers: str) -> Callable[[str, int], list[Address]]:
    """A resolver that answers with one address after the other, and then with the last."""
    ahead = list(answers)

    def resolve(_host: str, _port: int) -> list[Address]:
        text = ahead.pop(0) if len(ahead) > 1 else ahead[0]
        address = parse_address(text)
        assert address is not None
        return [address]

    return resolve


@pytest.fixture
def own() -> Iterator[Connections]:
    made = Connections(POLICY, user_agent="test")
    yield made
    made.close()


@pytest.mark.parametrize("url", ["http://r.test/v2/", "https://r.test/v2/"])
@pytest.mark.parametrize("given", [False, True])
def test_the_peer_itself_must_be_listed(
    own: Connections, monkeypatch: pytest.MonkeyPatch, url: str, given: bool
) -> None:
    """Where it is asked whether TLS is needed it is inside; where to connect, it is not."""
    monkeypatch.setattr("transship.workers.registry.transport.hosts.resolve", resolving(INSIDE))
    monkeypatch.setattr(
        "transship.workers.registry.transport.transport.resolve", resolving(OUTSIDE)
    )
    with pytest.raises(UntrustedAddressError, match="without TLS that is verified"):
        own.send(Outgoing(method="GET", url=url), registry=REGISTRY, given=given, asked=ASKED)


@pytest.mark.parametrize("answers", [(OUTSIDE, INSIDE), (INSIDE, OUTSIDE)])
def test_what_a_pool_is_called_and_what_it_does_come_from_one_look(
    own: Connections, monkeypatch: pytest.MonkeyPatch, answers: tuple[str, str]
) -> None:
    contexts: list[ssl.SSLContext] = []

    class Kept(DirectTransport):
        def __init__(self, rule: Any, context: ssl.SSLContext) -> None:
            contexts.append(context)
            super().__init__(rule, context)

    monkeypatch.setattr("transship.workers.registry.transport.connections.DirectTransport", Kept)
    monkeypatch.setattr("transship.workers.registry.transport.hosts.resolve", resolving(*answers))
    monkeypatch.setattr(
        "transship.workers.registry.transport.transport.resolve", resolving(OUTSIDE)
    )
    for _ in range(2):
        own._transport_to(origin_of("https://r.test/"), REGISTRY, given=False)
    made = {key.unverified: one for key, one in own._transports.items()}
    assert set(made) == {True, False}
    modes = [context.verify_mode for context in contexts]
    expected = [ssl.CERT_REQUIRED, ssl.CERT_NONE]
    assert modes == (expected if answers[0] == OUTSIDE else expected[::-1])


def test_a_host_that_failed_https_once_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("transship.workers.registry.network.time.monotonic", lambda: now)
    policy = HostPolicy(insecure=("r.test",))
    made = Network(Connections(policy, user_agent="test"))
    fails = True
    urls: list[str] = []

    def send(url: str) -> Any:
        urls.append(url)
        if fails and url.startswith("https"):
            raise UnreachableError("refused", registry="r.test")

    monkeypatch.setattr(network, "_may_speak_plain", lambda *_: True)
    made.send_to(REGISTRY, "/v2/", send)
    made.send_to(REGISTRY, "/v2/", send)
    fails = False
    now += network.SCHEME_SECONDS + 1
    made.send_to(REGISTRY, "/v2/", send)
    made.send_to(REGISTRY, "/v2/", send)
    assert [url.partition(":")[0] for url in urls] == ["https", "http", "http", "https", "https"]
    made.connections.close()
