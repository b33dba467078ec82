"""Connections that mean no good: half requests, slow ones, and heads that can be read two ways."""

from __future__ import annotations

import http.client
import socket
import time
from contextlib import ExitStack, closing

import h11
import pytest

from tests.support.processes import wait_until
from tests.unit.api.serving import PREFIX, Api
from transship.api.http.body_limits import Pace
from transship.api.http.connections import check_head

GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n"


def opened(api: Api, sent: bytes) -> socket.socket:
    made = socket.create_connection(api.address, timeout=10)
    made.sendall(sent)
    return made


def answer(connection: socket.socket) -> bytes:
    """What comes until it is closed; nothing where it is reset."""
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionResetError:
        pass
    return received


def one_answer(connection: socket.socket) -> bytes:
    """The next answer, whole: its body may come after its head."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    body = response.read()
    return b"%d " % response.status + body


REFUSED = {
    "bare LF": GET.replace(b"\r\n", b"\n") + b"\n",
    "one bare LF": GET + b"A: b\nC: d\r\n\r\n",
    "bare CR": GET + b"A: b\rC: d\r\n\r\n",
    "an LF before the request": b"\n" + GET + b"\r\n",
    "a folded header": GET + b"A: b\r\n c\r\n\r\n",
    "folded by a tab": GET + b"A: b\r\n\tc\r\n\r\n",
    "two lengths": GET + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "the same length twice": GET + b"Content-Length: 1\r\ncontent-length: 1\r\n\r\na",
    "a list of lengths": GET + b"Content-Length: 1, 1\r\n\r\na",
    "a length beside a coding": GET
    + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two codings": GET + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
}
TAKEN = {
    "a plain head": GET + b"\r\n",
    "a length": GET + b"Content-Length: 0\r\n\r\n",
    "a coding": GET + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a header that is called like one": GET + b"X-Content-Length: 1\r\nContent-Length-2: 3\r\n\r\n",
}


@pytest.mark.parametrize("head", REFUSED.values(), ids=REFUSED)
def test_a_head_that_may_be_read_in_two_ways_is_refused(api: Api, head: bytes) -> None:
    with closing(opened(api, head)) as connection:
        assert answer(connection).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("head", TAKEN.values(), ids=TAKEN)
def test_an_ordinary_head_is_taken_byte_by_byte(api: Api, head: bytes) -> None:
    with closing(opened(api, b"")) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in head:
            connection.sendall(bytes([byte]))
        assert one_answer(connection).startswith(b"200 ")


@pytest.mark.parametrize("head", REFUSED.values(), ids=REFUSED)
def test_it_is_refused_behind_another_request_too(api: Api, head: bytes) -> None:
    first = b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
    with closing(opened(api, first + head)) as connection:
        assert b"HTTP/1.1 400 " in answer(connection)


@pytest.mark.parametrize("head", TAKEN.values(), ids=TAKEN)
def test_half_a_head_is_not_refused_before_it_is_whole(head: bytes) -> None:
    for length in range(len(head)):
        check_head(head[:length])


def test_a_body_may_have_any_line_ends() -> None:
    check_head(GET + b"Content-Length: 20\r\n\r\n\n\n a\r\rcontent-length: 3")


def test_what_is_refused_says_why() -> None:
    with pytest.raises(h11.RemoteProtocolError, match="folded"):
        check_head(REFUSED["a folded header"])


@pytest.mark.parametrize("sent", [b"", b"GET", GET, GET + b"\r\n" + GET])
def test_a_head_that_does_not_come_is_not_waited_for(own: Api, sent: bytes) -> None:
    own.server.connections.head_seconds = 0.3
    with closing(opened(own, sent)) as connection:
        began = time.monotonic()
        assert b" 408 " in answer(connection)
        assert time.monotonic() - began < 5


def test_a_connection_between_two_requests_is_kept(own: Api) -> None:
    own.server.connections.head_seconds = 1.0
    with closing(opened(own, GET + b"\r\n")) as connection:
        assert one_answer(connection).startswith(b"200 ")
        connection.settimeout(1.5)  # longer than a head may take
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.sendall(GET + b"\r\n")
        assert one_answer(connection).startswith(b"200 ")


def test_a_body_that_comes_after_the_answer_is_taken_but_not_waited_for(own: Api) -> None:
    own.server.connections.head_seconds = 1.0
    refused = f"POST {PREFIX}/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n".encode()
    with closing(opened(own, refused)) as connection:
        assert one_answer(connection).startswith(b"401 ")
        connection.sendall(b"abc")
        connection.settimeout(1.5)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.sendall(GET + b"\r\n")
        assert one_answer(connection).startswith(b"200 ")
    with closing(opened(own, refused)) as connection:
        assert b" 401 " in answer(connection)


def test_half_requests_keep_nobody_out(own: Api) -> None:
    own.server.connections.most = 20
    with ExitStack() as stack:
        token = {"Authorization": f"Bearer {own.token('read')}"}
        for _ in range(60):
            stack.enter_context(closing(opened(own, GET)))
            answered = own.anybody.get(f"{PREFIX}/jobs", headers=token)
            assert answered.status_code == 200


def test_whoever_waits_for_an_answer_is_not_closed(own: Api) -> None:
    own.server.connections.most = 5
    job = own.submit()["id"]
    token = {"Authorization": f"Bearer {own.token('admin')}"}
    waiting, answers = own.in_background(
        lambda: own.anybody.get(f"{PREFIX}/jobs/{job}?wait=5", headers=token)
    )
    wait_until(lambda: own.notifications._waiting, 5, "the wait")
    with ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(closing(opened(own, GET)))
        assert own.http.post(f"{PREFIX}/jobs/{job}/cancel").status_code == 202
        waiting.join()
    assert answers[0].json()["state"] == "cancelled"


def test_a_body_that_comes_too_slowly_is_not_waited_for(
    own: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transship.api.http.body_limits.PACE", Pace(0.3, 1_000_000))
    head = (
        f"POST {PREFIX}/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {own.token('submit')}\r\nContent-Length: 100\r\n\r\n"
    ).encode()
    with closing(opened(own, head + b"{")) as connection:
        received = answer(connection)
    assert received.startswith(b"HTTP/1.1 408 ")
    assert b"too slowly" in received


def test_a_slow_body_is_given_time_for_what_has_come() -> None:
    pace = Pace(10, 100)
    assert pace.left(0, 0) == 10
    assert pace.left(15, 1000) == 5
    assert pace.left(15, 0) < 0
