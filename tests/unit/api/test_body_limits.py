"""A body that is too long is refused before it is kept."""

from __future__ import annotations

import pytest

from tests.unit.api.serving import Api
from transship.api.http.body_limits import MAX_BYTES, MAX_JOB_BYTES

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("path", "most"), [("/jobs", MAX_JOB_BYTES), ("/jobs/none/retry", MAX_BYTES)]
)
def test_a_length_above_the_limit_is_refused_before_the_body_comes(
    api: Api, path: str, most: int
) -> None:
    head = (
        f"POST /api/v1{path} HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/json\r\nContent-Length: {most + 1}\r\n\r\n"
    )
    with api.connect(10) as connection:
        connection.sendall(head.encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_a_body_without_a_length_is_counted(api: Api) -> None:
    piece = b" " * 65536
    body = (piece for _ in range(MAX_BYTES // len(piece) + 1))
    answer = api.post("/jobs/none/retry", content=body, headers=JSON)
    assert answer.status_code == 413
    assert answer.json()["code"] == "too-large"
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_body_of_just_the_limit_is_read(api: Api) -> None:
    answer = api.post("/jobs/none/retry", content=b"{}".ljust(MAX_BYTES), headers=JSON)
    assert answer.status_code == 404


def test_a_mirror_may_name_a_hundred_thousand_tags(api: Api) -> None:
    tags = [f"{number:0128d}" for number in range(100_000)]
    spec = {"kind": "mirror", "source": "localhost:1/a", "destination": "localhost:1/b"}
    answer = api.post("/jobs", json={**spec, "tags": tags})
    assert answer.status_code == 202, answer.text[:500]
