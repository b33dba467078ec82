"""The pools of connections, and the one place from which requests leave.

Connections are pooled by what was checked when they were opened: pools for registries that the
user named, and one set per registry for wherever that registry sends us. A connection of the
first kind is never lent to the second.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpcore
import httpx

from transship.store.errors import UntrustedAddressError
from transship.workers.registry.transport.addresses import (
    GivenByServer,
    KnownPeers,
    NamedByUser,
    PeerRule,
    ProxyItself,
    Unproven,
    resolve,
)
from transship.workers.registry.transport.direct import DirectTransport, Message
from transship.workers.registry.transport.errors import RequestContext, translated
from transship.workers.registry.transport.hosts import HostPolicy, RegistryHost
from transship.workers.registry.transport.limits import (
    ANSWER_SECONDS,
    CONNECT_SECONDS,
    SILENCE_SECONDS,
)
from transship.workers.registry.transport.origins import Origin, origin_of, target_of
from transship.workers.registry.transport.transport import (
    CheckedTransport,
    asking,
    attentive,
    timeouts,
)

Body = bytes | Callable[[], Iterator[bytes]] | None  # a function, so that it can be sent again
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
DROPPED = (
    httpx.RemoteProtocolError,
    httpx.ReadError,
    httpcore.RemoteProtocolError,
    httpcore.ReadError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One request, ready to be sent."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body = None
    answer_seconds: float = ANSWER_SECONDS
    check: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class _PoolKey:
    given_by: str | None  # the registry's host, if it sent us there
    confined: bool
    plain: bool
    certs: Path | None
    unverified: bool
    proxy: str | None


class Connections:
    """All connections of a process to registries; may be used from many threads at once.

    Args:
        policy: What the user allows.
        user_agent: Sent with every request.
        transport: Takes the place of the network in tests.
    """

    def __init__(
        self,
        policy: HostPolicy,
        *,
        user_agent: str,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.policy = policy
        # No cookies: some registries set them for a session, and then ask for a CSRF token.
        self._headers = {
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "Connection": "keep-alive",
            "User-Agent": user_agent,
        }
        self._transport = transport
        self._peers = KnownPeers()
        self._lock = threading.Lock()
        self._transports: dict[_PoolKey, httpx.BaseTransport] = {}
        self._closed = False

    def send(
        self, request: Outgoing, *, registry: RegistryHost, given: bool, asked: RequestContext
    ) -> httpx.Response:
        """Send *request*, and return when the answer's head is there. The caller closes it.

        A request without a streamed body that meets a kept connection just as the server drops
        it is sent once more.

        Args:
            request: What to send.
            registry: On whose behalf.
            given: Whether a server named the address, rather than the user.
            asked: For the text of errors.

        Raises:
            UnreachableError, TlsError, UntrustedAddressError, ProtocolError; and what the
            request's check raises.
        """
        origin = origin_of(request.url)
        transport = self._transport_to(origin, registry, given=given)
        headers = {**self._headers, **request.headers}
        while True:
            connection = _Connection()
            with translated(asked), attentive(request.check), asking(registry.name):
                try:
                    if isinstance(transport, DirectTransport):
                        return transport.exchange(_message(request, origin, headers, connection))
                    return _by_httpx(transport, request, headers, connection)
                except DROPPED:
                    # Happens for each kept connection at most once: the next may be old as well.
                    if not connection.was_kept or callable(request.body):
                        raise

    def close(self) -> None:
        """Close every connection; nothing can be sent any more."""
        with self._lock:
            self._closed = True
            transports, self._transports = list(self._transports.values()), {}
        for transport in transports:
            transport.close()

    def _transport_to(
        self, origin: Origin, registry: RegistryHost, *, given: bool
    ) -> httpx.BaseTransport:
        plain = origin.scheme == "http"
        proxy = self.policy.proxies.proxy_for(origin)
        if proxy is not None and (given or registry.confined or self.policy.deny_private):
            check_by_name(self._rule(registry, given=given), origin, registry=registry.name)
        certs = None if plain else self._certs(origin, registry)
        key = _PoolKey(
            given_by=registry.host if given else None,
            confined=registry.confined,
            plain=plain,
            certs=certs,
            unverified=not plain
            and self.policy.skips_verification(origin.host, origin.port, certs),
            proxy=proxy,
        )
        with self._lock:
            if self._closed:
                raise RuntimeError("the registry client was closed")
            transport = self._transports.get(key)
            if transport is None:
                transport = self._transports[key] = self._make(key, registry)
            return transport

    def _certs(self, origin: Origin, registry: RegistryHost) -> Path | None:
        if origin.authority == registry.api:
            return self.policy.certs_of(registry.name) or self.policy.certs_of(registry.api)
        return self.policy.certs_of(origin.authority)

    def _make(self, key: _PoolKey, registry: RegistryHost) -> httpx.BaseTransport:
        if self._transport is not None:
            return self._transport
        unproven = key.plain or key.unverified
        context = self.policy.tls_context(key.certs, verified=not unproven)
        rule: PeerRule = ProxyItself()
        if key.proxy is None:
            rule = self._rule(registry, given=key.given_by is not None)
            if unproven:
                rule = Unproven(rule, self.policy.insecure_hosts)
        if key.proxy is None:
            return DirectTransport(rule, context)
        return CheckedTransport(rule, context, key.proxy)

    def _rule(self, registry: RegistryHost, *, given: bool) -> PeerRule:
        if given:
            return GivenByServer(registry.host, self._peers, self.policy.private_hosts)
        private = self.policy.named_private_hosts
        if registry.confined:
            private = self.policy.tokens_private_hosts
        return NamedByUser(self._peers, private=private, confined=registry.confined)


def check_by_name(rule: PeerRule, origin: Origin, *, registry: str) -> None:
    """Check where a proxy would go for us, as far as we can know it.

    Raises:
        UntrustedAddressError: to where it may not; *registry* is whom the error names.
    """
    try:
        addresses = resolve(origin.host, origin.port)
    except (OSError, UnicodeError):
        if origin.host.endswith((".internal", ".local", ".localhost")):
            raise UntrustedAddressError(
                f"{origin.host} is a name of a private network, where nobody may send us",
                registry=registry,
            ) from None
        return  # only the proxy knows the name
    for address in addresses:
        rule.check(origin.host, origin.port, address)


def _message(
    request: Outgoing, origin: Origin, headers: Mapping[str, str], connection: _Connection
) -> Message:
    lines = [("Host", origin.authority), *headers.items()]
    pieces: Iterable[bytes] = ()
    if callable(request.body):
        pieces = request.body()
        if not any(name.lower() == "content-length" for name in headers):
            lines.append(("Transfer-Encoding", "chunked"))
    elif request.body is not None:
        pieces = (request.body,)
        lines.append(("Content-Length", str(len(request.body))))
    elif request.method in _WITH_BODY:
        lines.append(("Content-Length", "0"))
    return Message(
        method=request.method,
        origin=origin,
        target=target_of(request.url),
        headers=[(name.encode("latin-1"), value.encode("latin-1")) for name, value in lines],
        pieces=pieces,
        connect_seconds=CONNECT_SECONDS,
        write_seconds=SILENCE_SECONDS,
        answer_seconds=request.answer_seconds,
        on_connection=connection.taken,
    )


def _by_httpx(
    transport: httpx.BaseTransport,
    request: Outgoing,
    headers: Mapping[str, str],
    connection: _Connection,
) -> httpx.Response:
    """Through a proxy, or to what stands for the network in tests."""
    message = httpx.Request(
        request.method,
        request.url,
        headers=headers,
        content=request.body() if callable(request.body) else request.body,
        extensions={
            "timeout": timeouts(request.answer_seconds, CONNECT_SECONDS),
            "trace": connection.note,
        },
    )
    response = transport.handle_request(message)
    response.request = message
    if request.method == "HEAD" or response.status_code in {204, 304}:
        response.extensions["bodiless"] = True
    return response


class _Connection:
    """Learns, also from httpcore's trace, whether a request went over a kept connection."""

    def __init__(self) -> None:
        self._opened = False
        self._sent = False

    def note(self, event: str, _: Mapping[str, Any]) -> None:
        self._opened |= event == "connection.connect_tcp.started"
        self._sent |= event == "http11.send_request_headers.started"

    def taken(self, was_kept: bool) -> None:
        """A connection was chosen."""
        self._sent, self._opened = True, not was_kept

    @property
    def was_kept(self) -> bool:
        return self._sent and not self._opened
