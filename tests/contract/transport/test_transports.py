"""What every transport keeps to: one exchange after the other, strictly read, over real sockets."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import h11
import httpcore
import httpx
import pytest

from transship.workers.registry.transport.addresses import ProxyItself
from transship.workers.registry.transport.direct import MAX_HEAD_BYTES, DirectTransport
from transship.workers.registry.transport.transport import CheckedTransport, attentive, timeouts

NETWORK = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException)


@dataclass
class Script:
    """A server that answers each request with the next of *answers*, byte for byte.

    A connection stays open until the client closes it, unless *closing*.
    """

    answers: list[bytes]
    closing: bool = False
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0

    def __post_init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listening.close()
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                self.connections += 1
                self._open.append(client)
                thread = threading.Thread(target=self._converse, args=(client,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _converse(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            while (request := _read_request(client)) and self.answers:
                self.requests.append(request)
                client.sendall(self.answers.pop(0))
                if self.closing:
                    break


def _read_request(client: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        more = client.recv(65536)
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])
    }
    chunked = headers.get(b"transfer-encoding") == b"chunked"
    length = int(headers.get(b"content-length", b"0"))
    while not body.endswith(b"0\r\n\r\n") if chunked else len(body) < length:
        more = client.recv(65536)
        if not more:
            return b""
        body += more
    return head + b"\r\n\r\n" + body


@pytest.fixture
def script() -> Iterator[Callable[..., Script]]:
    made: list[Script] = []

    def make(*answers: bytes, closing: bool = False) -> Script:
        made.append(Script(list(answers), closing))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(params=["direct", "httpcore"])
def transport(request: pytest.FixtureRequest) -> Iterator[httpx.BaseTransport]:
    context = ssl.create_default_context()
    made: httpx.BaseTransport
    if request.param == "direct":
        made = DirectTransport(ProxyItself(), context)
    else:
        made = CheckedTransport(ProxyItself(), context, None)
    yield made
    made.close()


def ask(
    transport: httpx.BaseTransport,
    script: Script,
    method: str = "GET",
    path: str = "/v2/",
    *,
    seconds: float = 5.0,
    **more: object,
) -> httpx.Response:
    message = httpx.Request(
        method,
        script.url + path,
        extensions={"timeout": timeouts(seconds, seconds)},
        **more,  # type: ignore[arg-type]
    )
    response = transport.handle_request(message)
    response.request = message
    return response


def body(response: httpx.Response) -> bytes:
    return b"".join(response.iter_raw())


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nETag: x\r\n\r\nok"


# --- one after the other -----------------------------------------------------------------------


def test_an_answer_is_read(transport: httpx.BaseTransport, script: Callable[..., Script]) -> None:
    server = script(OK)
    response = ask(transport, server, headers={"X-Asked": "yes"})
    assert (response.status_code, response.headers["etag"]) == (200, "x")
    assert response.http_version == "HTTP/1.1"
    assert body(response) == b"ok"
    assert b"GET /v2/ HTTP/1.1\r\n" in server.requests[0]
    assert b"X-Asked: yes" in server.requests[0]


@pytest.mark.parametrize(
    ("method", "first"),
    [
        ("GET", OK),
        ("GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        ("GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n"),
        ("DELETE", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n"),
        ("GET", b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" + OK),
        ("GET", b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"),
    ],
)
def test_a_connection_whose_answer_was_read_is_used_again(
    transport: httpx.BaseTransport, script: Callable[..., Script], method: str, first: bytes
) -> None:
    server = script(first, OK)
    body(ask(transport, server, method))
    assert body(ask(transport, server)) == b"ok"
    assert server.connections == 1


@pytest.mark.parametrize(
    "first",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ],
)
def test_a_connection_that_is_to_close_is_not(
    transport: httpx.BaseTransport, script: Callable[..., Script], first: bytes
) -> None:
    server = script(first, OK)
    body(ask(transport, server))
    body(ask(transport, server))
    assert server.connections == 2


def test_an_answer_that_is_closed_early_takes_its_connection_along(
    transport: httpx.BaseTransport, script: Callable[..., Script]
) -> None:
    server = script(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", OK)
    ask(transport, server).close()
    assert body(ask(transport, server)) == b"ok"
    assert server.connections == 2


def test_what_was_said_unasked_spoils_a_kept_connection(script: Callable[..., Script]) -> None:
    server = script(OK + OK, OK)
    transport = DirectTransport(ProxyItself(), ssl.create_default_context())
    assert [body(ask(transport, server)), body(ask(transport, server))] == [b"ok", b"ok"]
    assert server.connections == 2
    transport.close()


def test_a_body_without_a_length_ends_with_the_connection(
    transport: httpx.BaseTransport, script: Callable[..., Script]
) -> None:
    server = script(b"HTTP/1.1 200 OK\r\n\r\nall of it", closing=True)
    assert body(ask(transport, server)) == b"all of it"


# --- what is sent ------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 70_000, 1_000_000])
def test_a_body_is_sent_with_its_length(
    transport: httpx.BaseTransport, script: Callable[..., Script], size: int
) -> None:
    server = script(OK)
    body(ask(transport, server, "PUT", content=b"x" * size))
    head, _, sent = server.requests[0].partition(b"\r\n\r\n")
    assert f"Content-Length: {size}".encode() in head
    assert sent == b"x" * size


def test_pieces_are_sent_as_announced(
    transport: httpx.BaseTransport, script: Callable[..., Script]
) -> None:
    server = script(OK)
    pieces = iter([b"ab", b"", b"c" * 100_000])
    body(ask(transport, server, "PATCH", content=pieces, headers={"Content-Length": "100002"}))
    assert server.requests[0].endswith(b"ab" + b"c" * 100_000)


def test_pieces_of_unknown_length_go_in_chunks(
    transport: httpx.BaseTransport, script: Callable[..., Script]
) -> None:
    server = script(OK)
    body(ask(transport, server, "PUT", content=iter([b"ab", b"cde"])))
    assert server.requests[0].endswith(b"2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n")


@pytest.mark.parametrize("length", ["1", "3"])
def test_another_length_than_announced_is_not_sent(
    transport: httpx.BaseTransport, script: Callable[..., Script], length: str
) -> None:
    server = script(OK)
    with pytest.raises((httpcore.LocalProtocolError, h11.LocalProtocolError)):
        ask(transport, server, "PUT", content=iter([b"ab"]), headers={"Content-Length": length})


@pytest.mark.parametrize("value", ["a\r\nX-Evil: yes", "a\nb", "a\0b"])
def test_a_header_cannot_break_out(
    transport: httpx.BaseTransport, script: Callable[..., Script], value: str
) -> None:
    server = script(OK)
    with pytest.raises(httpcore.LocalProtocolError):
        ask(transport, server, headers={"X": value})
    assert server.requests == []


def test_one_who_refuses_before_all_was_sent_is_heard(
    transport: httpx.BaseTransport, script: Callable[..., Script]
) -> None:
    """It answers at the head, and closes: what it said counts."""
    server = socket.create_server(("127.0.0.1", 0))

    def refuse() -> None:
        client, _ = server.accept()
        client.recv(65536)
        client.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        client.shutdown(socket.SHUT_RD)
        done.wait(10)
        client.close()

    done = threading.Event()
    thread = threading.Thread(target=refuse, daemon=True)
    thread.start()
    message = httpx.Request(
        "PUT",
        f"http://127.0.0.1:{server.getsockname()[1]}/",
        content=b"x" * 20_000_000,
        extensions={"timeout": timeouts(5, 5)},
    )
    with suppress(httpcore.ReadError):  # where the reset has overtaken what was said
        response = transport.handle_request(message)
        assert response.status_code == 413
        response.close()
    done.set()
    thread.join()
    server.close()


# --- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokk",
        b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nokk",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nBad Name: 1\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 abc OK\r\nContent-Length: 2\r\n\r\nok",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x16",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokk\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\ncut",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ncut",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"",
    ],
    ids=lambda answer: answer[:60].decode("latin-1"),
)
def test_an_answer_that_is_none_is_refused(
    transport: httpx.BaseTransport, script: Callable[..., Script], answer: bytes
) -> None:
    server = script(answer, closing=True)
    with pytest.raises(NETWORK):
        body(ask(transport, server))


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * (2 * MAX_HEAD_BYTES) + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 40_000 + b"\r\n",
        b"HTTP/3.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 20_000,
    ],
    ids=lambda answer: answer[:60].decode("latin-1"),
)
def test_what_two_may_read_differently_is_refused_by_ours(
    script: Callable[..., Script], answer: bytes
) -> None:
    server = script(answer, closing=True)
    transport = DirectTransport(ProxyItself(), ssl.create_default_context())
    with pytest.raises(httpcore.RemoteProtocolError):
        body(ask(transport, server))
    transport.close()


# --- waiting -----------------------------------------------------------------------------------


def test_silence_has_a_bound(transport: httpx.BaseTransport, script: Callable[..., Script]) -> None:
    server = script(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok")
    response = ask(transport, server, seconds=0.2)
    with pytest.raises(httpcore.ReadTimeout):
        body(response)


def test_who_waits_can_be_stopped(
    transport: httpx.BaseTransport, script: Callable[..., Script]
) -> None:
    class StoppedError(Exception):
        pass

    def stop() -> None:
        raise StoppedError

    server = script(b"", OK)
    with pytest.raises(StoppedError), attentive(stop):
        ask(transport, server, seconds=60)
    assert body(ask(transport, server)) == b"ok"  # over another connection


def test_nobody_there_is_a_connect_error(transport: httpx.BaseTransport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    message = httpx.Request(
        "GET", f"http://127.0.0.1:{port}/", extensions={"timeout": timeouts(1, 1)}
    )
    with pytest.raises(httpcore.ConnectError):
        transport.handle_request(message)
