"""What servers say, read from a stream that is cut anywhere."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Any, cast

import httpcore
import httpx
from hypothesis import given
from hypothesis import strategies as st

from transship.workers.registry.transport.addresses import ProxyItself
from transship.workers.registry.transport.direct import MAX_HEAD_BYTES, DirectTransport
from transship.workers.registry.transport.transport import WatchedStream

CLEAN = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException)


class Said(WatchedStream):
    """A connection over which pieces come, and then its end."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = [piece for piece in pieces if piece]
        self.is_closed = False

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        piece = self._pieces.pop(0) if self._pieces else b""
        if len(piece) > max_bytes:
            self._pieces.insert(0, piece[max_bytes:])
        return piece[:max_bytes]

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """It goes nowhere."""

    def close(self) -> None:
        self.is_closed = True


class Backend:
    def __init__(self, stream: Said) -> None:
        self._stream = stream

    def connect_tcp(self, *_: Any, **__: Any) -> Said:
        return self._stream


def converse(pieces: Sequence[bytes], method: str = "GET") -> tuple[httpx.Response, bytes]:
    """What a client makes of what a server says."""
    stream = Said(pieces)
    transport = DirectTransport(ProxyItself(), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    transport._backend = cast("Any", Backend(stream))
    message = httpx.Request(method, "http://r.test/v2/")
    try:
        response = transport.handle_request(message)
        body = b"".join(response.iter_raw())
    finally:
        assert transport.in_use == 0 or stream.is_closed
        transport.close()
    assert transport.in_use == 0
    return response, body


_PARTS = st.sampled_from(
    [
        *(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 404 No\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
        *(b"HTTP/1.1 204 \r\n", b"Content-Length: 3\r\n", b"Content-Length: 0\r\n"),
        *(b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"X: y\r\n", b"\r\n"),
        *(b"3\r\nabc\r\n", b"0\r\n\r\n", b"abc", b"\n", b" ", b"\0", b"ffffffffffffffffff\r\n"),
    ]
)


@given(st.lists(st.one_of(_PARTS, st.binary(max_size=20)), max_size=12), st.booleans())
def test_whatever_a_server_says_is_an_answer_or_a_clean_error(
    pieces: list[bytes], together: bool
) -> None:
    for method in ("GET", "HEAD"):
        try:
            response, body = converse([b"".join(pieces)] if together else pieces, method)
        except CLEAN:
            continue
        assert 200 <= response.status_code <= 999
        if "content-length" in response.headers and method == "GET":
            assert len(body) in {0, int(response.headers["content-length"])}


@given(st.binary(min_size=1, max_size=300), st.integers(1, 40))
def test_an_answer_is_the_same_however_it_is_cut(content: bytes, size: int) -> None:
    said = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX: y\r\n\r\n%b" % (len(content), content)
    pieces = [said[at : at + size] for at in range(0, len(said), size)]
    response, body = converse(pieces)
    assert (response.headers["x"], body) == ("y", content)


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=6), st.integers(1, 40))
def test_chunks_are_the_same_however_they_are_cut(chunks: list[bytes], size: int) -> None:
    framed = b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in chunks) + b"0\r\n\r\n"
    said = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + framed
    _, body = converse([said[at : at + size] for at in range(0, len(said), size)])
    assert body == b"".join(chunks)


def test_heads_without_end_are_given_up() -> None:
    for endless in (b"X: y\r\n", b"x", b"HTTP/1.1 100 Continue\r\n\r\n"):
        stream = [b"HTTP/1.1 200 OK\r\n" if endless == b"X: y\r\n" else b""]
        stream += [endless * 1000] * (2 * MAX_HEAD_BYTES // (1000 * len(endless)) + 2)
        try:
            converse(stream)
        except httpcore.RemoteProtocolError:
            continue
        raise AssertionError(f"{endless!r} was read to its end")
