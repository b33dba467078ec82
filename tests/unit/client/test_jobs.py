"""Jobs: one is made whatever happens to the connection, and is waited for whatever happens."""

from __future__ import annotations

import io
import json
from typing import Any

import httpx
import pytest

from tests.support.clients import KINDS, Kind
from tests.unit.client.answering import (
    ENDED,
    Stream,
    answer_of,
    asked,
    event,
    job_json,
    lines,
    problem,
    progress,
)
from transship.client import (
    ClientError,
    ConflictError,
    Credential,
    JobFailedError,
    MirrorSpec,
    NotFoundError,
    PullSpec,
    UnauthorizedError,
    UnreachableError,
    WaitTimeoutError,
)

both = pytest.mark.parametrize("kind", KINDS)
PULL = {"kind": "pull", "reference": "alpine:3"}


class Script:
    """Answers in their order; exceptions are raised. The requests are kept."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self._answers = iter(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def headers(self, name: str) -> list[str]:
        return [request.headers[name] for request in self.requests]


# --- submit ------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("submit", (PULL,)),
        ("retry", ("01a2",)),
        ("run_mirror", ("nightly",)),
        ("verify_mirror", ("nightly",)),
    ],
)
def test_what_makes_a_job_is_sent_again_under_one_key(
    kind: Kind, name: str, args: tuple[Any, ...]
) -> None:
    script = Script(
        httpx.ReadError("Connection reset by peer"),
        httpx.ConnectError("Connection refused"),
        answer_of(job_json(), 202),
    )
    assert asked(kind, script, name, *args).id == "01a2"
    keys = script.headers("Idempotency-Key")
    assert len(keys) == 3
    assert len(set(keys)) == 1
    other = Script(answer_of(job_json(), 202))
    asked(kind, other, name, *args)
    assert other.headers("Idempotency-Key") != keys[:1]


@both
def test_a_key_that_is_given_is_the_one_that_is_sent(kind: Kind) -> None:
    script = Script(problem(409, "conflict"))
    with pytest.raises(ConflictError):
        asked(kind, script, "submit", PULL, idempotency_key="nightly-1")
    assert script.headers("Idempotency-Key") == ["nightly-1"]


@both
def test_a_spec_is_sent_as_it_was_asked_for(kind: Kind) -> None:
    script = Script(*(answer_of(job_json(), 202) for _ in range(3)))
    asked(kind, script, "submit", PullSpec(reference="alpine:3"))
    assert json.loads(script.requests[0].content) == {**PULL, "credentials": {}}
    asked(kind, script, "submit", MirrorSpec(source="a.test/b", destination="c.test/d"), priority=0)
    assert json.loads(script.requests[1].content)["priority"] == 0
    asked(kind, script, "submit", {**PULL, "unheard": "of"}, deadline=9.0)
    sent = json.loads(script.requests[2].content)
    assert (sent["unheard"], sent["deadline"]) == ("of", 9.0)


@both
def test_logins_go_to_a_server_that_knows_the_token_and_to_no_other(kind: Kind) -> None:
    logins = {"quay.io": Credential(username="ann", password="secret")}
    script = Script(problem(401, "unauthorized"))
    with pytest.raises(UnauthorizedError):
        asked(kind, script, "submit", PULL, credentials=logins)
    assert [request.method for request in script.requests] == ["GET"]
    script = Script(answer_of({}), answer_of(job_json(), 202))
    asked(kind, script, "submit", PULL, credentials=logins)
    sent = json.loads(script.requests[1].content)["credentials"]
    assert sent == {"quay.io": {"username": "ann", "password": "secret"}}
    with pytest.raises(ClientError, match="registry logins would go over plain HTTP"):
        asked(kind, Script(), "submit", PULL, credentials=logins, url="http://a.test", token=None)


@both
def test_a_body_is_sent_once(kind: Kind) -> None:
    script = Script(httpx.ReadError("Connection reset by peer"))
    with pytest.raises(UnreachableError):
        asked(kind, script, "load", io.BytesIO(b"tar"))
    assert len(script.requests) == 1


# --- wait --------------------------------------------------------------------------------------


@both
def test_waiting_outlives_a_server_that_restarts(kind: Kind) -> None:
    script = Script(
        answer_of(job_json(state="running")),  # it stops, and answers at once
        httpx.ConnectError("Connection refused"),
        problem(503, "database-unavailable"),
        answer_of(job_json(**ENDED)),
    )
    assert asked(kind, script, "wait", "01a2").succeeded
    assert {request.url.params["wait"] for request in script.requests} == {"30.0"}


@both
def test_a_server_that_stays_away_is_given_up(kind: Kind) -> None:
    away = [httpx.ConnectError("Connection refused")] * 100
    script = Script(answer_of(job_json(state="running")), *away)
    with pytest.raises(UnreachableError):
        asked(kind, script, "wait", "01a2", reconnect=0.3)
    assert 2 < len(script.requests) < 10


@both
def test_time_runs_out_for_the_wait_and_not_for_the_job(kind: Kind) -> None:
    def running(_: httpx.Request) -> httpx.Response:
        return answer_of(job_json(state="running"))

    with pytest.raises(TimeoutError) as raised:
        asked(kind, running, "wait", "01a2", timeout=0.05)
    assert isinstance(raised.value, WaitTimeoutError)
    assert raised.value.job.state == "running"


FAILED = {
    "state": "failed",
    "finished_at": "2026-11-24T10:00:01.000Z",
    "error": {
        "code": "manifest-not-found",
        "side": "source",
        "subject": "alpine:3",
        "detail": "image not found, or access denied",
        "hint": "check the name",
        "retryable": False,
        "attempts": 2,
    },
}


@both
def test_a_failed_job_raises_where_that_is_wanted(kind: Kind) -> None:
    script = Script(*(answer_of(job_json(**FAILED)) for _ in range(2)))
    assert asked(kind, script, "wait", "01a2").error.code == "manifest-not-found"
    with pytest.raises(JobFailedError) as raised:
        asked(kind, script, "wait", "01a2", check=True)
    error = raised.value
    assert (error.code, error.side, error.attempts) == ("manifest-not-found", "source", 2)
    assert (error.status, error.job.state) == (None, "failed")
    assert str(error) == "alpine:3: image not found, or access denied"


# --- follow ------------------------------------------------------------------------------------


def streamed(*pieces: bytes | Exception) -> httpx.Response:
    return httpx.Response(200, stream=Stream(*pieces))


@both
def test_following_continues_after_the_last_event_that_came_whole(kind: Kind) -> None:
    first = lines(event(3, "queued", label="alpine"), progress(), event(5))
    cut = lines(event(7, "warning", message="slow"))[:-9]
    script = Script(
        streamed(first[:40], first[40:], b"\n", cut, httpx.ReadError("reset")),
        httpx.ConnectError("Connection refused"),
        problem(429, "throttled"),
        streamed(lines(event(7, "warning", message="slow"), progress(state="running"))),  # it stops
        streamed(lines(progress(state="running"), event(9, "succeeded"), progress(**ENDED))),
    )
    found = asked(kind, script, "follow", "01a2")
    assert [one.id for one in found if one.type != "progress"] == [3, 5, 7, 9]
    assert script.headers("Last-Event-ID") == ["0", "5", "5", "5", "7"]
    assert (found[0].label, found[-1].job.state) == ("alpine", "succeeded")


@both
def test_following_begins_where_it_is_told_to(kind: Kind) -> None:
    script = Script(streamed(lines(progress(**ENDED))))
    assert [one.type for one in asked(kind, script, "follow", "01a2", after=41)] == ["progress"]
    assert script.headers("Last-Event-ID") == ["41"]


@both
def test_a_job_that_is_not_there_is_not_followed(kind: Kind) -> None:
    script = Script(problem(404, "not-found", subject="01a2"))
    with pytest.raises(NotFoundError):
        asked(kind, script, "follow", "01a2")


# --- pages -------------------------------------------------------------------------------------


def listing(request: httpx.Request) -> httpx.Response:
    """450 jobs, at most 150 on a page."""
    first = int(request.url.params.get("cursor", 0))
    end = min(first + min(150, int(request.url.params["limit"])), 450)
    items = [job_json(id=str(number)) for number in range(first, end)]
    return answer_of({"items": items, "next": str(end) if end < 450 else None})


@both
@pytest.mark.parametrize(("limit", "count"), [(None, 450), (1, 1), (0, 0), (200, 200), (999, 450)])
def test_a_list_is_read_page_after_page(kind: Kind, limit: int | None, count: int) -> None:
    found = asked(kind, listing, "jobs", limit=limit)
    assert [job.id for job in found] == [str(number) for number in range(count)]


@both
def test_filters_of_one_key_are_sent_each(kind: Kind) -> None:
    script = Script(answer_of({"items": [], "next": None}))
    asked(kind, script, "jobs", state=["queued", "running"], kind="pull")
    params = script.requests[0].url.params
    assert (params.get_list("state"), params.get_list("kind")) == (["queued", "running"], ["pull"])
    assert "parent" not in params
