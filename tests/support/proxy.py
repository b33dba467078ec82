"""A reverse proxy before a registry: slow, exact in what it logs, and able to misbehave.

It speaks HTTP/1.1 with kept connections, a thread each. Its counts can be trusted for limits: a
body counts from before its first byte is sent until just before its last is, so that no client
that keeps to a limit is seen beyond it. Bytes are logged before they are sent: who has received
them finds them in the log.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import BinaryIO, Self, cast

CHUNK_BYTES = 256 * 1024
TLS_HANDSHAKE = b"\x16"
_BLOB = re.compile(r"^/v2/(.+)/blobs/([a-z0-9]+:[0-9a-f]+)$")
_UPLOAD = re.compile(r"^/v2/(.+)/blobs/uploads/")
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "upgrade"})


@dataclass(slots=True)
class ProxiedRequest:
    """One request. Times are monotonic seconds; `ended` and the rest are set as they come."""

    number: int
    method: str
    target: str
    headers: Mapping[str, str]
    started: float
    ended: float | None = None
    status: int | None = None
    bytes_sent: int = 0  # of the answer's body
    bytes_received: int = 0  # of the request's body
    cut_by_client: bool = False

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def range(self) -> str | None:
        """The Range header."""
        return self.headers.get("range")

    @property
    def blob_digest(self) -> str | None:
        """The digest of the blob asked for; None for all else, uploads too."""
        match = _BLOB.match(self.path)
        return None if match is None else match[2]

    @property
    def is_blob_get(self) -> bool:
        """Whether this asks for a blob's bytes."""
        return self.method == "GET" and self.blob_digest is not None

    @property
    def is_upload(self) -> bool:
        """Whether this may carry a blob's bytes to the registry."""
        return self.method in {"PUT", "PATCH"} and _UPLOAD.match(self.path) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What to do with a request instead of just passing it on.

    Args:
        status: Answer with this, without asking the registry; *body* and *headers* go with it.
        headers: With *status* all headers, else such as replace the registry's.
        without: Names of the registry's headers to leave out.
        drop: Close the connection without an answer.
        cut_after: Close the connection after so many bytes of the answer's body.
        cut_request_after: Close both connections after so many bytes of the request's body.
        reset: Where a connection is closed, reset it instead.
        change: Rewrites each piece of the answer's body; must keep its length.
        change_request: Rewrites each piece of the request's body; must keep its length.
        forget_range: Pass the request on without its Range.
        delay_seconds: Wait before the request is passed on.
        hold_seconds: Wait before the answer's body.
        hold_until: Wait before the answer's body until this is set.
        bytes_per_second: The speed of the bodies of request and answer.
    """

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    without: tuple[str, ...] = ()
    drop: bool = False
    cut_after: int | None = None
    cut_request_after: int | None = None
    reset: bool = False
    change: Callable[[bytes], bytes] | None = None
    change_request: Callable[[bytes], bytes] | None = None
    forget_range: bool = False
    delay_seconds: float = 0.0
    hold_seconds: float | None = None
    hold_until: threading.Event | None = None
    bytes_per_second: float | None = None


class _CutError(Exception):
    """The script wants the connections closed."""


Script = Callable[[ProxiedRequest], Action | None]
_PASS = Action()


class SlowProxy:
    """Stands before *target_host* until stopped.

    Args:
        target_host: `host:port` of a registry in plain HTTP.
        hold_blob_seconds: How long each blob's body waits after its head is sent.
        hold_upload_seconds: How long each upload's body waits before it is passed on.
        bytes_per_second: The speed of each blob's body.
        on_request: Says what to do with a request; may be replaced at any time.
        host_name: How it is called in `host`.
        port: Where to listen; by default on a free one.
    """

    def __init__(
        self,
        target_host: str,
        *,
        hold_blob_seconds: float = 0.0,
        hold_upload_seconds: float = 0.0,
        bytes_per_second: float | None = None,
        on_request: Script | None = None,
        host_name: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.target_host = target_host
        self.hold_blob_seconds = hold_blob_seconds
        self.hold_upload_seconds = hold_upload_seconds
        self.bytes_per_second = bytes_per_second
        self.on_request = on_request
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._requests: list[ProxiedRequest] = []
        self._counts = {"blob": 0, "upload": 0}
        self._peaks = {"blob": 0, "upload": 0}
        self._server = _Server(self, port)
        self.port: int = self._server.server_address[1]
        self.host = f"{host_name}:{self.port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """Its address, without a path."""
        return f"http://{self.host}"

    def requests(self) -> list[ProxiedRequest]:
        """Return all requests so far, in the order of their arrival."""
        with self._lock:
            return list(self._requests)

    @property
    def connections(self) -> int:
        """How many connections were opened so far, attempts at TLS too."""
        return self._server.connections

    @property
    def blob_bodies(self) -> int:
        """How many bodies of blobs are being answered now."""
        return self._counts["blob"]

    @property
    def peak_blob_bodies(self) -> int:
        """The most bodies of blobs that were answered at the same time."""
        return self._peaks["blob"]

    @property
    def upload_bodies(self) -> int:
        """How many bodies of uploads are being received now."""
        return self._counts["upload"]

    @property
    def peak_upload_bodies(self) -> int:
        """The most bodies of uploads that were received at the same time."""
        return self._peaks["upload"]

    def forget(self) -> None:
        """Empty the log, and begin the peaks anew."""
        with self._lock:
            self._requests.clear()
            self._peaks = dict(self._counts)

    def stop(self) -> None:
        """Close everything, connections that are in use too."""
        self.stopping.set()
        self._server.shutdown()
        self._server.close_connections()
        self._server.server_close()
        self._thread.join(5)

    # --- for the handler -----------------------------------------------------------------------

    def note(self, method: str, target: str, headers: Mapping[str, str]) -> ProxiedRequest:
        """Log the arrival of a request."""
        with self._lock:
            request = ProxiedRequest(len(self._requests), method, target, headers, time.monotonic())
            self._requests.append(request)
            return request

    def script_for(self, request: ProxiedRequest) -> Action:
        """Ask the script about *request*."""
        script = self.on_request
        return (None if script is None else script(request)) or _PASS

    def enter(self, kind: str) -> Callable[[], None]:
        """Count a body of *kind*; what is returned ends that, once."""
        with self._lock:
            self._counts[kind] += 1
            self._peaks[kind] = max(self._peaks[kind], self._counts[kind])
        left = threading.Event()

        def leave() -> None:
            with self._lock:
                if not left.is_set():
                    left.set()
                    self._counts[kind] -= 1

        return leave

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, proxy: SlowProxy, port: int) -> None:
        self.proxy = proxy
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        self.connections = 0
        super().__init__(("127.0.0.1", port), _Handler)

    def opened(self, connection: socket.socket) -> None:
        with self._open_lock:
            self._open.add(connection)
            self.connections += 1

    def closed(self, connection: socket.socket) -> None:
        with self._open_lock:
            self._open.discard(connection)

    def close_connections(self) -> None:
        with self._open_lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """Broken connections are this proxy's business, and no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    rbufsize = CHUNK_BYTES

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.server.opened(self.connection)
        self._upstream: http.client.HTTPConnection | None = None

    def finish(self) -> None:
        self.server.closed(self.connection)
        if self._upstream is not None:
            self._upstream.close()
        with contextlib.suppress(OSError):
            super().finish()

    def handle(self) -> None:
        # A client that tries TLS first must not wait for an answer to its handshake.
        try:
            first = self.connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return
        if first and first != TLS_HANDSHAKE:
            with contextlib.suppress(ConnectionError):
                super().handle()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """The log is `SlowProxy.requests`."""

    def _serve(self) -> None:
        proxy = self.server.proxy
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = proxy.note(self.command, self.path, headers)
        try:
            self._answer(request, proxy.script_for(request))
        except _CutError:
            self.close_connection = True
        except (ConnectionError, TimeoutError):
            request.cut_by_client = True
            self.close_connection = True
        finally:
            if request.ended is None:
                request.ended = time.monotonic()

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815

    def _answer(self, request: ProxiedRequest, action: Action) -> None:
        if action.reset:
            # Nothing lingers: what is closed is reset.
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._hold(action.delay_seconds, None)
        if action.drop:
            self.close_connection = True
            return
        if action.status is not None:
            for piece in self._request_body():
                request.bytes_received += len(piece)
            self._answer_scripted(request, action)
            return
        answer = self._pass_on(request, action)
        self._relay(request, action, answer)

    def _answer_scripted(self, request: ProxiedRequest, action: Action) -> None:
        status = cast("int", action.status)
        request.status = status
        # The body of a chunked answer is sent as it is: chunks and all.
        chunked = "Transfer-Encoding" in action.headers
        head = {} if chunked else {"Content-Length": str(len(action.body))}
        head.update(action.headers)
        self._send_head(status, head)
        if request.method != "HEAD":
            body = action.body if action.cut_after is None else action.body[: action.cut_after]
            self._before_last(request)
            request.bytes_sent = len(body)
            self.wfile.write(body)
            self.close_connection |= len(body) < len(action.body)

    # --- to the registry -----------------------------------------------------------------------

    def _pass_on(self, request: ProxiedRequest, action: Action) -> http.client.HTTPResponse:
        upstream = self._upstream
        if upstream is None:
            host, _, port = self.server.proxy.target_host.rpartition(":")
            upstream = self._upstream = http.client.HTTPConnection(host, int(port), timeout=60)
        upstream.putrequest(
            request.method, request.target, skip_host=True, skip_accept_encoding=True
        )
        for name, value in self.headers.items():
            forgotten = action.forget_range and name.lower() == "range"
            if name.lower() not in _HOP_BY_HOP and not forgotten:
                upstream.putheader(name, value)  # Host, too: Locations shall lead here
        chunked = "chunked" in self.headers.get("Transfer-Encoding", "").lower()
        if chunked:
            upstream.putheader("Transfer-Encoding", "chunked")
        upstream.endheaders()
        leave = None
        refused = False
        try:
            for piece in self._request_body():
                if request.is_upload and leave is None:
                    leave = self.server.proxy.enter("upload")
                    self._hold(self.server.proxy.hold_upload_seconds, None)
                left = len(piece)
                if action.cut_request_after is not None:
                    left = min(left, action.cut_request_after - request.bytes_received)
                is_last = left < len(piece)
                piece = piece[:left]  # noqa: PLW2901
                request.bytes_received += len(piece)
                if action.change_request is not None:
                    piece = action.change_request(piece)  # noqa: PLW2901
                if action.bytes_per_second is not None:
                    self._hold(len(piece) / action.bytes_per_second, None)
                if not refused:
                    refused = self._refuses(
                        upstream, b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece
                    )
                if is_last:
                    raise _CutError
            if chunked and not refused:
                self._refuses(upstream, b"0\r\n\r\n")
        except BaseException:
            upstream.close()
            self._upstream = None
            raise
        finally:
            if leave is not None:
                leave()
        return upstream.getresponse()

    def _refuses(self, upstream: http.client.HTTPConnection, data: bytes) -> bool:
        """Pass on a piece; True if the registry takes no more, because it has answered already."""
        try:
            upstream.send(data)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
            return True
        return False

    def _request_body(self) -> Iterator[bytes]:
        source = cast("BinaryIO", self.rfile)
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            while length := int(source.readline().split(b";")[0], 16):
                yield self._exactly(source, length)
                source.readline()
            source.readline()
            return
        left = int(self.headers.get("Content-Length") or 0)
        while left:
            piece = self._exactly(source, min(left, CHUNK_BYTES))
            left -= len(piece)
            yield piece

    @staticmethod
    def _exactly(source: BinaryIO, length: int) -> bytes:
        piece = source.read(length)
        if len(piece) < length:
            raise ConnectionResetError("the client went away")
        return piece

    # --- to the client -------------------------------------------------------------------------

    def _relay(
        self, request: ProxiedRequest, action: Action, answer: http.client.HTTPResponse
    ) -> None:
        request.status = answer.status
        replaced = {name.lower() for name in action.headers} | {n.lower() for n in action.without}
        head = {
            name: value
            for name, value in answer.getheaders()
            if name.lower() not in _HOP_BY_HOP | replaced
        }
        head.update(action.headers)
        length = answer.length
        has_body = request.method != "HEAD" and answer.status not in {204, 304}
        chunked = has_body and length is None
        if chunked:
            head["Transfer-Encoding"] = "chunked"
        is_blob = request.is_blob_get and answer.status in {200, 206}
        leave = self.server.proxy.enter("blob") if is_blob else lambda: None
        try:
            self._send_head(answer.status, head)
            if is_blob or action.hold_seconds is not None or action.hold_until is not None:
                hold = action.hold_seconds
                self._hold(
                    self.server.proxy.hold_blob_seconds if hold is None else hold,
                    action.hold_until,
                )
            rate = action.bytes_per_second
            if rate is None and is_blob:
                rate = self.server.proxy.bytes_per_second
            if has_body:
                self._send_body(request, action, answer, chunked, rate, leave)
        finally:
            leave()
            if not answer.isclosed():
                answer.close()
                if self._upstream is not None:
                    self._upstream.close()
                self._upstream = None

    def _send_body(
        self,
        request: ProxiedRequest,
        action: Action,
        answer: http.client.HTTPResponse,
        chunked: bool,
        rate: float | None,
        leave: Callable[[], None],
    ) -> None:
        step = CHUNK_BYTES if rate is None else max(1, min(CHUNK_BYTES, int(rate / 20)))
        begun = time.monotonic()
        left = answer.length
        while piece := answer.read(step):
            if left is not None:
                left -= len(piece)
            if action.change is not None:
                piece = action.change(piece)
            if action.cut_after is not None and request.bytes_sent + len(piece) > action.cut_after:
                piece = piece[: action.cut_after - request.bytes_sent]
                leave()
                request.bytes_sent += len(piece)
                self.wfile.write(piece)
                self.close_connection = True
                return
            if left == 0:
                leave()
                self._before_last(request)
            request.bytes_sent += len(piece)
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            if rate is not None:
                self._hold(begun + request.bytes_sent / rate - time.monotonic(), None)
        if chunked:
            leave()
            self._before_last(request)
            self.wfile.write(b"0\r\n\r\n")

    @staticmethod
    def _before_last(request: ProxiedRequest) -> None:
        request.ended = time.monotonic()

    def _send_head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _hold(self, seconds: float, until: threading.Event | None) -> None:
        """Wait; end at once when the client goes away or the proxy is stopped."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline or (until is not None and not until.is_set()):
            if self.server.proxy.stopping.is_set():
                raise ConnectionAbortedError("the proxy is stopping")
            left = deadline - time.monotonic()
            slice_seconds = 0.02 if until is not None else min(0.05, max(left, 0.001))
            readable, _, _ = select.select([self.connection], [], [], slice_seconds)
            if readable and not self.connection.recv(1, socket.MSG_PEEK):
                raise ConnectionResetError("the client went away")
            if readable:
                time.sleep(slice_seconds)  # a pipelined request, say: it waits its turn
