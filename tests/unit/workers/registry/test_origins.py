"""URLs that servers give."""

from __future__ import annotations

import re
from itertools import product

import pytest

from transship.store.errors import ProtocolError
from transship.workers.registry.transport import origins
from transship.workers.registry.transport.origins import (
    Origin,
    absolute,
    origin_of,
    split_host,
    target_of,
    with_query,
)


def test_default_ports_are_filled_in() -> None:
    assert origin_of("https://R.test/x") == origin_of("https://r.test:443/y")


@pytest.mark.parametrize("other", ["http://r.test:443/", "https://r.test:444/", "https://s.test/"])
def test_scheme_host_and_port_make_the_origin(other: str) -> None:
    assert origin_of(other) != origin_of("https://r.test/")


def test_ipv6_hosts_are_read() -> None:
    assert origin_of("http://[::1]:5000/") == Origin("http", "::1", 5000)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://r.test/",
        "file:///etc/passwd",
        "//r.test/",
        "/v2/",
        "https:///x",
        "https://user:pw@r.test/",
        "https://r.test\\@evil.test/",
        "https://r.test/a b",
        "https://r.test/\r\nX: y",
        "https://r.test:99999/",
        "https://r.test:port/",
        "https://[::1/",
        "https://r\u00e9gistry.test/",
    ],
)
def test_urls_of_doubtful_meaning_are_refused(url: str) -> None:
    with pytest.raises(ProtocolError):
        origin_of(url)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("/v2/x?_state=a/b=", "https://r.test/v2/x?_state=a/b="),
        ("https://cdn.test/x?sig=%2F", "https://cdn.test/x?sig=%2F"),
        ("other?x=1", "https://r.test/v2/other?x=1"),
        ("//cdn.test/x", "https://cdn.test/x"),
        ("/x#fragment", "https://r.test/x"),
    ],
)
def test_locations_are_resolved_and_else_left_alone(given: str, url: str) -> None:
    assert absolute(given, base="https://r.test/v2/upload?old=1") == url


@pytest.mark.parametrize("given", ["", "javascript:alert(1)", "http://", "/a b"])
def test_a_useless_location_is_refused(given: str) -> None:
    with pytest.raises(ProtocolError):
        absolute(given, base="https://r.test/v2/")


def test_a_query_is_appended_as_raw_text() -> None:
    url = "https://r.test/u?_state=a/b=&sig=%2f"
    assert with_query(url, "digest=sha256:ab") == url + "&digest=sha256:ab"


def test_the_first_query_begins_with_a_question_mark() -> None:
    assert with_query("https://r.test/u", "n=1") == "https://r.test/u?n=1"


@pytest.mark.parametrize(
    ("host", "parts"),
    [
        ("docker.io", ("docker.io", None)),
        ("localhost:5000", ("localhost", 5000)),
        ("[::1]:5000", ("::1", 5000)),
        ("[::1]", ("::1", None)),
        ("::1", ("::1", None)),
    ],
)
def test_hosts_are_split_from_ports(host: str, parts: tuple[str, int | None]) -> None:
    assert split_host(host) == parts


def _read(url: str) -> Origin | None:
    try:
        return origin_of(url)
    except ProtocolError:
        return None


def test_plain_urls_are_read_as_all_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read at a glance is what two parsers make of it."""
    hosts = (
        *("r.test", "localhost", "127.0.0.1", "1.2.3.4", "0x7f.1", "a1", "a-b.c-d", "a..b", ".a"),
        *("-a", "a.", "xn--bcher-kva.example", "a.1", "1a", "256.0.0.1", "a" * 64 + ".b", "0.a"),
    )
    ports = ("", ":80", ":443", ":5000", ":0", ":00080", ":65535", ":65536", ":59999", ":a", ":")
    paths = ("", "/", "/v2/a?b=c", "?a", "#f", "/%zz", "/a b", "//x", "/a\\b", "/?x=1&y=%20", "/@x")
    urls = [
        f"{scheme}://{host}{port}{path}"
        for scheme, host, port, path in product(("http", "https", "HTTP"), hosts, ports, paths)
    ]
    at_a_glance = [url for url in urls if origins._PLAIN.match(url)]
    assert len(at_a_glance) > 300
    soon = [_read(url) for url in at_a_glance]
    monkeypatch.setattr(origins, "_PLAIN", re.compile("(?!)"))
    assert [_read(url) for url in at_a_glance] == soon


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://r.test", "/"),
        ("http://r.test/", "/"),
        ("http://r.test:5000?a=b", "/?a=b"),
        ("http://r.test/v2/x?_state=a/b=&c=%2f", "/v2/x?_state=a/b=&c=%2f"),
        ("http://[::1]:5000/v2/#part", "/v2/"),
        ("http://r.test//x", "//x"),
    ],
)
def test_a_target_is_sent_byte_for_byte(url: str, target: str) -> None:
    assert target_of(url) == target
