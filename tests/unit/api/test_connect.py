"""With what a command introduces itself to a server."""

from __future__ import annotations

import pytest

from api.connect import server_client
from store.errors import RequestError
from store.settings import Settings

TOKEN = "ts_secret"


def settings(url: str, **more: object) -> Settings:
    return Settings.model_validate({"url": url, "token": TOKEN, **more})


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
    with server_client(settings(url)) as client:
        assert client._http.headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1:5005", "http://transship.example.org", "http://127.0.0.1.example.org"]
)
def test_it_does_not_go_over_plain_http_unless_that_is_allowed(url: str) -> None:
    with pytest.raises(RequestError, match="plain HTTP") as refused:
        server_client(settings(url))
    assert TOKEN not in str(refused.value.as_json())
    with server_client(settings(url, token_over_http=True)) as client:
        assert client._http.headers["authorization"] == f"Bearer {TOKEN}"


def test_without_a_token_none_is_sent() -> None:
    with server_client(Settings(url="http://transship.example.org")) as client:
        assert "authorization" not in client._http.headers
