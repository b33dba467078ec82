"""/jobs/{id}/events: what is stored can be replayed, how far it is cannot; the end is the end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.support.processes import wait_until
from tests.unit.api.serving import PREFIX, Api

NDJSON = {"Accept": "application/x-ndjson"}


def cancelled(api: Api) -> str:
    """A job that has ended, with two events."""
    job: str = api.submit()["id"]
    api.post(f"/jobs/{job}/cancel")
    return job


def parse_sse(text: str) -> list[dict[str, str]]:
    blocks = [block for block in text.split("\n\n") if block]
    return [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]


def lines(answer: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(line) for line in answer.text.splitlines()]


@contextmanager
def following(api: Api, job: str) -> Iterator[Iterator[str]]:
    """The lines of a stream, as they come."""
    with api.http.stream("GET", f"{PREFIX}/jobs/{job}/events", headers=NDJSON) as answer:
        yield answer.iter_lines()


def test_events_are_sse_by_default(api: Api) -> None:
    job = cancelled(api)
    answer = api.get(f"/jobs/{job}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    events = parse_sse(answer.text)
    assert [event["event"] for event in events] == ["queued", "cancelled", "progress"]
    assert [json.loads(event["data"])["type"] for event in events] == [e["event"] for e in events]


def test_events_are_lines_where_these_are_accepted(api: Api) -> None:
    job = cancelled(api)
    answer = api.get(f"/jobs/{job}/events", headers=NDJSON)
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert [event["type"] for event in lines(answer)] == ["queued", "cancelled", "progress"]


def test_stored_events_have_ids_and_progress_has_none(api: Api) -> None:
    events = parse_sse(api.get(f"/jobs/{cancelled(api)}/events").text)
    assert ["id" in event for event in events] == [True, True, False]
    assert int(events[0]["id"]) < int(events[1]["id"])


def test_a_stream_goes_on_after_the_last_event_that_was_seen(api: Api) -> None:
    job = cancelled(api)
    everything = parse_sse(api.get(f"/jobs/{job}/events").text)
    rest = api.get(f"/jobs/{job}/events", headers={"Last-Event-ID": everything[0]["id"]})
    assert parse_sse(rest.text) == everything[1:]


def test_after_the_last_event_only_the_state_is_left_to_tell(api: Api) -> None:
    job = cancelled(api)
    everything = parse_sse(api.get(f"/jobs/{job}/events").text)
    rest = api.get(f"/jobs/{job}/events", headers={"Last-Event-ID": everything[1]["id"]})
    assert [event["event"] for event in parse_sse(rest.text)] == ["progress"]


@pytest.mark.parametrize("id_", ["x", "-1", "²".encode("latin-1"), "9" * 19])
def test_what_is_no_event_id_is_refused(api: Api, id_: str | bytes) -> None:
    answer = api.get(f"/jobs/{cancelled(api)}/events", headers={"Last-Event-ID": id_})
    assert (answer.status_code, answer.json()["subject"]) == (400, "Last-Event-ID")


def test_progress_carries_the_job_as_it_is(api: Api) -> None:
    job = cancelled(api)
    (progress,) = [
        e for e in lines(api.get(f"/jobs/{job}/events", headers=NDJSON)) if "id" not in e
    ]
    assert progress["job"] == api.get(f"/jobs/{job}").json()
    assert progress["transfers"] == []


def test_a_stream_ends_when_its_job_does(api: Api) -> None:
    job = api.submit()["id"]
    with following(api, job) as stream:
        seen = [json.loads(next(stream))["type"], json.loads(next(stream))["type"]]
        assert seen == ["queued", "progress"]
        api.post(f"/jobs/{job}/cancel")
        rest = [json.loads(line) for line in stream]
    assert [event["type"] for event in rest] == ["cancelled", "progress"]
    assert rest[-1]["job"]["state"] == "cancelled"


def test_a_stream_tells_of_the_children_too(api: Api) -> None:
    parent = cancelled(api)
    own = lines(api.get(f"/jobs/{parent}/events", headers=NDJSON))
    assert {event["job"] for event in own if "id" in event} == {parent}


def test_silence_is_filled_so_that_a_dead_server_can_be_told_from_a_quiet_one(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.routes.streams.PROGRESS_SECONDS", 0.01)
    monkeypatch.setattr("api.routes.streams.ALIVE_SECONDS", 0.02)
    job = api.submit()["id"]
    with following(api, job) as stream:
        assert [next(stream) for _ in range(4)][2:] == ["", ""]
    with api.http.stream("GET", f"{PREFIX}/jobs/{job}/events") as sse:
        assert any(line.startswith(": ") for line in sse.iter_lines())
    api.post(f"/jobs/{job}/cancel")


def test_whoever_goes_away_is_forgotten(api: Api) -> None:
    job = api.submit()["id"]
    with following(api, job) as stream:
        next(stream)
        assert job in api.news._waiting
    wait_until(lambda: job not in api.news._waiting, 10, "the stream to be forgotten")
