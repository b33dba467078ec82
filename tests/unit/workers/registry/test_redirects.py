"""Where a server may send us next, by scheme and method."""

from __future__ import annotations

import pytest

from transship.store.errors import ProtocolError, UntrustedAddressError
from transship.workers.registry.transport.hosts import HostPolicy, RegistryHost
from transship.workers.registry.transport.origins import origin_of
from transship.workers.registry.transport.redirects import check_step, next_url

REGISTRY = RegistryHost.of("r.test:5000")
POLICY = HostPolicy(insecure=("plain.test",))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_reads_follow_every_redirect(status: int) -> None:
    assert next_url(status, "GET", "/y", url="https://r.test/x") == "https://r.test/y"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_writes_do_not_become_reads(method: str) -> None:
    with pytest.raises(ProtocolError):
        next_url(302, method, "/y", url="https://r.test/x")


def test_writes_follow_where_the_method_is_kept() -> None:
    assert next_url(307, "PUT", "/y", url="https://r.test/x") == "https://r.test/y"


def test_a_redirect_needs_a_location() -> None:
    with pytest.raises(ProtocolError):
        next_url(307, "GET", None, url="https://r.test/x")


def test_https_may_lead_to_any_https() -> None:
    after = check_step(origin_of("https://r.test:5000"), "https://cdn.test/x", REGISTRY, POLICY)
    assert after.host == "cdn.test"


@pytest.mark.parametrize("url", ["http://cdn.test/x", "http://r.test:5000/x", "http://plain.test/"])
def test_https_never_leads_to_http(url: str) -> None:
    with pytest.raises(UntrustedAddressError):
        check_step(origin_of("https://r.test:5000"), url, REGISTRY, POLICY)


@pytest.mark.parametrize("url", ["http://r.test:80/x", "http://plain.test/x", "http://localhost/"])
def test_http_leads_to_http_where_it_may_be_spoken(url: str) -> None:
    check_step(origin_of("http://r.test:5000"), url, REGISTRY, POLICY)


def test_http_does_not_lead_to_http_elsewhere() -> None:
    with pytest.raises(UntrustedAddressError):
        check_step(origin_of("http://r.test:5000"), "http://cdn.test/x", REGISTRY, POLICY)
