"""Each way in which a server can refuse, be missing, or be something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.clients import KINDS, Kind
from tests.unit.client.answering import URL, answer_of, asked, job_json, problem
from transship.client import (
    AsyncClient,
    Client,
    ClientError,
    ConflictError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    NotTransshipError,
    RefusedError,
    ServerFailedError,
    ThrottledError,
    UnauthorizedError,
    UnreachableError,
    VersionMismatchError,
)

both = pytest.mark.parametrize("kind", KINDS)


@both
@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "invalid-request", InvalidRequestError),
        (401, "unauthorized", UnauthorizedError),
        (403, "forbidden", ForbiddenError),
        (404, "not-found", NotFoundError),
        (409, "conflict", ConflictError),
        (410, "gone", NotFoundError),
        (413, "too-large", InvalidRequestError),
        (422, "invalid-spec", InvalidRequestError),
        (429, "throttled", ThrottledError),
        (500, "internal", ServerFailedError),
        (502, "manifest-not-found", RefusedError),
        (503, "database-unavailable", ServerFailedError),
    ],
)
def test_a_refusal_has_its_kind_and_the_facts_of_the_problem(
    kind: Kind, status: int, code: str, expected: type[ClientError]
) -> None:
    wrong = [{"field": "reference", "message": "not a reference"}]
    refusal = problem(status, code, side="source", hint="look", retryable=True, errors=wrong)
    with pytest.raises(ClientError) as raised:
        asked(kind, lambda _: refusal, "images")
    error = raised.value
    assert type(error) is expected
    assert (error.code, error.status, error.side, error.subject) == (code, status, "source", "it")
    assert (error.detail, error.hint, error.retryable) == ("it cannot be", "look", True)
    assert error.errors == wrong
    assert str(error) == "it: it cannot be"


HTML = {"Content-Type": "text/html"}
PAGE = "<html>nginx</html>"


@both
@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (200, {"text": PAGE, "headers": HTML}),
        (502, {"text": PAGE, "headers": HTML}),
        (301, {"headers": {"Location": "https://elsewhere.test"}}),
        (404, {"json": {"detail": "Not Found"}}),
        (404, {"json": ["no", "problem"]}),
        (200, {}),
    ],
)
def test_what_is_not_transship_is_named_by_its_address(
    kind: Kind, status: int, answer: dict[str, Any]
) -> None:
    with pytest.raises(NotTransshipError) as raised:
        asked(kind, lambda _: httpx.Response(status, **answer), "images")
    assert str(raised.value) == f"{URL}: answered {status}, and not as a Transship server does"
    assert raised.value.hint == "check TRANSSHIP_URL"


@both
def test_a_server_of_another_version_is_named_with_what_differs(kind: Kind) -> None:
    older = job_json()
    del older["progress"]
    with pytest.raises(VersionMismatchError) as raised:
        asked(kind, lambda _: answer_of(older), "job", "01a2")
    assert "GET /api/v1/jobs/01a2, progress: Field required" in str(raised.value)
    path = "/api/v1/mirrors/a b"
    missing = problem(404, "not-found", subject=path, detail="there is nothing under this path")
    with pytest.raises(VersionMismatchError, match=f"it has no GET {path}"):
        asked(kind, lambda _: missing, "mirror", "a b")


@both
def test_what_a_newer_server_adds_is_no_error(kind: Kind) -> None:
    newer = job_json(weather="fine")
    assert asked(kind, lambda _: answer_of(newer), "job", "01a2").id == "01a2"


@both
@pytest.mark.parametrize("name", ["images", "mirrors"])
def test_a_server_that_is_not_there_is_not_asked_twice(kind: Kind, name: str) -> None:
    times = []

    def refuse(request: httpx.Request) -> httpx.Response:
        times.append(request)
        raise httpx.ConnectError("[Errno 111] Connection refused")

    with pytest.raises(UnreachableError) as raised:
        asked(kind, refuse, name)
    assert len(times) == 1
    reason = "[Errno 111] Connection refused"
    assert str(raised.value) == f"{URL}: no Transship server answers: {reason}"
    assert raised.value.hint == "check TRANSSHIP_URL, or start one with `transship up`"
    assert raised.value.retryable


@both
def test_a_silent_server_is_named_as_one(kind: Kind) -> None:
    def silent(_: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("")

    with pytest.raises(UnreachableError, match="nothing came in time"):
        asked(kind, silent, "images", reconnect=0)


@pytest.mark.parametrize("client", [Client, AsyncClient])
@pytest.mark.parametrize(
    ("url", "token", "says"),
    [
        ("http://far.test", "tst_1", "http://far.test: the token would go over plain HTTP"),
        ("ftp://far.test", None, "expected http://HOST:PORT or https://HOST"),
        (URL, "tst_1\n", "not a Transship token"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_sent(
    client: type[Client | AsyncClient], url: str, token: str | None, says: str
) -> None:
    with pytest.raises(InvalidRequestError, match=says):
        client(url, token)


@both
@pytest.mark.parametrize(("id_", "says"), [("", "an empty one"), ("../limits", "`..` as a part")])
def test_an_id_leads_to_no_other_path(kind: Kind, id_: str, says: str) -> None:
    def unasked(request: httpx.Request) -> httpx.Response:
        raise AssertionError(request.url)

    with pytest.raises(InvalidRequestError, match=says):
        asked(kind, unasked, "job", id_)


def test_without_arguments_it_is_the_server_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str | None]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((str(request.url.copy_with(path="/")), request.headers.get("Authorization")))
        return answer_of({"items": []})

    def ask(**arguments: Any) -> None:
        with Client(transport=httpx.MockTransport(answer), **arguments) as client:
            client.images()

    monkeypatch.setenv("TRANSSHIP_HOME", str(tmp_path))
    (tmp_path / "token").write_text("tst_home\n")
    ask()
    monkeypatch.setenv("TRANSSHIP_LISTEN", "0.0.0.0:7000")
    ask()
    monkeypatch.setenv("TRANSSHIP_URL", "https://there.test")
    ask()
    monkeypatch.setenv("TRANSSHIP_TOKEN", "tst_set")
    ask()
    ask(url="https://given.test", token="tst_given")
    assert seen == [
        ("http://127.0.0.1:5005/", "Bearer tst_home"),
        ("http://127.0.0.1:7000/", "Bearer tst_home"),
        ("https://there.test/", None),
        ("https://there.test/", "Bearer tst_set"),
        ("https://given.test/", "Bearer tst_given"),
    ]
