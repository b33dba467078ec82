"""With what a command introduces itself to a server."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from transship.api.cli.connect.connection import server_client
from transship.api.cli.connect.target import Target
from transship.api.client import Client
from transship.api.client.exchange import RefusedError
from transship.store.errors import ProtocolError, RequestError

TOKEN = "ts_secret"


def target(url: str, *, token_over_http: bool = False) -> Target:
    return Target(Path("/nowhere"), url, TOKEN, token_over_http)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:5005",
        "http://localhost:5005",
        "http://[::1]:5005",
        "https://transship.example.org",
    ],
)
def test_the_token_goes_where_nobody_listens_in(url: str) -> None:
    with server_client(target(url)) as client:
        assert client._http.headers["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1:5005", "http://transship.example.org", "http://127.0.0.1.example.org"]
)
def test_it_does_not_go_over_plain_http_unless_that_is_allowed(url: str) -> None:
    with pytest.raises(RequestError, match="plain HTTP") as refused:
        server_client(target(url))
    assert TOKEN not in str(refused.value.as_json())
    with server_client(target(url, token_over_http=True)) as client:
        assert client._http.headers["Authorization"] == f"Bearer {TOKEN}"


def test_without_a_token_none_is_sent() -> None:
    with server_client(Target(Path("/nowhere"), "http://transship.example.org")) as client:
        assert "Authorization" not in client._http.headers


LOGIN = {"registry.test": {"username": "ann", "password": "pass-word"}}
SPEC = {"kind": "pull", "reference": "registry.test/app:1"}


def test_logins_do_not_go_over_plain_http_beyond_this_machine() -> None:
    with Client("http://192.0.2.1:5005") as client:
        login = LOGIN["registry.test"]
        with pytest.raises(RequestError, match="registry logins would go over plain HTTP"):
            client.submit(SPEC, credentials=LOGIN)
        with pytest.raises(RequestError, match="registry logins would go over plain HTTP"):
            client.retry("x", credentials=LOGIN)
        with pytest.raises(RequestError, match="registry logins would go over plain HTTP"):
            client.inspect_remote("registry.test/app:1", credential=login)


def test_one_who_does_not_know_the_token_gets_no_login() -> None:
    asked: list[tuple[str, bytes]] = []

    class Impostor(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, b""))
            self.send_response(401)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_POST(self) -> None:
            asked.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Impostor) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with (
            Client(f"http://127.0.0.1:{server.server_port}", token="ts_x") as client,
            pytest.raises((RefusedError, ProtocolError)),
        ):
            client.submit(SPEC, credentials=LOGIN)
        server.shutdown()
        thread.join()
    assert asked == [("/api/v1/limits", b"")]
