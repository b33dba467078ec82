"""URLs of requests: what is fetched, and where nobody may send us."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from transship.store.errors import (
    CancelledError,
    DeniedError,
    ProtocolError,
    RegistryNotFoundError,
    RegistryUnavailableError,
    RequestError,
    UnreachableError,
    UntrustedAddressError,
)
from transship.workers.registry.fetch import check_user_url, open_url
from transship.workers.registry.transport import addresses
from transship.workers.registry.transport.addresses import HostList, NamedInRequest, parse_address
from transship.workers.registry.transport.hosts import HostPolicy
from transship.workers.registry.transport.proxies import ProxyRules

LOOPBACK_ALLOWED = HostPolicy(allow_private=("127.0.0.1",))
CONTENT = bytes(range(256)) * 20_000  # 5 MB: more than any one read


def nothing() -> None:
    return None


Handler = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Site:
    """A web server on loopback; each path has a function that answers."""

    pages: dict[str, Handler] = field(default_factory=dict)
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    port: int = 0

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


def gives(body: bytes, status: int = 200, **headers: str) -> Handler:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(body)

    return answer


def leads_to(url: str) -> Handler:
    return gives(b"", 302, Location=url)


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()

    class Pages(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            made.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
            made.pages.get(self.path.partition("?")[0], gives(b"", 404))(self)

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        made.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield made
        server.shutdown()
        thread.join()


def fetched(url: str, policy: HostPolicy = LOOPBACK_ALLOWED) -> bytes:
    with open_url(url, policy, nothing) as stream:
        return stream.read()


# --- what is fetched ------------------------------------------------------------------------------


def test_the_bytes_come_as_they_are(site: Site) -> None:
    site.pages["/root.tar"] = gives(CONTENT, Content_Encoding="gzip")
    with open_url(site.url("/root.tar"), LOOPBACK_ALLOWED, nothing) as stream:
        assert stream.size == len(CONTENT)
        assert stream.read(10) == CONTENT[:10]
        assert stream.read() == CONTENT[10:]
        assert stream.read() == b""


def test_a_body_without_a_length_is_read_to_its_end(site: Site) -> None:
    def endless(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Connection", "close")
        request.end_headers()
        request.wfile.write(CONTENT)

    site.pages["/root.tar"] = endless
    with open_url(site.url("/root.tar"), LOOPBACK_ALLOWED, nothing) as stream:
        assert stream.size is None
        assert stream.read() == CONTENT


def test_redirects_are_followed_and_the_last_url_is_told(site: Site) -> None:
    site.pages |= {"/a": leads_to("/b"), "/b": leads_to(site.url("/c?x=1")), "/c": gives(b"here")}
    with open_url(site.url("/a"), LOOPBACK_ALLOWED, nothing) as stream:
        assert (stream.read(), stream.url) == (b"here", site.url("/c?x=1"))


def test_no_credential_and_no_cookie_goes_along(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETRC", "/dev/null")
    site.pages |= {"/a": gives(b"", 302, Location="/b", Set_Cookie="x=1"), "/b": gives(b"here")}
    fetched(site.url("/a"))
    assert [headers.keys() & {"authorization", "cookie"} for _, headers in site.seen] == [set()] * 2


def test_a_chain_of_redirects_ends(site: Site) -> None:
    site.pages["/a"] = leads_to("/a")
    with pytest.raises(ProtocolError, match="more than 5 redirects"):
        fetched(site.url("/a"))
    assert len(site.seen) == 6


# --- what is not ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [(404, RegistryNotFoundError), (403, DeniedError), (503, RegistryUnavailableError)],
)
def test_any_other_answer_is_an_error_of_its_kind(
    site: Site, status: int, kind: type[Exception]
) -> None:
    site.pages["/a"] = gives(b"", status)
    with pytest.raises(kind, match=str(status)):
        fetched(site.url("/a"))


def test_errors_do_not_show_the_query(site: Site) -> None:
    with pytest.raises(RegistryNotFoundError) as refused:
        fetched(site.url("/a?signature=secret"))
    assert "secret" not in f"{refused.value} {refused.value.as_json()}"


def test_a_body_that_is_cut_is_an_error(site: Site) -> None:
    def cut(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "100")
        request.end_headers()
        request.wfile.write(b"short")
        request.close_connection = True

    site.pages["/a"] = cut
    with open_url(site.url("/a"), LOOPBACK_ALLOWED, nothing) as stream:
        assert stream.read(5) == b"short"
        with pytest.raises(UnreachableError):
            stream.read()


def test_a_check_ends_a_wait_for_bytes(site: Site) -> None:
    stopping, done = threading.Event(), threading.Event()

    def silent(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "100")
        request.end_headers()
        done.wait(30)

    def check() -> None:
        if stopping.is_set():
            raise CancelledError("a stop was requested")

    site.pages["/a"] = silent
    with open_url(site.url("/a"), LOOPBACK_ALLOWED, check) as stream:
        stopping.set()
        with pytest.raises(CancelledError):
            stream.read()
    done.set()


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/a",
        "file:///etc/passwd",
        "/etc/passwd",
        "http://",
        "http://user:secret@example.org/a",
        "http://example.org\\@evil.test/a",
        "http://example.org/a\nb",
    ],
)
def test_what_is_no_clear_url_is_refused(url: str) -> None:
    with pytest.raises(RequestError) as refused:
        check_user_url(url)
    assert "secret" not in refused.value.detail


# --- addresses ------------------------------------------------------------------------------------


def test_loopback_is_refused_unless_it_is_allowed(site: Site) -> None:
    with pytest.raises(UntrustedAddressError, match="private address"):
        fetched(site.url("/a"), HostPolicy())
    assert site.seen == []


def test_a_name_is_judged_by_its_address(site: Site) -> None:
    with pytest.raises(UntrustedAddressError):
        fetched(f"http://localhost:{site.port}/a", HostPolicy(allow_private=("10.0.0.0/8",)))


def test_a_redirect_is_judged_like_the_url_itself(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = addresses.resolve
    monkeypatch.setattr(
        "transship.workers.registry.transport.transport.resolve",
        lambda host, port: (
            [parse_address("10.0.0.1")] if host == "inside.test" else resolve(host, port)
        ),
    )
    site.pages["/a"] = leads_to("http://inside.test/secret")
    with pytest.raises(UntrustedAddressError, match=r"10\.0\.0\.1"):
        fetched(site.url("/a"))


def test_metadata_cannot_be_allowed() -> None:
    rule = NamedInRequest(HostList(("0.0.0.0/0", "m.test")))
    address = parse_address("169.254.169.254")
    assert address is not None
    with pytest.raises(UntrustedAddressError, match="blocked"):
        rule.check("m.test", 80, address)


def test_where_a_proxy_would_go_is_checked_before_it_is_asked(site: Site) -> None:
    proxied = HostPolicy(proxies=ProxyRules(http=f"http://127.0.0.1:{site.port}"))
    with pytest.raises(UntrustedAddressError):
        fetched("http://10.0.0.1/secret", proxied)
    with pytest.raises(UntrustedAddressError):
        fetched("http://vault.internal/secret", proxied)
    assert site.seen == []
