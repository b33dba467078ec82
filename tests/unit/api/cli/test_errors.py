"""What a person reads when something failed, and the exit codes of INTERFACE."""

from __future__ import annotations

from typing import Any

import pytest

from transship.api.cli.connect.target import NeedsServerError
from transship.api.cli.output import errors
from transship.api.cli.output.errors import (
    DONE,
    FAILED,
    PARTIAL,
    USAGE,
    describe,
    exit_code,
    explain,
    job_exit_code,
    warn_of_helper,
    worst,
)
from transship.api.client.exchange import RefusedError
from transship.api.http.statuses import status_of
from transship.store.errors import (
    ConflictError,
    DeniedError,
    HomeUnusableError,
    InvalidSpecError,
    ManifestNotFoundError,
    NotFoundError,
    RequestError,
    ServerUnreachableError,
    Side,
    StoreError,
    UnauthorizedError,
)


def refused(error: RequestError | StoreError) -> RefusedError:
    """What the client makes of a server's problem."""
    return RefusedError({**error.as_json(), "attempts": 1}, status_of(error))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RequestError("x"), USAGE),
        (InvalidSpecError("x", errors=[]), USAGE),
        (refused(RequestError("x")), USAGE),
        (refused(InvalidSpecError("x", errors=[])), USAGE),
        (ServerUnreachableError("x"), USAGE),
        (NeedsServerError("x"), USAGE),
        (refused(NotFoundError("x")), FAILED),
        (refused(ConflictError("x")), FAILED),
        (refused(StoreError("x")), FAILED),
        (HomeUnusableError("x"), FAILED),
        (ZeroDivisionError("x"), FAILED),
    ],
)
def test_exit_codes_are_those_of_the_interface(error: Exception, code: int) -> None:
    assert exit_code(error) == code


def job(state: str, code: str | None = None, **children: int) -> dict[str, Any]:
    return {"state": state, "error": code and {"code": code}, "children": children}


@pytest.mark.parametrize(
    ("ended", "code"),
    [
        (job("succeeded"), DONE),
        (job("failed", "manifest-not-found"), FAILED),
        (job("cancelled"), FAILED),
        (job("failed", "partial", succeeded=1, failed=2), PARTIAL),
        (job("failed", "partial", failed=2), FAILED),
    ],
)
def test_a_job_ends_its_command(ended: dict[str, Any], code: int) -> None:
    assert job_exit_code(ended) == code


@pytest.mark.parametrize(
    ("state", "drift", "failures", "code"),
    [
        ("succeeded", False, 0, DONE),
        ("succeeded", True, 0, PARTIAL),
        ("failed", True, 1, PARTIAL),
        ("failed", True, 2, FAILED),
    ],
)
def test_a_dry_run_ends_with_3_where_there_is_something_to_do(
    state: str, drift: bool, failures: int, code: int
) -> None:
    result = {"dry_run": True, "drift": drift, "failures": failures, "images": 2}
    assert job_exit_code({**job(state, "partial"), "result": result}) == code


@pytest.mark.parametrize(
    ("codes", "code"),
    [([], 0), ([0, 0], 0), ([0, 3], 3), ([3, 1, 0], 1), ([1], 1)],
)
def test_several_end_as_the_worst(codes: list[int], code: int) -> None:
    assert worst(codes) == code


def test_an_error_names_side_subject_and_what_to_do() -> None:
    error = ManifestNotFoundError("no such tag", subject="localhost:1/a:1", hint="see its tags")
    assert explain(error.at(Side.SOURCE)) == (
        "transship: at the source: localhost:1/a:1: no such tag\n  see its tags\n"
    )


def test_attempts_are_told_when_there_were_several() -> None:
    error = {**StoreError("gone").as_json(), "attempts": 5}
    assert describe(error) == "transship: in the store: gone (after 5 attempts)\n"


def test_a_helper_that_failed_is_told_once_and_again_where_a_registry_wants_credentials(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errors, "_failed_helpers", {})
    for _ in range(2):
        warn_of_helper("docker-credential-x failed: no\x1bkey")
    said = "transship: warning: docker-credential-x failed: no\\x1bkey\n"
    assert capsys.readouterr().err == said
    assert "docker-credential-x" in explain(UnauthorizedError("401", registry="r.test"))
    assert "docker-credential-x" not in explain(DeniedError("403", registry="r.test"))


def test_wrong_fields_are_listed_and_the_first_is_not_said_twice() -> None:
    errors = [{"field": "a", "message": "bad"}, {"field": "b", "message": "worse"}]
    assert explain(InvalidSpecError("bad", errors=errors)) == (
        "transship: in the request: a: bad\n  b: worse\n"
    )


def test_a_fault_of_ours_is_one_line_and_a_way_to_see_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TRANSSHIP_TRACEBACK", raising=False)
    said = explain(ZeroDivisionError("by zero"))
    assert said.startswith("transship: a fault of Transship: ZeroDivisionError: by zero\n")
    assert "Traceback" not in said
    monkeypatch.setenv("TRANSSHIP_TRACEBACK", "1")
    assert explain(ZeroDivisionError("by zero")).startswith("ZeroDivisionError")
