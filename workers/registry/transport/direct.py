"""HTTP/1.1 straight over sockets: what nearly every request takes.

A small request costs a quarter of what it does through httpx's client and pool. The language stays
theirs: `httpx.BaseTransport`, with httpcore's exceptions, which become ours in
`errors.translated`. httptools (llhttp) reads the heads and the bodies in chunks, strictly: two
lengths, a length beside chunks, folded headers and bare line feeds end the conversation. Proxies
have `transport.CheckedTransport`.
"""

from __future__ import annotations

import re
import select
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import httpcore
import httpx
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from transship.workers.registry.transport.addresses import PeerRule
from transship.workers.registry.transport.origins import Origin
from transship.workers.registry.transport.transport import (
    CLOSED,
    KEEP_ALIVE_CONNECTIONS,
    KEEP_ALIVE_SECONDS,
    CheckedBackend,
    WatchedStream,
)

MAX_HEAD_BYTES: Final = 64 * 1024  # of an answer, with all that came before it; and of trailers
_READ_BYTES = 64 * 1024
_JOINED_BYTES = 64 * 1024  # a body of so many goes out with its head
_BODILESS = frozenset({204, 304})
_UNSENDABLE = re.compile(rb"[\x00-\x20\x7f]")
_BREAKING = re.compile(rb"[\r\n\0]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A request, as it goes over the wire.

    *headers* have Host, and what tells where the body ends: Content-Length, or chunks. *pieces*
    are the body. The times are in seconds; None is without end.
    """

    method: str
    origin: Origin
    target: str
    headers: Sequence[tuple[bytes, bytes]]
    pieces: Iterable[bytes] = ()
    connect_seconds: float | None = None
    write_seconds: float | None = None
    answer_seconds: float | None = None
    on_connection: Callable[[bool], None] = lambda _: None  # is told whether it was a kept one


class DirectTransport(httpx.BaseTransport):
    """Connections to the hosts that a rule allows, kept for the next request; thread-safe."""

    def __init__(self, rule: PeerRule, context: ssl.SSLContext) -> None:
        """Connect nowhere yet. *context* is for https."""
        self._backend = CheckedBackend(rule)
        self._context = context
        self._context.set_alpn_protocols(["http/1.1"])
        self._lock = threading.Lock()
        self._idle: defaultdict[Origin, list[_Connection]] = defaultdict(list)
        self._kept = 0
        self._closed = False
        self.in_use = 0  # connections with an answer that is not closed

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The same as `exchange`, in httpx's words."""
        times: dict[str, float] = request.extensions.get("timeout", {})
        url = request.url
        port = url.port or (443 if url.scheme == "https" else 80)
        assert isinstance(request.stream, httpx.SyncByteStream)
        message = Message(
            method=request.method,
            origin=Origin(url.scheme, url.raw_host.decode("ascii"), port),
            target=url.raw_path.decode("ascii"),
            headers=request.headers.raw,
            pieces=request.stream,
            connect_seconds=times.get("connect"),
            write_seconds=times.get("write"),
            answer_seconds=times.get("read"),
        )
        return self.exchange(message)

    def exchange(self, message: Message) -> httpx.Response:
        """Send *message*, and return as soon as the answer's head is there.

        Raises:
            httpcore.ConnectError, ConnectTimeout, and what the rule raises: nobody was reached.
            httpcore.ReadError, ReadTimeout, WriteError, WriteTimeout: the connection broke.
            httpcore.RemoteProtocolError: the answer is none, or there is none.
            httpcore.LocalProtocolError: the request cannot be sent as it is.
        """
        head = _head(message)
        connection = self._take(message.origin)
        message.on_connection(connection is not None)
        if connection is None:
            connection = self._connect(message.origin, message.connect_seconds)
        with self._lock:
            self.in_use += 1
        try:
            connection.send(head, message)
            connection.read_head(message.answer_seconds)
        except BaseException:
            self.let_go(connection, keep=False)
            raise
        body = _Body(self, connection, message.method, message.answer_seconds)
        answer = connection.answer
        return httpx.Response(
            status_code=answer.status,
            headers=answer.headers,
            stream=body,
            extensions={
                "http_version": b"HTTP/" + answer.version.encode(),
                "network_stream": connection.stream,
                "bodiless": body.is_none,
            },
        )

    def close(self) -> None:
        """Close what is kept; what is in use closes when its answer does."""
        with self._lock:
            self._closed = True
            kept = [one for some in self._idle.values() for one in some]
            self._idle.clear()
            self._kept = 0
        for one in kept:
            one.close()

    def let_go(self, connection: _Connection, *, keep: bool) -> None:
        """Close a connection, or *keep* it for the next request."""
        connection.idle_since = time.monotonic()
        with self._lock:
            self.in_use -= 1
            keep = keep and not self._closed and self._kept < KEEP_ALIVE_CONNECTIONS
            if keep:
                self._idle[connection.origin].append(connection)
                self._kept += 1
        if not keep:
            connection.close()

    def _take(self, origin: Origin) -> _Connection | None:
        """The connection that was used last, if it is still good."""
        while True:
            with self._lock:
                if not self._idle[origin]:
                    return None
                connection = self._idle[origin].pop()
                self._kept -= 1
            if connection.is_good():
                return connection
            connection.close()

    def _connect(self, origin: Origin, timeout: float | None) -> _Connection:
        stream = self._backend.connect_tcp(origin.host, origin.port, timeout)
        if origin.scheme == "https":
            stream = stream.start_tls(self._context, origin.host, timeout)
        assert isinstance(stream, WatchedStream)
        return _Connection(origin, stream)


class _Answer:
    """What the parser has read of one answer."""

    def __init__(self) -> None:
        self.status = 0
        self.version = ""
        self.headers: list[tuple[bytes, bytes]] = []
        self.pieces: list[bytes] = []
        self.head_is_whole = False
        self.is_whole = False
        self.has_surplus = False
        self.parser = HttpResponseParser(self)

    # --- called by the parser ---

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or one trailer, which says nothing."""
        if not self.head_is_whole:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is there."""
        self.head_is_whole = True
        self.status = self.parser.get_status_code()
        self.version = self.parser.get_http_version()

    def on_message_begin(self) -> None:
        """Another one follows, which nobody has asked for, where this one is whole."""
        self.has_surplus |= self.is_whole

    def on_body(self, piece: bytes) -> None:
        """Some of the body."""
        if not self.is_whole:
            self.pieces.append(piece)

    def on_message_complete(self) -> None:
        """Nothing more belongs to it."""
        self.is_whole = True

    # --- called by the connection ---

    def feed(self, data: bytes) -> None:
        """Parse *data*."""
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            raise httpcore.RemoteProtocolError("another protocol was not asked for") from upgrade
        except HttpParserError as wrong:
            if self.is_whole:
                self.has_surplus = True
                return
            raise httpcore.RemoteProtocolError(str(wrong)) from wrong

    @property
    def stays_open(self) -> bool:
        """Whether the connection does after it."""
        if self.has_surplus:
            return False
        closing = any(b"close" in one.lower() for one in self.header(b"connection"))
        return self.version == "1.1" and not closing

    def header(self, name: bytes) -> list[bytes]:
        """The values of a header."""
        return [value for one, value in self.headers if one.lower() == name]


class _Connection:
    """One connection, and the answer that is read from it."""

    def __init__(self, origin: Origin, stream: WatchedStream) -> None:
        self.origin = origin
        self.stream = stream
        self.answer = _Answer()
        self.rest = b""  # what came after the head
        self.sent_all = True
        self.idle_since = 0.0

    def is_good(self) -> bool:
        """Whether nobody has closed it, or said something unasked, and not too long ago."""
        if time.monotonic() - self.idle_since >= KEEP_ALIVE_SECONDS:
            return False
        readable = select.poll()
        readable.register(self.stream.get_extra_info("socket"), select.POLLIN)
        return not readable.poll(0)

    def close(self) -> None:
        """Close it."""
        self.stream.close()

    def send(self, head: bytes, message: Message) -> None:
        """Send the request. One who answers before it has all may refuse the rest."""
        self.sent_all = False
        try:
            self._send(head, message)
        except httpcore.WriteError:
            return  # perhaps it has said why
        self.sent_all = True

    def _send(self, head: bytes, message: Message) -> None:
        timeout = message.write_seconds
        told = {name.lower(): value for name, value in message.headers}
        length = told.get(b"content-length")
        chunked = length is None and b"transfer-encoding" in told
        left = int(length) if length is not None else 0
        waiting = head
        for piece in message.pieces:
            if not piece:
                continue
            if not chunked:
                left -= len(piece)
                if left < 0:
                    raise httpcore.LocalProtocolError("more was to be sent than was announced")
            framed = b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece
            if waiting and len(waiting) + len(framed) <= _JOINED_BYTES:
                waiting += framed
                continue
            if waiting:
                self.stream.write(waiting, timeout)
                waiting = b""
            self.stream.write(framed, timeout)
        if chunked:
            waiting += b"0\r\n\r\n"
        if waiting:
            self.stream.write(waiting, timeout)
        if left and not chunked:
            raise httpcore.LocalProtocolError("less was sent than was announced")

    def read_head(self, timeout: float | None) -> None:
        """Read the head of the answer; what comes before it says nothing."""
        self.answer, self.rest = _Answer(), b""
        received, ahead = 0, b""
        while True:
            data = ahead or self.stream.read(_READ_BYTES, timeout)
            if not data:
                what = "in the head of an answer" if received else "without an answer"
                raise httpcore.ReadError(f"{CLOSED} {what}")
            ahead = self._feed_head(data)
            received += len(data) - len(ahead)
            if received > MAX_HEAD_BYTES:
                raise httpcore.RemoteProtocolError("the head of the answer is too long")
            if self.answer.head_is_whole:
                if self.answer.status >= 200:
                    break
                if self.answer.status == 101:
                    raise httpcore.RemoteProtocolError("another protocol was not asked for")
                self.answer = _Answer()
        self.rest = ahead
        if self.answer.version not in {"1.0", "1.1"}:
            raise httpcore.RemoteProtocolError("the answer has an unknown version of HTTP")
        if any(one.lower() != b"chunked" for one in self.answer.header(b"transfer-encoding")):
            raise httpcore.RemoteProtocolError("the answer has an unknown Transfer-Encoding")

    def _feed_head(self, data: bytes) -> bytes:
        """Parse no further than the head goes; returns what comes after it."""
        begin = 0
        while not self.answer.head_is_whole and begin < len(data):
            # A line at a time where the end may be near; the parser knows where the head ends.
            end = data.find(b"\r\n\r\n", begin)
            if end < 0:
                end = data.find(b"\n", begin)
                end = len(data) if end < 0 else end + 1
            else:
                end += 4
            self.answer.feed(data[begin:end])
            begin = end
        return data[begin:]


class _Body(httpx.SyncByteStream):
    """The body of an answer. Read to its end, it gives the connection back; else it closes it."""

    def __init__(
        self,
        transport: DirectTransport,
        connection: _Connection,
        method: str,
        timeout: float | None,
    ) -> None:
        self._transport = transport
        self._connection: _Connection | None = connection
        self._timeout = timeout
        self._answer = answer = connection.answer
        self.is_none = method == "HEAD" or answer.status in _BODILESS
        self._until_closed = not (
            answer.header(b"content-length") or answer.header(b"transfer-encoding")
        )

    def __iter__(self) -> Iterator[bytes]:
        connection = self._connection
        if connection is None:
            raise httpx.StreamConsumed
        try:
            yield from self._read(connection)
        except BaseException:
            self.close()
            raise

    def _read(self, connection: _Connection) -> Iterator[bytes]:
        answer = self._answer
        if self.is_none:
            self._end(reusable=not connection.rest)
            return
        data, connection.rest = connection.rest, b""
        trailers = 0
        while True:
            if data:
                answer.feed(data)
            pieces, answer.pieces = answer.pieces, []
            yield from pieces
            if answer.is_whole:
                break
            trailers = 0 if pieces else trailers + len(data)
            if trailers > MAX_HEAD_BYTES:
                raise httpcore.RemoteProtocolError("the trailers of the answer are too long")
            data = connection.stream.read(_READ_BYTES, self._timeout)
            if not data:
                if self._until_closed:
                    self._end(reusable=False)
                    return
                raise httpcore.ReadError(f"{CLOSED} in an answer")
        self._end(reusable=True)

    def close(self) -> None:
        """Close the connection, unless it was given back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._transport.let_go(connection, keep=False)

    def _end(self, *, reusable: bool) -> None:
        connection, self._connection = self._connection, None
        assert connection is not None
        keep = reusable and connection.sent_all and self._answer.stays_open
        self._transport.let_go(connection, keep=keep)


def _head(message: Message) -> bytes:
    target = message.target.encode("ascii", "replace")
    if _UNSENDABLE.search(target):
        raise httpcore.LocalProtocolError("a target that cannot be sent")
    lines = [b"%b %b HTTP/1.1" % (message.method.encode("ascii"), target)]
    for name, value in message.headers:
        if _BREAKING.search(value) or _UNSENDABLE.search(name):
            raise httpcore.LocalProtocolError("a header that cannot be sent")
        lines.append(b"%b: %b" % (name, value))
    return b"\r\n".join([*lines, b"", b""])
