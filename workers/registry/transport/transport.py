"""The lowest layer: sockets that look up while they wait, to peers that were checked.

httpx's own transport cannot be told which peer is allowed, and a thread that it has blocked in a
read cannot be stopped. httpcore, on which httpx is built, takes a network backend for both; so
this is httpx's transport over the same pool, with a backend of our own. Exceptions are httpcore's
here, and become ours in `errors.translated`.
"""

from __future__ import annotations

import logging
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import httpcore
import httpx

from transship.workers.registry.transport.addresses import PeerRule, resolve
from transship.workers.registry.transport.limits import ATTENTION_SECONDS, SILENCE_SECONDS

# httpx logs whole URLs at INFO, and httpcore headers at DEBUG: signatures and tokens.
logging.getLogger("httpx").setLevel(logging.WARNING)
logging.getLogger("httpcore").setLevel(logging.WARNING)

# Ours come from httpcore (see `CheckedTransport`), those of test transports from httpx.
NETWORK_ERRORS: tuple[type[Exception], ...] = (
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.StreamError,
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
)

T = TypeVar("T")

CLOSED = "connection closed"  # so begins what a ReadError says that is only that
KEEP_ALIVE_SECONDS = 60.0
KEEP_ALIVE_CONNECTIONS = 32


class HandshakeError(httpcore.ConnectError):
    """The peer was reached, but TLS with it failed."""


class Listener(Protocol):
    """Is told how requests fare that a thread makes, and those that help it. Must be quick."""

    def asks(self, registry: str) -> None:
        """A request is on its way, on behalf of *registry*."""

    def hears(self) -> None:
        """Bytes have come, or were taken."""

    def ends(self, *, answered: bool) -> None:
        """The head of its answer is there; or, if not *answered*, there will be none."""


@dataclass(frozen=True, slots=True)
class _Attention:
    check: Callable[[], None]
    silence_seconds: float | None
    listener: Listener | None


_ATTENTION: ContextVar[_Attention | None] = ContextVar("transship_attention", default=None)


@contextmanager
def attentive(
    check: Callable[[], None] | None,
    *,
    silence_seconds: float | None = None,
    listener: Listener | None = None,
) -> Iterator[None]:
    """While inside, this thread's blocked reads and writes call *check* several times a second.

    What *check* raises ends the read or write, and the connection is closed. *silence_seconds*
    takes the place of the request's own timeouts. Without a check, that of an enclosing block
    goes on to be called; likewise without a *listener*.
    """
    if check is None:
        yield
        return
    around = _ATTENTION.get()
    if listener is None and around is not None:
        listener = around.listener
    token = _ATTENTION.set(_Attention(check, silence_seconds, listener))
    try:
        yield
    finally:
        _ATTENTION.reset(token)


def look_up() -> None:
    """Call the check of the enclosing `attentive` block, if there is one."""
    attention = _ATTENTION.get()
    if attention is not None:
        attention.check()


@contextmanager
def asking(registry: str) -> Iterator[None]:
    """Tell the listener of the enclosing `attentive` block of a request."""
    attention = _ATTENTION.get()
    if attention is None or attention.listener is None:
        yield
        return
    attention.listener.asks(registry)
    answered = False
    try:
        yield
        answered = True
    finally:
        attention.listener.ends(answered=answered)


