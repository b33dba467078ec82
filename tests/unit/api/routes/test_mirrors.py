"""/mirrors: policies that are kept, and their runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from tests.unit.api.serving import PREFIX, Api
from transship.store.catalog.db.schema import jobs

HOST = "localhost:1"
ENTRY = {"source": f"{HOST}/team/app", "destination": f"{HOST}/copy/app", "select": {"newest": 3}}
FIELDS = {
    "name", "enabled", "interval_seconds", "next_run_at", "running", "last_run", "entries",
    "created_at", "updated_at",
}  # fmt: skip


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Api]:
    with Api(tmp_path) as served:
        yield served


def put(api: Api, name: str = "nightly", **more: Any) -> httpx.Response:
    return api.http.put(f"{PREFIX}/mirrors/{name}", json={"entries": [ENTRY], **more})


def end(api: Api, job: str, state: str = "succeeded") -> None:
    """Let a job have ended, as a worker would."""
    with api.catalog.write() as connection:
        connection.execute(
            update(jobs).where(jobs.c.id == job).values(state=state, finished_at=time.time())
        )


def test_a_mirror_is_kept_and_shown(fresh: Api) -> None:
    made = put(fresh, platforms=["linux/amd64"], interval_seconds=3600)
    assert made.status_code == 201
    assert made.json().keys() == FIELDS | {"spec"}
    assert fresh.get("/mirrors/nightly").json() == made.json()
    (listed,) = fresh.get("/mirrors").json()["items"]
    assert listed.keys() == FIELDS
    assert (listed["entries"], listed["interval_seconds"], listed["enabled"]) == (1, 3600, True)
    spec = made.json()["spec"]
    assert (spec["kind"], spec["platforms"], spec["priority"]) == ("mirror", ["linux/amd64"], -10)
    assert spec["entries"][0]["source"] == ENTRY["source"]


def test_another_of_the_same_name_takes_its_place(fresh: Api) -> None:
    put(fresh)
    again = put(fresh, enabled=False)
    assert (again.status_code, again.json()["enabled"]) == (200, False)
    assert len(fresh.get("/mirrors").json()["items"]) == 1


@pytest.mark.parametrize(
    ("name", "body", "field"),
    [
        ("-odd", {"entries": [ENTRY]}, "name"),
        ("n", {}, "entries"),
        ("n", {"entries": []}, "entries"),
        ("n", {"entries": [{**ENTRY, "source": "a//b"}]}, "entries.0.source"),
        ("n", {"entries": [{**ENTRY, "select": {"allow": ["("]}}]}, "entries.0.select.allow.0"),
        ("n", {"entries": [ENTRY], "interval_seconds": 5}, "interval_seconds"),
        ("n", {"entries": [ENTRY], "platforms": ["not a platform"]}, "platforms.0"),
        ("n", {"entries": [ENTRY], "source": "a"}, "source"),
        ("n", {"entries": [ENTRY], "dry_run": True}, "dry_run"),
        (
            "n",
            {"entries": [ENTRY], "platforms": ["linux/amd64"], "all_platforms": True},
            "platforms",
        ),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_kept(
    fresh: Api, name: str, body: dict[str, Any], field: str
) -> None:
    answer = fresh.http.put(f"{PREFIX}/mirrors/{name}", json=body)
    assert answer.status_code == 422
    assert field in [error["field"] for error in answer.json()["errors"]]
    assert fresh.get("/mirrors").json()["items"] == []


def test_a_run_is_a_job_and_only_one_at_a_time(fresh: Api) -> None:
    put(fresh)
    run = fresh.post("/mirrors/nightly/runs")
    job = run.json()
    assert run.status_code == 202
    assert run.headers["location"] == f"/api/v1/jobs/{job['id']}"
    assert (job["kind"], job["requested_by"]) == ("mirror", "local")
    assert job["label"] == f"nightly: {HOST}/team/app -> {HOST}/copy/app"
    shown = fresh.get("/mirrors/nightly").json()
    assert (shown["running"], shown["last_run"]["job"]) == (job["id"], job["id"])

    refused = fresh.post("/mirrors/nightly/runs")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    end(fresh, job["id"])
    second = fresh.post("/mirrors/nightly/runs").json()
    assert [one["id"] for one in fresh.get("/mirrors/nightly/runs").json()["items"]] == [
        second["id"], job["id"],
    ]  # fmt: skip
    assert len(fresh.get("/mirrors/nightly/runs", params={"limit": 1}).json()["items"]) == 1


def test_the_same_key_gives_the_same_run(fresh: Api) -> None:
    put(fresh)
    put(fresh, "other")
    key = {"Idempotency-Key": "k"}
    first = fresh.post("/mirrors/nightly/runs", headers=key).json()
    put(fresh, platforms=["linux/arm64"])
    assert fresh.post("/mirrors/nightly/runs", headers=key).json()["id"] == first["id"]
    assert fresh.post("/mirrors/other/runs", headers=key).status_code == 409


def test_the_next_run_is_told_where_one_is_to_come(fresh: Api) -> None:
    assert put(fresh, "asked").json()["next_run_at"] is None
    assert put(fresh, "off", interval_seconds=60, enabled=False).json()["next_run_at"] is None
    assert put(fresh, "on", interval_seconds=60).json()["next_run_at"] is not None


def test_a_mirror_is_enabled_disabled_and_forgotten(fresh: Api) -> None:
    put(fresh, interval_seconds=60)
    path = f"{PREFIX}/mirrors/nightly"
    assert fresh.http.patch(path, json={"enabled": False}).json()["enabled"] is False
    assert fresh.http.patch(path, json={"enabled": True}).json()["enabled"] is True
    job = fresh.post("/mirrors/nightly/runs").json()["id"]
    assert fresh.http.delete(path).status_code == 204
    assert fresh.get("/mirrors").json()["items"] == []
    assert fresh.get(f"/jobs/{job}").json()["state"] == "queued"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/mirrors/none", None),
        ("GET", "/mirrors/none/runs", None),
        ("POST", "/mirrors/none/runs", None),
        ("PATCH", "/mirrors/none", {"enabled": True}),
        ("DELETE", "/mirrors/none", None),
    ],
)
def test_what_is_not_there_is_404(api: Api, method: str, path: str, body: Any) -> None:
    answer = api.http.request(method, PREFIX + path, json=body)
    assert (answer.status_code, answer.json()["subject"]) == (404, "none")


def test_whoever_submits_may_run_and_only_admins_write(tmp_path: Path) -> None:
    with Api(tmp_path) as api:
        tokens = {scope: api.token(scope, name=scope) for scope in ("read", "submit", "admin")}

        def ask(scope: str, method: str, path: str, body: Any = None) -> int:
            headers = {"Authorization": f"Bearer {tokens[scope]}"}
            return api.http.request(method, PREFIX + path, json=body, headers=headers).status_code

        wanted = {"entries": [ENTRY]}
        assert ask("submit", "PUT", "/mirrors/nightly", wanted) == 403
        assert ask("admin", "PUT", "/mirrors/nightly", wanted) == 201
        assert ask("read", "GET", "/mirrors/nightly") == 200
        assert ask("read", "POST", "/mirrors/nightly/runs") == 403
        assert ask("submit", "POST", "/mirrors/nightly/runs") == 202
        assert ask("submit", "PATCH", "/mirrors/nightly", {"enabled": False}) == 403
        assert ask("submit", "DELETE", "/mirrors/nightly") == 403
        assert ask("admin", "DELETE", "/mirrors/nightly") == 204


def test_a_mirror_may_be_as_long_as_a_job(fresh: Api) -> None:
    tags = [f"{number:0128}" for number in range(10_000)]
    entry = {"source": f"{HOST}/team/app", "destination": f"{HOST}/copy/app", "tags": tags}
    assert put(fresh, entries=[entry]).status_code == 201
