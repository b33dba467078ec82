"""Proxies by Go's rules."""

from __future__ import annotations

import pytest

from transship.store.errors import RequestError
from transship.workers.registry.transport.origins import origin_of
from transship.workers.registry.transport.proxies import ProxyRules

PROXY = "http://proxy.test:3128"


def proxied(url: str, none_for: str) -> bool:
    rules = ProxyRules(https=PROXY, http=PROXY, none_for=none_for)
    return rules.proxy_for(origin_of(url)) is not None


@pytest.mark.parametrize(
    ("none_for", "url", "expected"),
    [
        ("", "https://r.test/", True),
        ("*", "https://r.test/", False),
        ("r.test", "https://r.test/", False),
        ("r.test", "https://sub.r.test/", False),
        ("r.test", "https://xr.test/", True),
        (".r.test", "https://r.test/", True),
        (".r.test", "https://sub.r.test/", False),
        ("*.r.test", "https://sub.r.test/", False),
        ("R.TEST", "https://r.test/", False),
        ("a.test, r.test", "https://r.test/", False),
        ("r.test:443", "https://r.test/", False),
        ("r.test:5000", "https://r.test/", True),
        ("r.test:5000", "https://r.test:5000/", False),
        ("10.0.0.0/8", "https://10.1.2.3/", False),
        ("10.0.0.0/8", "https://11.1.2.3/", True),
        ("10.1.2.3", "https://10.1.2.3/", False),
        ("10.1.2.3:80", "https://10.1.2.3/", True),
        ("fd00::/8", "https://[fd00::1]/", False),
        ("", "http://localhost:5000/", False),
        ("", "http://127.0.0.1:5000/", False),
        ("", "http://[::1]:5000/", False),
    ],
)
def test_no_proxy(none_for: str, url: str, expected: bool) -> None:
    assert proxied(url, none_for) is expected


def test_https_and_http_have_proxies_of_their_own() -> None:
    rules = ProxyRules.from_environ({"HTTPS_PROXY": "http://a:1", "HTTP_PROXY": "http://b:2"})
    assert rules.proxy_for(origin_of("https://r.test/")) == "http://a:1"
    assert rules.proxy_for(origin_of("http://r.test/")) == "http://b:2"


def test_upper_case_wins() -> None:
    rules = ProxyRules.from_environ({"HTTPS_PROXY": "http://a:1", "https_proxy": "http://b:2"})
    assert rules.https == "http://a:1"


def test_a_proxy_without_scheme_is_http() -> None:
    assert ProxyRules.from_environ({"https_proxy": "proxy:3128"}).https == "http://proxy:3128"


def test_an_unusable_proxy_is_refused_without_showing_it() -> None:
    with pytest.raises(RequestError) as refused:
        ProxyRules.from_environ({"HTTPS_PROXY": "socks5://user:secret@proxy:1080"})
    assert "secret" not in str(refused.value)


def test_passwords_do_not_show() -> None:
    rules = ProxyRules.from_environ({"HTTPS_PROXY": "http://user:secret@proxy:1080"})
    assert "secret" not in repr(rules)
