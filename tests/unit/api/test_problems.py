"""Every error comes out as problem details, with all that INTERFACE names."""

from __future__ import annotations

import pytest

from tests.unit.api.serving import Api
from tests.unit.store.error_tree import EVERY_ERROR, example
from transship.api.http.statuses import status_of
from transship.store.catalog.db.engine import Catalog
from transship.store.errors import StoreError, TransshipError

FIELDS = {
    "type", "title", "status", "code", "side", "subject", "detail", "hint", "retryable", "attempts",
}  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/nothing", 404, "not-found"),
        ("GET", "/api/v1/jobs/none", 404, "not-found"),
        ("GET", "/api/v1/jobs/none/transfers", 404, "not-found"),
        ("GET", "/api/v1/jobs/none/log", 404, "not-found"),
        ("GET", "/api/v1/jobs/none/events", 404, "not-found"),
        ("POST", "/api/v1/jobs/none/cancel", 404, "not-found"),
        ("POST", "/api/v1/jobs/none/retry", 404, "not-found"),
        ("GET", "/api/v1/images/none/inspect", 404, "not-found"),
        ("DELETE", "/api/v1/images/none", 404, "not-found"),
        ("PUT", "/api/v1/limits", 405, "invalid-request"),
        ("GET", "/api/v1/jobs?cursor=*", 400, "invalid-request"),
        ("GET", "/api/v1/jobs?limit=0", 422, "invalid-spec"),
        ("GET", "/api/v1/jobs?limit=1001", 422, "invalid-spec"),
        ("GET", "/api/v1/jobs?state=odd", 422, "invalid-spec"),
        ("GET", "/api/v1/jobs?kind=odd", 422, "invalid-spec"),
        ("GET", "/api/v1/jobs/none?wait=61", 422, "invalid-spec"),
        ("GET", "/api/v1/jobs/none?wait=-1", 422, "invalid-spec"),
        ("GET", "/api/v1/jobs/none?wait=nan", 422, "invalid-spec"),
    ],
)
def test_a_refusal_is_a_whole_problem(
    api: Api, method: str, path: str, status: int, code: str
) -> None:
    answer = api.http.request(method, path)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem.keys() - {"errors"} == FIELDS
    assert problem["status"] == status
    assert problem["side"] in ("request", "store")
    assert problem["detail"]


def test_a_refused_method_says_which_are_allowed(api: Api) -> None:
    assert api.http.put("/api/v1/limits").headers["allow"] == "DELETE, GET, PATCH"


def test_a_query_parameter_that_is_wrong_is_named(api: Api) -> None:
    assert api.get("/jobs/none?wait=soon").json()["errors"][0]["field"] == "wait"


@pytest.mark.parametrize("body", [b"{", b"", b"\xff", b"[" * 100_000])
def test_a_body_that_is_not_json_is_refused(api: Api, body: bytes) -> None:
    answer = api.post("/jobs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.json()["detail"]
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"1", b"null"])
def test_a_body_that_is_no_object_is_refused(api: Api, body: bytes) -> None:
    answer = api.post("/jobs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "body"


def test_a_body_that_is_not_called_json_is_refused(api: Api) -> None:
    answer = api.post("/jobs", content=b'{"kind": "pull", "reference": "a"}')
    assert answer.status_code == 422
    assert "application/json" in answer.json()["detail"]


def test_half_a_surrogate_pair_is_refused_like_any_other_nonsense(api: Api) -> None:
    answer = api.post(
        "/jobs",
        content=b'{"kind": "pull", "reference": "\\ud800", "\\udfff": 1}',
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 422


def test_a_failing_store_is_503(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Catalog) -> None:
        raise StoreError("the database failed: disk I/O error", subject="catalog.sqlite3")

    monkeypatch.setattr(Catalog, "read", fail)
    answer = api.get("/limits")
    assert (answer.status_code, answer.json()["side"]) == (503, "store")


def test_a_fault_shows_nothing_of_the_inside(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Catalog) -> None:
        raise ZeroDivisionError("inside")

    monkeypatch.setattr(Catalog, "read", fail)
    answer = api.get("/limits")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "inside" not in answer.text
    assert "GET /api/v1/limits failed" in caplog.text


@pytest.mark.parametrize("kind", EVERY_ERROR)
def test_each_error_has_the_status_of_a_failure(kind: type[TransshipError]) -> None:
    assert 400 <= status_of(example(kind)) <= 599