class WatchedStream(httpcore.NetworkStream):
    """A connection; plain, TLS, or TLS within a proxy's TLS."""

    def __init__(self, inner: httpcore.NetworkStream, *, tls_layers: int = 0) -> None:
        self._inner = inner
        self._tls_layers = tls_layers
        self._socket: socket.socket = inner.get_extra_info("socket")

    @property
    def is_direct(self) -> bool:
        """Whether the socket itself yields the plain bytes; not so for TLS within TLS."""
        return self._tls_layers <= 1

    @property
    def is_tls(self) -> bool:
        """Whether there is any TLS."""
        return self._tls_layers > 0

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return the next bytes; raise ReadTimeout or ReadError, or what the check raises."""
        return self._waiting(
            lambda seconds: self._inner.read(max_bytes, seconds),
            timeout,
            httpcore.ReadTimeout,
        )

    def recv_into(self, buffer: memoryview, timeout: float) -> int:
        """Fill *buffer* with what has come, without a copy; 0 is the end. Only if `is_direct`."""

        def receive(seconds: float | None) -> int:
            self._socket.settimeout(seconds)
            try:
                return self._socket.recv_into(buffer)
            except TimeoutError as slow:
                raise httpcore.ReadTimeout(str(slow)) from slow
            except OSError as cut:
                raise httpcore.ReadError(str(cut)) from cut

        return self._waiting(receive, timeout, httpcore.ReadTimeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all of *buffer*; raise WriteTimeout or WriteError, or what the check raises."""
        if not self.is_direct:
            self._inner.write(buffer, timeout)
            return

        def send(seconds: float | None) -> int:
            self._socket.settimeout(seconds)
            try:
                return self._socket.send(rest)
            except TimeoutError as slow:
                raise httpcore.WriteTimeout(str(slow)) from slow
            except OSError as cut:
                raise httpcore.WriteError(str(cut)) from cut

        rest = memoryview(buffer)
        while rest:
            # A TLS send that timed out must be offered the same bytes again, and is.
            rest = rest[self._waiting(send, timeout, httpcore.WriteTimeout) :]

    def _waiting(
        self,
        attempt: Callable[[float | None], T],
        timeout: float | None,
        too_slow: type[Exception],
    ) -> T:
        attention = _ATTENTION.get()
        if attention is None:
            return attempt(timeout)
        limit = timeout if attention.silence_seconds is None else attention.silence_seconds
        begun = time.monotonic()
        while True:
            left = None if limit is None else limit - (time.monotonic() - begun)
            slice_seconds = ATTENTION_SECONDS if left is None else min(ATTENTION_SECONDS, left)
            try:
                done = attempt(max(slice_seconds, 0.001))
                if attention.listener is not None:
                    attention.listener.hears()
                return done
            except too_slow:
                attention.check()
                if limit is not None and time.monotonic() - begun >= limit:
                    raise

    def close(self) -> None:
        """Close the connection at once."""
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """Return the same connection with TLS on top; raise HandshakeError."""
        try:
            inner = self._inner.start_tls(ssl_context, server_hostname, timeout)
        except (httpcore.ConnectError, httpcore.ConnectTimeout, ValueError) as failed:
            self._inner.close()
            raise HandshakeError(str(failed)) from failed
        return WatchedStream(inner, tls_layers=self._tls_layers + 1)

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore asks of a stream."""
        return self._inner.get_extra_info(info)


class CheckedBackend(httpcore.NetworkBackend):
    """Resolves, asks the rule about every address, and connects to the very address checked."""

    def __init__(self, rule: PeerRule) -> None:
        self._rule = rule
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address that answers; all are checked before the first attempt."""
        try:
            addresses = resolve(host, port)
        except (OSError, UnicodeError) as unknown:
            raise httpcore.ConnectError(str(unknown)) from unknown
        for address in addresses:
            self._rule.check(host, port, address)
        deadline = None if timeout is None else time.monotonic() + timeout
        failure: Exception = httpcore.ConnectError("no address")
        for tried, address in enumerate(addresses):
            # One dead address must not eat the time of the others.
            share = None
            if deadline is not None:
                share = max(deadline - time.monotonic(), 0.001) / (len(addresses) - tried)
            try:
                stream = self._backend.connect_tcp(
                    str(address), port, share, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failed:
                failure = failed
                continue
            self._rule.connected(host, address, addresses)
            return WatchedStream(stream)
        raise failure


class _Body(httpx.SyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream

    def close(self) -> None:
        self._stream.close()


class CheckedTransport(httpx.BaseTransport):
    """httpx's transport over httpcore's pool, with `CheckedBackend` underneath.

    HTTP/1.1 only: HTTP/2 costs several times the CPU for blobs (protocol E3).
    """

    def __init__(self, rule: PeerRule, context: ssl.SSLContext, proxy: str | None) -> None:
        if proxy is None:
            self._pool = httpcore.ConnectionPool(
                ssl_context=context,
                max_connections=None,  # who may move blobs is decided before, by admission
                max_keepalive_connections=KEEP_ALIVE_CONNECTIONS,
                keepalive_expiry=KEEP_ALIVE_SECONDS,
                network_backend=CheckedBackend(rule),
            )
            return
        through = httpx.Proxy(proxy)
        self._pool = httpcore.HTTPProxy(
            proxy_url=str(through.url),
            proxy_auth=through.raw_auth,
            ssl_context=context,
            max_connections=None,
            max_keepalive_connections=KEEP_ALIVE_CONNECTIONS,
            keepalive_expiry=KEEP_ALIVE_SECONDS,
            network_backend=CheckedBackend(rule),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send *request*, and return as soon as the answer's head is there."""
        answer = self._pool.handle_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(
                    scheme=request.url.raw_scheme,
                    host=request.url.raw_host,
                    port=request.url.port,
                    target=request.url.raw_path,
                ),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(
            status_code=answer.status,
            headers=answer.headers,
            stream=_Body(answer.stream),
            extensions=answer.extensions,
        )

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()


def timeouts(answer_seconds: float, connect_seconds: float) -> dict[str, float]:
    """Return the timeouts of one request, as httpcore reads them."""
    return {
        "connect": connect_seconds,
        "read": answer_seconds,
        "write": SILENCE_SECONDS,
        "pool": connect_seconds,
    }
