"""/jobs: what is accepted, refused, listed, waited for, cancelled and tried again."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import event, update

from tests.support.processes import wait_until
from tests.unit.api.serving import Api
from transship.store.catalog.db.schema import jobs
from transship.store.catalog.scheduling import children, events, rejections

HOST = "localhost:1"
SECRET = "correct-horse-battery"
CREDENTIALS = {HOST: {"username": "ann", "password": SECRET}}
FIELDS = {
    "id", "kind", "state", "label", "priority", "parent", "root", "spec", "requested_by",
    "created_at", "started_at", "finished_at", "deadline", "progress", "children", "result",
    "error", "superseded_by", "retry_of",
}  # fmt: skip


def spec(**more: Any) -> dict[str, Any]:
    return {"kind": "pull", "reference": f"{HOST}/team/app:1", **more}


def end(api: Api, job: str, state: str = "failed") -> None:
    """Let a job have ended, as a worker would."""
    with api.catalog.write() as connection:
        connection.execute(
            update(jobs).where(jobs.c.id == job).values(state=state, finished_at=time.time())
        )


# --- POST /jobs --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "pull", "reference": "alpine"},
        {"kind": "push", "reference": "alpine", "destination": f"{HOST}/alpine"},
        {"kind": "copy", "source": "alpine", "destination": f"{HOST}/alpine"},
        {"kind": "mirror", "source": "alpine", "destination": f"{HOST}/alpine", "tags": ["3.20"]},
        {
            "kind": "mirror",
            "entries": [{"source": "a", "destination": f"{HOST}/a", "select": {"newest": 3}}],
            "dry_run": True,
        },
    ],
    ids=lambda body: body["kind"] + (" of entries" if "entries" in body else ""),
)
def test_a_job_is_accepted_with_its_place(api: Api, body: dict[str, Any]) -> None:
    answer = api.post("/jobs", json=body)
    job = answer.json()
    assert answer.status_code == 202
    assert job.keys() == FIELDS
    assert (job["kind"], job["state"]) == (body["kind"], "queued")
    assert answer.headers["location"] == f"/api/v1/jobs/{job['id']}"
    assert api.http.get(answer.headers["location"]).json() == job


def test_times_are_rfc_3339_in_utc(api: Api) -> None:
    created = api.submit()["created_at"]
    assert created.endswith("Z")
    assert abs(datetime.fromisoformat(created).timestamp() - time.time()) < 60


def test_defaults_are_those_of_the_interface(api: Api) -> None:
    mirror = {"kind": "mirror", "source": "alpine", "destination": f"{HOST}/alpine"}
    assert api.submit()["priority"] == 0
    assert api.post("/jobs", json=mirror).json()["priority"] == -10


def test_a_deadline_counts_from_now(api: Api) -> None:
    deadline = datetime.fromisoformat(api.submit(deadline=3600)["deadline"]).timestamp()
    assert deadline == pytest.approx(time.time() + 3600, abs=60)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "kind"),
        ({"kind": "move"}, "kind"),
        ({"kind": "pull"}, "reference"),
        ({"kind": "pull", "reference": "UPPER"}, "reference"),
        ({"kind": "pull", "reference": 1}, "reference"),
        (spec(platforms=["linux/amd64", "not a platform"]), "platforms.1"),
        (spec(priority=101), "priority"),
        (spec(deadline=0), "deadline"),
        (spec(surprise=1), "surprise"),
        (spec(destination="a"), "destination"),
        (spec(credentials="x"), "credentials"),
        (spec(credentials={HOST: {"user": "ann"}}), f"credentials.{HOST}.user"),
        (spec(credentials={HOST: {"password": 1}}), f"credentials.{HOST}.password"),
        ({"kind": "copy", "source": "a"}, "destination"),
        ({"kind": "mirror", "source": "a", "destination": "b", "tags": ["-"]}, "tags.0"),
        ({"kind": "mirror", "entries": [{"source": "a"}]}, "entries.0.destination"),
        (
            {
                "kind": "mirror",
                "entries": [{"source": "a", "destination": "b", "select": {"allow": ["("]}}],
            },
            "entries.0.select.allow.0",
        ),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_enqueued(
    api: Api, body: dict[str, Any], field: str
) -> None:
    before = api.get("/jobs").json()["items"][:1]
    answer = api.post("/jobs", json=body)
    problem = answer.json()
    assert answer.status_code == 422
    assert field in [error["field"] for error in problem["errors"]]
    assert all(error["message"] for error in problem["errors"])
    assert problem["subject"] == problem["errors"][0]["field"]
    assert api.get("/jobs").json()["items"][:1] == before


def test_every_wrong_field_is_named(api: Api) -> None:
    answer = api.post("/jobs", json=spec(priority=1000, deadline=-1, odd=True))
    fields = {error["field"] for error in answer.json()["errors"]}
    assert fields == {"priority", "deadline", "odd"}


def test_a_wrong_credential_is_not_repeated(api: Api) -> None:
    answer = api.post("/jobs", json=spec(credentials={HOST: {"password": [SECRET]}}))
    assert answer.status_code == 422
    assert SECRET not in answer.text


# --- idempotency -------------------------------------------------------------------------------


def keyed(api: Api, key: str, **more: Any) -> Any:
    return api.post("/jobs", json=spec(**more), headers={"Idempotency-Key": key})


def test_the_same_key_and_body_give_the_same_job(api: Api) -> None:
    first, second = keyed(api, "same"), keyed(api, "same")
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["id"] == second.json()["id"]
    assert second.headers["location"] == first.headers["location"]


def test_the_same_body_written_otherwise_is_the_same(api: Api) -> None:
    assert keyed(api, "order").json()["id"] == keyed(api, "order", priority=0).json()["id"]


def test_a_key_with_another_body_is_a_conflict(api: Api) -> None:
    keyed(api, "other")
    answer = keyed(api, "other", priority=5)
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert answer.json()["subject"] == "other"


def test_a_key_may_be_quoted_as_the_header_is_defined(api: Api) -> None:
    assert keyed(api, "quoted").json()["id"] == keyed(api, '"quoted"').json()["id"]


def test_requests_at_the_same_time_with_one_key_make_one_job(api: Api) -> None:
    threads = [api.in_background(lambda: keyed(api, "at once").json()["id"]) for _ in range(8)]
    for thread, _ in threads:
        thread.join()
    assert len({answers[0] for _, answers in threads}) == 1


def test_a_key_that_is_too_long_is_refused(api: Api) -> None:
    answer = keyed(api, "k" * 256)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "idempotency-key"


# --- GET /jobs ---------------------------------------------------------------------------------


def test_pages_are_stable_under_inserts(api: Api) -> None:
    made = [api.submit()["id"] for _ in range(5)]
    first = api.get("/jobs", params={"limit": 2}).json()
    newer = api.submit()["id"]
    second = api.get("/jobs", params={"limit": 2, "cursor": first["next"]}).json()
    seen = [job["id"] for page in (first, second) for job in page["items"]]
    assert seen == made[:0:-1]
    assert newer not in seen


def test_the_last_page_has_no_next(api: Api) -> None:
    parent = api.submit()["id"]
    page = api.get("/jobs", params={"parent": parent}).json()
    assert page == {"items": [], "next": None}


def test_following_next_lists_every_job_once(api: Api) -> None:
    made = {api.submit()["id"] for _ in range(7)}
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = api.get("/jobs", params={"limit": 3, **cursor}).json()
        seen += [job["id"] for job in page["items"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert len(seen) == len(set(seen))
    assert made <= set(seen)


def test_a_repeated_key_means_or(api: Api) -> None:
    jobs_of = {state: api.submit()["id"] for state in ("failed", "succeeded", "queued")}
    for state in ("failed", "succeeded"):
        end(api, jobs_of[state], state)
    params = [("state", "failed"), ("state", "succeeded"), ("kind", "pull"), ("kind", "push")]
    page = api.get("/jobs", params=params).json()
    found = {job["id"] for job in page["items"]}
    assert {jobs_of["failed"], jobs_of["succeeded"]} <= found
    assert jobs_of["queued"] not in found


@pytest.mark.parametrize("cursor", ["*", "", "YWJj", "LTE", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5"])
def test_a_cursor_that_we_did_not_give_is_refused(api: Api, cursor: str) -> None:
    answer = api.get("/jobs", params={"cursor": cursor})
    assert (answer.status_code, answer.json()["subject"]) == (400, "cursor")


# --- waiting -----------------------------------------------------------------------------------


def test_without_wait_the_answer_comes_at_once(api: Api) -> None:
    job = api.submit()["id"]
    began = time.monotonic()
    assert api.get(f"/jobs/{job}").json()["state"] == "queued"
    assert time.monotonic() - began < 0.5


def test_a_wait_ends_with_the_job_and_not_with_the_next_look(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transship.api.routes.jobs.jobs.FALLBACK_SECONDS", 30.0)
    job = api.submit()["id"]
    waiting, answers = api.in_background(lambda: api.get(f"/jobs/{job}?wait=30").json())
    wait_until(lambda: job in api.notifications._waiting, 10, "the request to wait")
    cancelled = time.monotonic()
    api.post(f"/jobs/{job}/cancel")
    waiting.join()
    assert answers[0]["state"] == "cancelled"
    assert time.monotonic() - cancelled < 5


def test_a_wait_finds_what_was_not_announced(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transship.api.routes.jobs.jobs.FALLBACK_SECONDS", 0.05)
    job = api.submit()["id"]
    waiting, answers = api.in_background(lambda: api.get(f"/jobs/{job}?wait=30").json())
    end(api, job)  # and tell nobody
    waiting.join()
    assert answers[0]["state"] == "failed"


def test_a_wait_reads_no_spec_until_it_is_over(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transship.api.routes.jobs.jobs.FALLBACK_SECONDS", 0.01)
    job = api.submit()["id"]
    read: list[bool] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "FROM jobs" in statement and "jobs.state" in statement:
            read.append("jobs.spec" in statement)

    database: Any = api.catalog._database
    event.listen(database._reader, "before_cursor_execute", note)
    try:
        waiting, answers = api.in_background(lambda: api.get(f"/jobs/{job}?wait=30").json())
        wait_until(lambda: len(read) > 5, 10, "the request to look again")
        assert not any(read)
        end(api, job)
        waiting.join()
    finally:
        event.remove(database._reader, "before_cursor_execute", note)
    assert answers[0]["spec"]["kind"] == "pull"
    assert sum(read) == 1


def test_a_mirror_tells_of_its_images(api: Api) -> None:
    body = {"kind": "mirror", "source": "alpine", "destination": f"{HOST}/alpine"}
    mirror = api.post("/jobs", json=body).json()
    figures = {name: mirror["progress"][name] for name in mirror["progress"] if "images" in name}
    assert figures == {"images_total": 0, "images_done": 0, "images_failed": 0}
    states = ("queued", "succeeded", "succeeded", "failed", "cancelled")
    with api.catalog.write() as connection:
        children.add(connection, [(mirror["id"], {state: 1}) for state in states])
    shown = api.get(f"/jobs/{mirror['id']}").json()
    assert shown["children"] == {"queued": 1, "succeeded": 2, "failed": 1, "cancelled": 1}
    figures = {name: shown["progress"][name] for name in figures}
    assert figures == {"images_total": 5, "images_done": 2, "images_failed": 2}
    assert "images_total" not in api.submit()["progress"]


def test_a_wait_that_is_over_shows_the_job_as_it_is(api: Api) -> None:
    job = api.submit()["id"]
    began = time.monotonic()
    assert api.get(f"/jobs/{job}?wait=0.3").json()["state"] == "queued"
    assert 0.3 <= time.monotonic() - began < 5


def test_waiting_for_a_job_that_has_ended_does_not_wait(api: Api) -> None:
    job = api.submit()["id"]
    api.post(f"/jobs/{job}/cancel")
    began = time.monotonic()
    api.get(f"/jobs/{job}?wait=60")
    assert time.monotonic() - began < 5


def test_nobody_is_remembered_who_does_not_wait_any_more(api: Api) -> None:
    job = api.submit()["id"]
    api.get(f"/jobs/{job}?wait=0.01")
    assert not api.notifications._waiting


# --- cancel and retry --------------------------------------------------------------------------


def test_cancel_is_accepted_twice(api: Api) -> None:
    job = api.submit()["id"]
    answers = [api.post(f"/jobs/{job}/cancel") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[1].json()["state"] == "cancelled"


def test_a_job_that_has_ended_is_not_cancelled(api: Api) -> None:
    job = api.submit()["id"]
    end(api, job, "succeeded")
    assert api.post(f"/jobs/{job}/cancel").json()["state"] == "succeeded"


def test_a_retry_is_a_new_job(api: Api) -> None:
    job = api.submit(priority=7)["id"]
    end(api, job)
    answer = api.post(f"/jobs/{job}/retry")
    again = answer.json()
    assert answer.status_code == 202
    assert again["id"] != job
    assert (again["retry_of"], again["priority"], again["state"]) == (job, 7, "queued")
    assert answer.headers["location"] == f"/api/v1/jobs/{again['id']}"


def test_a_job_that_has_not_ended_is_not_tried_again(api: Api) -> None:
    job = api.submit()["id"]
    answer = api.post(f"/jobs/{job}/retry")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


def test_a_job_that_brought_credentials_needs_them_again(api: Api) -> None:
    job = api.submit(credentials=CREDENTIALS)["id"]
    end(api, job)
    refused = api.post(f"/jobs/{job}/retry")
    assert (refused.status_code, refused.json()["code"]) == (409, "credentials-needed")
    assert HOST in refused.json()["detail"]
    assert SECRET not in refused.text
    accepted = api.post(f"/jobs/{job}/retry", json={"credentials": CREDENTIALS})
    assert accepted.status_code == 202


def test_a_retry_that_is_asked_for_twice_under_one_key_is_one_job(api: Api) -> None:
    job = api.submit()["id"]
    end(api, job)
    answers = [api.post(f"/jobs/{job}/retry", headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json()["id"] == answers[1].json()["id"]


def test_a_retry_with_unknown_fields_is_refused(api: Api) -> None:
    job = api.submit()["id"]
    end(api, job)
    answer = api.post(f"/jobs/{job}/retry", json={"credential": {}})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "credential"


# --- secrets -----------------------------------------------------------------------------------


def test_credentials_are_in_no_answer_and_not_on_disk(api: Api) -> None:
    answer = api.post("/jobs", json=spec(credentials=CREDENTIALS))
    job = answer.json()["id"]
    shown = [answer, *(api.get(f"/jobs{path}") for path in ("", f"/{job}", f"/{job}/log"))]
    assert not [one.text for one in shown if SECRET in one.text or "ann" in one.text]
    files = [path for path in api.home.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


def test_credentials_for_other_registries_are_not_kept(api: Api) -> None:
    job = api.submit(credentials={"elsewhere.example": {"password": SECRET}})["id"]
    end(api, job)
    assert api.post(f"/jobs/{job}/retry").status_code == 202


# --- GET /jobs/{id}/log ------------------------------------------------------------------------


def test_a_long_log_comes_in_pages(api: Api) -> None:
    job = api.submit()["id"]
    with api.catalog.write() as connection:
        for number in range(7):
            events.record(connection, job, "warning", time.time(), message=str(number))
    pages = [api.get(f"/jobs/{job}/log", params={"limit": 3}).json()]
    while pages[-1]["next"] is not None:
        pages.append(
            api.get(f"/jobs/{job}/log", params={"limit": 3, "after": pages[-1]["next"]}).json()
        )
    told = [event.get("message") for page in pages for event in page["items"]]
    assert told == [None, *map(str, range(7))]
    assert [len(page["items"]) for page in pages] == [3, 3, 2]


def test_a_log_that_ends_with_a_page_has_no_next(api: Api) -> None:
    job = api.submit()["id"]
    page = api.get(f"/jobs/{job}/log", params={"limit": 1}).json()
    assert (len(page["items"]), page["next"]) == (1, None)


@pytest.mark.parametrize("query", [{"after": "x"}, {"after": -1}, {"limit": 0}, {"limit": 1001}])
def test_a_page_of_a_log_has_to_be_asked_for_in_numbers(api: Api, query: dict[str, Any]) -> None:
    job = api.submit()["id"]
    answer = api.get(f"/jobs/{job}/log", params=query)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == next(iter(query))


def test_rejected_messages_are_listed_and_are_no_job(api: Api) -> None:
    with api.catalog.write() as connection:
        rejections.record(connection, [("not JSON", b"one"), ("no id", b"two")], 0)
    answer = api.get("/jobs/rejected", params={"limit": 1})
    assert answer.json() == {
        "items": [{"time": "1970-01-01T00:00:00.000Z", "reason": "no id", "excerpt": "two"}],
        "next": None,
    }
    assert api.get("/jobs/rejected", params={"limit": 0}).status_code == 422
