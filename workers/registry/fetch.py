"""Fetches what a request names by its URL, such as the tar of an import: no registry, no login.

Whoever may submit a job writes the URL, not whoever runs the server. So private addresses are gone
to only where TRANSSHIP_ALLOW_PRIVATE has them, and no credential or cookie goes along.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import httpx

from transship.store.errors import ProtocolError, RequestError, UntrustedAddressError
from transship.workers.registry.client import USER_AGENT
from transship.workers.registry.manifests import length_told
from transship.workers.registry.network import followed, too_many_redirects
from transship.workers.registry.transport.addresses import (
    NamedInRequest,
    PeerRule,
    ProxyItself,
    Unproven,
)
from transship.workers.registry.transport.connections import check_by_name
from transship.workers.registry.transport.errors import RequestContext, answer_error, translated
from transship.workers.registry.transport.hosts import HostPolicy
from transship.workers.registry.transport.limits import (
    ANSWER_SECONDS,
    CHUNK_BYTES,
    CONNECT_SECONDS,
    MAX_REDIRECTS,
    SILENCE_SECONDS,
)
from transship.workers.registry.transport.origins import Origin, origin_of, without_query
from transship.workers.registry.transport.redirects import is_redirect
from transship.workers.registry.transport.transport import CheckedTransport, attentive, timeouts

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_LOGIN_STATUSES = frozenset({401, 403})


def check_user_url(url: str) -> Origin:
    """Return the origin of a URL that a request names; nothing is resolved or connected to.

    Raises:
        RequestError: neither http nor https, user information, or not clearly a URL.
    """
    try:
        return origin_of(url)
    except ProtocolError as wrong:
        raise RequestError(
            f"not to be fetched: {wrong.detail}",
            subject=without_query(url)[:255],
            hint="use http://HOST/PATH or https://HOST/PATH, without user information",
        ) from None


class UrlStream(io.BufferedReader):
    """The bytes of an answer, once and forward, as they came: a Content-Encoding stays on.

    Reading raises UnreachableError where the connection is cut or silent for 15 s, and what the
    check of `open_url` raises. The end of the stream is the end of the body; a body without a
    length that is cut cannot be told from a whole one, so check what it holds.

    Attributes:
        url: Where it came from, after redirects; its query may hold a signature.
        size: The length announced, or None.
    """

    def __init__(
        self, response: httpx.Response, asked: RequestContext, check: Callable[[], None], url: str
    ) -> None:
        super().__init__(_Raw(response, asked, check), CHUNK_BYTES)
        self.url = url
        self.size = length_told(response.headers)


@contextmanager
def open_url(url: str, policy: HostPolicy, check: Callable[[], None]) -> Iterator[UrlStream]:
    """GET *url* and give its body; leaving closes the connection.

    Redirects are followed by hand, at most five and never from https to http; each peer is checked
    when it is connected to. *check* is called about once a second while the network is awaited;
    what it raises ends the wait.

    Raises:
        RequestError: not a URL that can be fetched.
        UntrustedAddressError: a private address that is not in TRANSSHIP_ALLOW_PRIVATE, or one
            that is nobody's server; here and after each redirect.
        RegistryError: any answer but 200; UnreachableError, TlsError, ProtocolError.
    """
    origin = check_user_url(url)
    asked = RequestContext(origin.authority, without_query(url), "GET")
    for _ in range(MAX_REDIRECTS + 1):
        with _client(origin, policy) as client:
            request = client.build_request(
                "GET", url, extensions={"timeout": timeouts(ANSWER_SECONDS, CONNECT_SECONDS)}
            )
            with translated(asked), attentive(check):
                response = client.send(request, stream=True)
            with closing(response):
                if not is_redirect(response.status_code):
                    if response.status_code != httpx.codes.OK:
                        raise _refused(response, asked)
                    with UrlStream(response, asked, check, url) as stream:
                        yield stream
                    return
                with translated(asked):
                    url = followed(response, "GET", url)
                    origin = _step(origin, url)
    raise too_many_redirects(asked)


def _step(before: Origin, url: str) -> Origin:
    after = origin_of(url)
    if before.scheme == "https" and after.scheme == "http":
        raise UntrustedAddressError(f"redirected from https to plain HTTP, to {after.host}")
    return after


def _client(origin: Origin, policy: HostPolicy) -> httpx.Client:
    rule: PeerRule = NamedInRequest(policy.private_hosts)
    proxy = policy.proxies.proxy_for(origin)
    if proxy is not None:
        check_by_name(rule, origin, registry=origin.authority)
        rule = ProxyItself()
    certs = policy.certs_of(origin.authority)
    unverified = policy.skips_verification(origin.host, origin.port, certs)
    if unverified and origin.scheme == "https" and proxy is None:
        rule = Unproven(rule, policy.insecure_hosts)
    context = policy.tls_context(certs, verified=not unverified)
    return httpx.Client(
        transport=CheckedTransport(rule, context, proxy),
        trust_env=False,
        follow_redirects=False,
        headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
    )


def _refused(response: httpx.Response, asked: RequestContext) -> Exception:
    error = answer_error(response, asked)
    if error.http_status in _LOGIN_STATUSES:
        error.hint = "URLs are fetched without credentials; put a signature into its query"
    return error


class _Raw(io.RawIOBase):
    def __init__(
        self, response: httpx.Response, asked: RequestContext, check: Callable[[], None]
    ) -> None:
        self._response = response
        self._pieces = response.iter_raw()
        self._asked = asked
        self._check = check
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill *buffer* with what has come; 0 is the end."""
        while not self._rest:
            self._check()
            # Only the network is inside: a check's own error stays what it is.
            with translated(self._asked), attentive(self._check, silence_seconds=SILENCE_SECONDS):
                piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        into = memoryview(buffer)
        count = min(len(into), len(self._rest))
        into[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
