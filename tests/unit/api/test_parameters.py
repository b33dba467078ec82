"""No operation takes a parameter that it does not have."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.api.serving import PREFIX, Api
from transship.api.http.checked_route import PROBED


def test_no_operation_takes_an_unknown_parameter(api: Api) -> None:
    for path, methods in _paths(api).items():
        place = path.replace("{", "").replace("}", "")
        for method in methods:
            answer = api.http.request(method.upper(), place, params={"nonsense": "1"})
            assert answer.status_code == 422, (method, path)
            assert answer.json()["errors"] == [
                {"field": "nonsense", "message": "no such parameter: nonsense"}
            ], (method, path)


def test_every_declared_parameter_is_known(api: Api) -> None:
    for path, methods in _paths(api).items():
        place = path.replace("{", "").replace("}", "")
        for method, operation in methods.items():
            names = [p["name"] for p in operation.get("parameters", ()) if p["in"] == "query"]
            params = dict.fromkeys([*names, "nonsense"], "1")
            told = api.http.request(method.upper(), place, params=params).json()["errors"]
            assert [one["field"] for one in told] == ["nonsense"], (method, path)


def test_what_was_meant_is_guessed(api: Api) -> None:
    problem = api.get("/jobs?stat=queued&limits=3").json()
    assert problem["code"] == "invalid-spec"
    assert problem["detail"] == "no such parameter: stat; did you mean state?"
    assert [one["message"] for one in problem["errors"]] == [
        "no such parameter: stat; did you mean state?",
        "no such parameter: limits; did you mean limit?",
    ]
    assert problem["hint"].startswith("it takes state, kind")


def test_a_name_that_cannot_be_stored_is_told_all_the_same(api: Api) -> None:
    answer = api.http.get(f"{PREFIX}/limits?%ff%0a=1")
    assert answer.status_code == 422


@pytest.mark.parametrize("path", PROBED)
def test_a_probe_may_add_what_it_likes(api: Api, path: str) -> None:
    assert "no such parameter" not in api.http.get(f"{path}?verbose=1").text


def test_a_page_is_shown_whatever_its_address_carries(api: Api) -> None:
    assert api.http.get("/login?from=mail").status_code == 200


def _paths(api: Api) -> dict[str, Any]:
    """The operations of the document, but for those that are probed."""
    paths = api.get("/openapi.json").json()["paths"]
    return {path: methods for path, methods in paths.items() if path not in PROBED}
