"""/jobs/{id}/events: what is stored can be replayed, how far it is cannot; the end is the end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from tests.support.processes import wait_until
from tests.unit.api.serving import PREFIX, Api
from transship.store.catalog.db.schema import jobs

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
    whole = api.get(f"/jobs/{job}").json()
    assert progress["job"] == {name: it for name, it in whole.items() if name != "spec"}
    assert progress["transfers"] == []


def test_no_progress_carries_the_spec(api: Api) -> None:
    job = api.submit()["id"]
    with following(api, job) as stream:
        seen = [json.loads(next(stream)) for _ in range(2)]
        api.post(f"/jobs/{job}/cancel")
        seen += [json.loads(line) for line in stream]
    told = ["spec" in event["job"] for event in seen if event["type"] == "progress"]
    assert told == [False, False]


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
    monkeypatch.setattr("transship.api.routes.jobs.streams.PROGRESS_SECONDS", 0.01)
    monkeypatch.setattr("transship.api.routes.jobs.streams.ALIVE_SECONDS", 0.02)
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
        assert job in api.notifications._waiting
    wait_until(lambda: job not in api.notifications._waiting, 10, "the stream to be forgotten")


# --- in Docker's words ---------------------------------------------------------------------------


def in_docker_words(api: Api, job: str) -> list[dict[str, Any]]:
    answer = api.get(f"/jobs/{job}/events", params={"format": "docker"})
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    return lines(answer)


def change(api: Api, job: str, **values: Any) -> None:
    """Let a job be as a worker would leave it."""
    with api.catalog.write() as connection:
        connection.execute(update(jobs).where(jobs.c.id == job).values(**values))


def child(api: Api, parent: str, tag: str, **values: Any) -> str:
    id_: str = api.submit(f"localhost:1/team/app:{tag}")["id"]
    change(api, id_, parent=parent, child_key=tag, **values)
    return id_


PULLED = {
    "state": "succeeded",
    "due": False,
    "finished_at": 1.0,
    "checkpoint": {"root": {}, "layers": [f"sha256:{64 * 'a'}"], "absent": [f"sha256:{64 * 'a'}"]},
    "result": {"digest": "sha256:1", "up_to_date": False},
}


def test_an_ended_pull_is_told_in_the_words_of_docker(api: Api) -> None:
    job = api.submit()["id"]
    change(api, job, **PULLED)
    assert [line["status"] for line in in_docker_words(api, job)] == [
        "Pulling from team/app",
        "Pulling fs layer",
        "Download complete",
        "Pull complete",
        "Digest: sha256:1",
        "Status: Downloaded newer image for localhost:1/team/app:1",
    ]


def test_a_pull_is_told_in_the_words_of_docker_as_it_goes(api: Api) -> None:
    job = api.submit()["id"]
    with api.http.stream(
        "GET", f"{PREFIX}/jobs/{job}/events", params={"format": "docker"}
    ) as answer:
        stream = answer.iter_lines()
        change(api, job, checkpoint={"root": {}})
        assert json.loads(next(stream)) == {"status": "Pulling from team/app", "id": "1"}
        api.post(f"/jobs/{job}/cancel")
        rest = [json.loads(line) for line in stream]
    assert [line["error"] for line in rest] == ["localhost:1/team/app:1: the job was cancelled"]


def test_all_tags_are_told_one_after_the_other(api: Api) -> None:
    job = api.submit("localhost:1/team/app", all_tags=True)["id"]
    child(api, job, "2", **PULLED)
    child(api, job, "10", state="failed", error={"subject": "app:10", "detail": "gone"})
    result = {"up_to_date": False}
    change(api, job, state="succeeded", due=False, checkpoint={"tags": ["2", "10"]}, result=result)
    assert [line["status"] for line in in_docker_words(api, job)] == [
        "Pulling from team/app",
        "Pulling fs layer",
        "Download complete",
        "Pull complete",
        "Digest: sha256:1",
        "Error: app:10: gone",
        "Status: Downloaded newer image for localhost:1/team/app",
    ]


def test_a_copy_has_no_words_of_docker(api: Api) -> None:
    spec = {"kind": "copy", "source": "localhost:1/a", "destination": "localhost:1/b"}
    job = api.post("/jobs", json=spec).json()["id"]
    answer = api.get(f"/jobs/{job}/events", params={"format": "docker"})
    assert (answer.status_code, answer.json()["subject"]) == (400, "format")


def test_there_is_no_other_format(api: Api) -> None:
    answer = api.get(f"/jobs/{cancelled(api)}/events", params={"format": "podman"})
    assert answer.status_code == 422
