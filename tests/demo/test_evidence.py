"""What the demo accepts as proof that nothing moved."""

from __future__ import annotations

import pytest

from tests.demo.errors import DemoError
from tests.demo.evidence import blobs_sent, moved_nothing
from tests.support.registries import LoggedRequest

DIGEST = "sha256:" + 64 * "a"


def request(method: str, target: str, status: int = 200) -> LoggedRequest:
    return LoggedRequest(method, target, status, 0, "transship")


HEAD = request("HEAD", "/v2/team/app/manifests/1")


def test_heads_and_token_requests_move_nothing() -> None:
    token = request("GET", "/token?service=registry&scope=repository:team/app:pull")
    assert moved_nothing("source", [token, HEAD, HEAD]) == "2 HEAD, 1 for tokens"


@pytest.mark.parametrize(
    "other",
    [
        request("GET", "/v2/team/app/manifests/1"),
        request("GET", f"/v2/team/token/blobs/{DIGEST}"),
        request("PUT", "/v2/token/manifests/1", 201),
        request("POST", f"/v2/team/app/blobs/uploads/?mount={DIGEST}", 201),
    ],
    ids=lambda one: one.method + one.path[:16],
)
def test_any_other_request_is_named(other: LoggedRequest) -> None:
    with pytest.raises(DemoError, match=f"{other.method} .* to the source registry"):
        moved_nothing("source", [HEAD, other])


def test_an_empty_log_proves_nothing() -> None:
    with pytest.raises(DemoError, match="shows no request"):
        moved_nothing("source", [])


def test_only_bodies_that_were_sent_count_as_sent() -> None:
    blob = f"/v2/team/app/blobs/{DIGEST}"
    sent = blobs_sent(
        [
            request("GET", blob),
            request("GET", blob, 206),
            request("GET", blob, 404),
            request("HEAD", blob),
        ]
    )
    assert sent == {DIGEST: 2}
