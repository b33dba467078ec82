"""The HTTP of commands: bodies both ways, connections that are kept, and answers that end early."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from transship.api.client.http import HttpClient, TransportError

Script = Callable[[socket.socket], None]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Scripted:
    """A server that does with each connection what its script says; *received* has what came."""

    def __init__(self, listener: socket.socket) -> None:
        self.received: list[bytes] = []
        self.scripts: list[Script] = []
        self._listener = listener
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def answers(self, *answers: bytes, close: bool = False) -> None:
        """On the next connection answer each request so."""

        def script(connection: socket.socket) -> None:
            for answer in answers:
                self.received.append(head_and_body(connection))
                connection.sendall(answer)
            if close:
                connection.shutdown(socket.SHUT_RDWR)

        self.scripts.append(script)

    def stop(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        open_: list[socket.socket] = []
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                break
            open_.append(connection)
            self.scripts.pop(0)(connection)
        for connection in open_:
            connection.close()


def head_and_body(connection: socket.socket) -> bytes:
    """A request, read to its end."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head.lower():
        while not body.endswith(b"0\r\n\r\n"):
            body += connection.recv(65536)
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            while len(body) < int(line.partition(b":")[2]):
                body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


@pytest.fixture
def server() -> Iterator[Scripted]:
    made = Scripted(socket.create_server(("127.0.0.1", 0)))
    yield made
    made.stop()


@pytest.fixture
def client(server: Scripted) -> Iterator[HttpClient]:
    with HttpClient(server.url, token="ts_word") as made:
        yield made


def test_a_request_says_who_asks_and_what(server: Scripted, client: HttpClient) -> None:
    server.answers(OK)
    params = {"limit": 5, "state": ["queued", "running"], "all": True, "cursor": None}
    answer = client.request("POST", "/jobs", params=params, json={"kind": "gc"})
    assert (answer.status, answer.content, answer.is_success) == (200, b"ok", True)
    head, _, body = server.received[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /jobs?limit=5&state=queued&state=running&all=true HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Bearer ts_word\r\n" in head
    assert body == b'{"kind": "gc"}'


def test_a_connection_is_kept_for_the_next_request(server: Scripted, client: HttpClient) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    server.answers(OK, chunked, b"HTTP/1.1 204 No Content\r\n\r\n", OK)
    assert [client.request("GET", "/").status for _ in range(4)] == [200, 200, 204, 200]


def test_one_that_the_server_has_closed_is_not_used(server: Scripted, client: HttpClient) -> None:
    server.answers(OK, close=True)
    server.answers(OK)
    for _ in range(2):
        assert client.request("GET", "/").content == b"ok"


def test_two_answers_may_be_open_at_once(server: Scripted, client: HttpClient) -> None:
    server.answers(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na\nb\r\n")
    server.answers(OK)
    with client.stream("GET", "/events") as events:
        lines = events.lines()
        assert next(lines) == "a"
        assert client.request("GET", "/").content == b"ok"


@pytest.mark.parametrize("sized", [True, False])
def test_a_body_is_sent_in_pieces(server: Scripted, client: HttpClient, sized: bool) -> None:
    server.answers(OK)
    headers = {"Content-Length": "6"} if sized else {}
    client.request("POST", "/loads", content=iter([b"abc", b"def"]), headers=headers)
    _, _, body = server.received[0].partition(b"\r\n\r\n")
    assert body == (b"abcdef" if sized else b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n")


def test_an_answer_that_comes_before_the_body_has_ended_is_read(
    server: Scripted, client: HttpClient
) -> None:
    def refuse(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass

    server.scripts.append(refuse)
    pieces = (bytes(65536) for _ in range(200))
    answer = client.request("POST", "/loads", content=pieces)
    assert (answer.status, answer.content) == (413, b"big")


CUT = {
    "before the head": b"",
    "in the head": b"HTTP/1.1 200",
    "in a body with a length": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
    "in a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    "between chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
    "by another protocol": b"SSH-2.0-x\r\n\r\n",
}


@pytest.mark.parametrize("cut", CUT)
def test_an_answer_that_ends_early_is_none(server: Scripted, client: HttpClient, cut: str) -> None:
    server.answers(CUT[cut], close=True)
    with pytest.raises(TransportError):
        client.request("GET", "/")


def test_who_says_nothing_is_not_waited_for(server: Scripted, client: HttpClient) -> None:
    server.answers(b"")
    with pytest.raises(TransportError, match="nothing came in time"):
        client.request("GET", "/", timeout=0.05)


def test_nobody_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with HttpClient(f"http://127.0.0.1:{port}") as client, pytest.raises(TransportError):
        client.request("GET", "/")


def test_over_a_unix_socket(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    server = Scripted(listener)
    server.answers(OK)
    with HttpClient("http://transship", unix_socket=tmp_path / "s") as client:
        assert client.request("GET", "/livez").content == b"ok"
    assert b"\r\nHost: transship\r\n" in server.received[0]
    server.stop()
