"""Registries behind a forward proxy."""

from __future__ import annotations

import pytest

from tests.support.proxy import Action, SlowProxy
from transship.store.errors import UnreachableError
from transship.store.oci.digest import Digest
from transship.workers.registry.client import RegistryClient
from transship.workers.registry.transport.hosts import HostPolicy
from transship.workers.registry.transport.proxies import ProxyRules

DIGEST = Digest.of(b"hello")


def test_a_plain_registry_is_asked_through_the_proxy() -> None:
    """The name need not resolve here; https is tried first, which this proxy does not tunnel."""
    with SlowProxy("127.0.0.1:1") as forward:
        forward.on_request = lambda _: Action(status=200, headers={"Content-Length": "5"})
        policy = HostPolicy(insecure=("r.invalid",), proxies=ProxyRules(forward.url, forward.url))
        with RegistryClient(policy) as client:
            assert client.repository("r.invalid/app").head_blob(DIGEST) == 5
        assert [request.target for request in forward.requests()] == [
            f"http://r.invalid/v2/app/blobs/{DIGEST}"
        ]


def test_a_proxy_that_refuses_is_named_as_such() -> None:
    with SlowProxy("127.0.0.1:1") as forward:
        policy = HostPolicy(proxies=ProxyRules(https=forward.url))
        with (
            RegistryClient(policy) as client,
            pytest.raises(UnreachableError, match="the proxy refused"),
        ):
            client.repository("r.invalid/app").head_blob(DIGEST)
        assert forward.requests() == []


def test_loopback_is_never_proxied() -> None:
    with SlowProxy("127.0.0.1:1") as forward, SlowProxy("127.0.0.1:1") as registry:
        registry.on_request = lambda _: Action(status=200, headers={"Content-Length": "5"})
        rules = ProxyRules(forward.url, forward.url)
        with RegistryClient(HostPolicy(proxies=rules)) as client:
            assert client.repository(f"{registry.host}/app").head_blob(DIGEST) == 5
        assert forward.requests() == []
