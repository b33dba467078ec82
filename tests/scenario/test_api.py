"""The HTTP API over jobs that really run."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.images import build_image, build_index, push_index
from tests.support.proxy import Action, SlowProxy
from tests.support.registries import RegistryProcess
from tests.support.up import Environment, up_environment
from transship.store.oci.platform import Platform

NDJSON = {"Accept": "application/x-ndjson"}
USER, PASSWORD = "ann", "correct-horse-battery-staple"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    with up_environment(tmp_path_factory.mktemp("environment")) as opened:
        yield opened


def get(here: Environment, path: str, **options: Any) -> Any:
    return here.up.http.get(f"/api/v1{path}", **options)


def pulled(here: Environment, name: str) -> dict[str, Any]:
    """A pull of a new image that has ended."""
    here.put(name)
    return here.up.client.wait(
        here.submit(kind="pull", reference=f"{here.source.host}/team/{name}:1")
    )


def test_it_is_ready(here: Environment) -> None:
    answer = here.up.http.get("/readyz")
    assert (answer.json()["status"], answer.json()["degraded"]) == ("ok", [])
    assert all(count > 0 for count in answer.json()["threads"].values())


def test_limits_come_with_their_source(here: Environment) -> None:
    assert get(here, "/limits").json() == {
        "max_concurrent_downloads": {"value": 3, "source": "default"},
        "max_concurrent_uploads": {"value": 5, "source": "default"},
        "max_download_attempts": {"value": 5, "source": "default"},
        "max_upload_attempts": {"value": 5, "source": "default"},
        "registries": {},
    }


def test_a_job_that_has_ended_says_what_it_came_to(here: Environment) -> None:
    image = here.put("ended")
    name = f"{here.source.host}/team/ended:1"
    job = here.up.client.wait(here.submit(kind="pull", reference=name))
    assert job["state"] == "succeeded"
    assert job["error"] is None
    assert job["result"]["digest"] == str(image.digest)
    assert job["result"]["image_id"] == str(image.manifest.config.digest)
    assert job["result"]["reference"] == name
    figures = job["progress"]
    assert figures["bytes_done"] == figures["bytes_total"] == image.size
    assert figures["bytes_moved"] + figures["bytes_skipped"] == image.size
    assert figures["blobs_done"] == figures["blobs_total"] == 3
    created, started, finished = (
        datetime.fromisoformat(job[when]) for when in ("created_at", "started_at", "finished_at")
    )
    assert created <= started <= finished


def test_transfers_name_each_blob_once(here: Environment) -> None:
    image = here.put("transfers")
    job = here.submit(kind="pull", reference=f"{here.source.host}/team/transfers:1")
    here.up.client.wait(job)
    items = get(here, f"/jobs/{job}/transfers").json()["items"]
    assert {item["digest"] for item in items} == {str(blob) for blob in image.blobs}
    for item in items:
        assert (item["direction"], item["state"]) == ("download", "done")
        assert item["bytes_done"] == item["bytes_moved"] == item["size"]
        assert (item["registry"], item["repository"]) == (here.source.host, "team/transfers")
        assert item["attempts"] == 1


def test_the_log_tells_the_story_in_order(here: Environment) -> None:
    job = pulled(here, "logged")
    items = get(here, f"/jobs/{job['id']}/log").json()["items"]
    assert (items[0]["type"], items[-1]["type"]) == ("queued", "succeeded")
    assert [item["id"] for item in items] == sorted(item["id"] for item in items)


def test_a_stream_shows_progress_while_a_body_comes(here: Environment) -> None:
    image = here.put("streamed", layers=1, layer_bytes=400_000)
    layer = image.manifest.layers[0]
    gate = threading.Event()
    with SlowProxy(here.source.host, host_name="localhost") as proxy:
        proxy.on_request = lambda request: (
            Action(hold_until=gate) if request.blob_digest == str(layer.digest) else None
        )
        job = here.submit(kind="pull", reference=f"{proxy.host}/team/streamed:1")
        path = f"/api/v1/jobs/{job}/events"
        seen: list[dict[str, Any]] = []
        with here.up.http.stream("GET", path, headers=NDJSON) as stream:
            for line in stream.iter_lines():
                seen.append(json.loads(line))
                moving = [t for t in seen[-1].get("transfers", ()) if t["state"] == "running"]
                if any(t["digest"] == str(layer.digest) for t in moving):
                    gate.set()
    types = [event["type"] for event in seen]
    assert gate.is_set()
    assert types[0] == "queued"
    assert "succeeded" in types
    assert types[-1] == "progress"
    assert seen[-1]["job"]["state"] == "succeeded"
    done = [event["job"]["progress"]["bytes_done"] for event in seen if event["type"] == "progress"]
    assert done == sorted(done)
    assert done[-1] == image.size


def test_a_stream_of_a_mirror_tells_of_its_children(here: Environment) -> None:
    here.put("mirrored")
    job = here.submit(
        kind="mirror",
        source=f"{here.source.host}/team/mirrored",
        destination=f"{here.target.host}/copy/mirrored",
    )
    answer = get(here, f"/jobs/{job}/events", headers=NDJSON)
    events = [json.loads(line) for line in answer.text.splitlines()]
    children = get(here, "/jobs", params={"parent": job}).json()["items"]
    assert [child["state"] for child in children] == ["succeeded"]
    ended = [event["job"] for event in events if event["type"] == "succeeded"]
    assert ended == [children[0]["id"], job]
    assert events[-1]["job"]["children"] == {"succeeded": 1}


def test_children_are_not_listed_among_the_others(here: Environment) -> None:
    assert all(job["parent"] is None for job in get(here, "/jobs").json()["items"])


def test_a_long_poll_answers_when_its_job_ends(here: Environment) -> None:
    here.put("polled")
    gate = threading.Event()
    with SlowProxy(here.source.host, host_name="localhost") as proxy:
        proxy.on_request = lambda r: Action(hold_until=gate) if r.is_blob_get else None
        job = here.submit(kind="pull", reference=f"{proxy.host}/team/polled:1")
        answers: list[dict[str, Any]] = []
        waiting = threading.Thread(
            target=lambda: answers.append(get(here, f"/jobs/{job}?wait=60").json())
        )
        waiting.start()
        assert get(here, f"/jobs/{job}").json()["finished_at"] is None
        gate.set()
        waiting.join(30)
        answered = time.time()
    (job_,) = answers
    assert job_["state"] == "succeeded"
    finished = datetime.fromisoformat(job_["finished_at"]).timestamp()
    assert answered - finished < 0.5  # an announcement, not the look once a second


def test_a_failure_names_side_subject_and_attempts(here: Environment) -> None:
    name = f"{here.source.host}/team/never:1"
    job = here.up.client.wait(here.submit(kind="pull", reference=name))
    assert (job["state"], job["result"]) == ("failed", None)
    error = job["error"]
    assert (error["code"], error["side"]) == ("manifest-not-found", "source")
    assert error["subject"] == name
    assert error["detail"]
    assert error["retryable"] is False


# --- images ------------------------------------------------------------------------------------


def test_images_are_listed_by_pattern(here: Environment) -> None:
    pulled(here, "listed")
    page = get(here, "/images", params={"pattern": "*/team/listed:*"}).json()
    (item,) = page["items"]
    assert item["reference"] == f"{here.source.host}/team/listed:1"
    assert item["images"][0]["layers"] == 2
    assert get(here, "/images", params={"pattern": "nothing/*"}).json()["items"] == []


def test_an_index_held_in_part_is_inspected_as_held(here: Environment) -> None:
    arm = build_image("in part", platform=Platform("linux", "arm64"))
    index = build_index([build_image("in part"), arm])
    push_index(here.source.url, "team/index", "1", index)
    name = f"{here.source.host}/team/index:1"
    here.up.client.wait(here.submit(kind="pull", reference=name, platforms=["linux/arm64"]))
    found = get(here, f"/images/{name}/inspect").json()
    assert found["digest"] == str(index.digest)
    assert found["references"] == [name, f"{here.source.host}/team/index@{index.digest}"]
    assert len(found["manifest"]["manifests"]) == 2
    (image,) = found["images"]
    assert image["platform"] == "linux/arm64"
    assert image["config"]["architecture"] == "arm64"
    assert image["manifest"]["config"]["digest"] == image["image_id"]


def test_an_image_with_two_names_needs_force_to_go_by_its_id(here: Environment) -> None:
    image = here.put("named")
    here.up.client.wait(here.submit(kind="pull", reference=f"{here.source.host}/team/named:1"))
    with SlowProxy(here.source.host, host_name="localhost") as other:
        here.up.client.wait(here.submit(kind="pull", reference=f"{other.host}/team/named:1"))
    path = f"/api/v1/images/{image.manifest.config.digest}"
    refused = here.up.http.delete(path)
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    removed = here.up.http.delete(path, params={"force": True})
    assert removed.status_code == 200
    assert [next(iter(one)) for one in removed.json()] == ["untagged"] * 4 + ["deleted"] * 3
    assert get(here, "/images", params={"pattern": "*/team/named:1"}).json()["items"] == []


def test_a_name_is_removed_once(here: Environment) -> None:
    result = pulled(here, "removed")["result"]
    name = result["reference"]
    first, second = (here.up.http.delete(f"/api/v1/images/{name}") for _ in range(2))
    assert first.json()[:3] == [
        {"untagged": name},
        {"untagged": f"{here.source.host}/team/removed@{result['digest']}"},
        {"deleted": result["image_id"]},
    ]
    assert second.status_code == 404


# --- secrets -----------------------------------------------------------------------------------


@pytest.mark.parametrize("password", [PASSWORD, "wrong-horse-battery-staple"])
def test_a_password_is_in_no_answer_no_log_and_no_file(
    here: Environment, tmp_path: Path, password: str
) -> None:
    with RegistryProcess(tmp_path, htpasswd=(USER, PASSWORD), host_name="localhost") as locked:
        here.put("private")
        job = here.submit(
            kind="copy",
            source=f"{here.source.host}/team/private:1",
            destination=f"{locked.host}/team/private:1",
            credentials={locked.host: {"username": USER, "password": password}},
        )
        ended = here.up.client.wait(job)
    assert ended["state"] == ("succeeded" if password == PASSWORD else "failed")
    paths = ("", f"/{job}", f"/{job}/log", f"/{job}/transfers", f"/{job}/events")
    texts = [get(here, f"/jobs{path}").text for path in paths]
    texts.append(here.up.process.log)
    files = [p for p in here.up.home.rglob("*") if p.is_file() and "blobs" not in p.parts]
    texts += [path.read_bytes().decode("latin-1") for path in files]
    assert not [text for text in texts if password in text]
    again = here.up.http.post(f"/api/v1/jobs/{job}/retry")
    assert (again.status_code, again.json()["code"]) == (409, "credentials-needed")
