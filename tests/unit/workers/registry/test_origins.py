"""URLs that servers give."""

from __future__ import annotations

import pytest

from transship.store.errors import ProtocolError
from transship.workers.registry.transport.origins import (
    Origin,
    absolute,
    origin_of,
    split_host,
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
