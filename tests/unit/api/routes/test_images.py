"""Images over HTTP: shapes, statuses, and names that hold slashes."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from tests.contract.catalog.shelves import ImageFixtures, deleted, id_of, small
from tests.support.file_images import image_of
from tests.support.images import ARM64, build_index
from tests.support.tars import file, tar_of
from tests.unit.api.serving import PREFIX, Api
from transship.store.catalog.db.schema import (
    blobs,
    edges,
    image_events,
    images,
    layers,
    lineage,
    references,
)

X, CHILD = small("x", labels={"a": "1"}), small("child", base=small("x", labels={"a": "1"}))
ARM = small("x", platform=ARM64)
ID = id_of(X)
NAME = "registry.test:5000/team/app:1"
NDJSON = {"Accept": "application/x-ndjson"}


TABLES = (blobs, edges, image_events, images, layers, lineage, references)


def _fill(api: Api) -> Api:
    """Let there be an image with its child in the store, and nothing else."""
    with api.catalog.write() as connection:
        for table in TABLES:
            connection.execute(delete(table))
    shelves = ImageFixtures(api.catalog, api.context.content)
    shelves.hold(X, NAME, "docker.io/library/app:1", f"docker.io/library/app@{X.digest}")
    shelves.hold(CHILD, parent=X)
    return api


@pytest.fixture
def here(api: Api) -> Api:
    """A server with an image and its child."""
    return _fill(api)


def _item(api: Api, id_: str, **params: Any) -> dict[str, Any]:
    items: list[dict[str, Any]] = api.get("/images", params=params).json()["items"]
    return next(item for item in items if item["id"] == id_)


def test_an_image_is_listed_once_with_dockers_fields(here: Api) -> None:
    item = _item(here, ID)
    images = item.pop("images")
    assert item.pop("updated_at").endswith("Z")
    assert item == {
        "id": ID,
        "parent_id": "",
        "repo_tags": ["app:1", NAME],
        "repo_digests": [f"app@{X.digest}"],
        "created": "2024-05-01T12:00:00Z",
        "size": X.size,
        "shared_size": -1,
        "labels": {"org.example.seed": "x", "a": "1"},
        "containers": 0,
        "reference": "docker.io/library/app:1",
        "familiar": "app:1",
        "digest": str(X.digest),
        "media_type": X.manifest.media_type,
    }
    assert images[0]["image_id"] == ID
    assert _item(here, id_of(CHILD))["parent_id"] == ID


def test_an_image_without_a_name_has_none(here: Api) -> None:
    item = _item(here, id_of(CHILD))
    assert (item["repo_tags"], item["repo_digests"], item["reference"]) == ([], [], None)
    assert item["digest"] == str(CHILD.digest)


def test_a_pattern_leaves_the_names_that_match(here: Api) -> None:
    item = _item(here, ID, pattern="*/team/*")
    assert (item["repo_tags"], item["reference"]) == ([NAME], NAME)
    assert here.get("/images", params={"pattern": "nothing/*"}).json()["items"] == []


@pytest.mark.parametrize("text", ["odd=1", "dangling=maybe", "label", "until=soon"])
def test_a_wrong_filter_is_422_and_names_the_field(here: Api, text: str) -> None:
    answer = here.get("/images", params={"filter": text})
    assert answer.status_code == 422
    assert [one["field"] for one in answer.json()["errors"]] == ["filter"]


def test_an_image_is_inspected_with_dockers_fields_and_all_that_is_held(here: Api) -> None:
    found = here.get(f"/images/{NAME}/inspect").json()
    config = json.loads(X.read(X.manifest.config.digest))
    assert found["images"][0].pop("config") == config
    assert found["images"][0].pop("manifest") == json.loads(X.manifest.raw)
    assert found.pop("images")[0]["digest"] == str(X.digest)
    assert found.pop("manifest") == json.loads(X.manifest.raw)
    assert found == {
        "id": ID,
        "repo_tags": ["app:1", NAME],
        "repo_digests": [f"app@{X.digest}"],
        "parent": "",
        "comment": "",
        "created": "2024-05-01T12:00:00Z",
        "author": "",
        "config": config["config"],
        "container_config": None,
        "docker_version": "",
        "architecture": "amd64",
        "variant": "",
        "os": "linux",
        "os_version": "",
        "size": X.size,
        "uncompressed_size": None,
        "rootfs": {"type": "layers", "diff_ids": [str(one) for one in X.diff_ids]},
        "last_tag_time": None,
        "digest": str(X.digest),
        "media_type": X.manifest.media_type,
        "references": ["docker.io/library/app:1", NAME, f"docker.io/library/app@{X.digest}"],
    }


def test_what_docker_wrote_down_is_shown_and_a_time_where_there_is_none(here: Api) -> None:
    """Docker's `container_config` and `docker_version`, and the zero of its times."""
    step = {"Cmd": ["/bin/sh", "-c", "#(nop) CMD x"]}
    image = image_of(
        tar_of(file("a")), container_config=step, docker_version="20.10.24", created=None
    )
    ImageFixtures(here.catalog, here.context.content).hold(image, "docker.io/library/old:1")
    found = here.get("/images/old:1/inspect").json()
    assert (found["container_config"], found["docker_version"]) == (step, "20.10.24")
    assert found["created"] == "0001-01-01T00:00:00Z"


def test_another_platform_is_404_and_brings_the_image(here: Api) -> None:
    answer = here.get(f"/images/{NAME}/inspect", params={"platform": "linux/s390x"})
    assert (answer.status_code, answer.json()["code"]) == (404, "platform-not-held")
    assert answer.json()["image"] == {
        "id": ID, "digest": str(X.digest), "platform": "linux/amd64",
    }  # fmt: skip


@pytest.mark.parametrize("path", ["inspect", "history"])
def test_a_platform_is_chosen_of_an_index(here: Api, path: str) -> None:
    ImageFixtures(here.catalog, here.context.content).hold(build_index([X, ARM]), "r.test/index:1")
    answer = here.get(f"/images/r.test/index:1/{path}", params={"platform": "linux/arm64"})
    assert answer.status_code == 200
    assert id_of(ARM) in answer.text
    wrong = here.get(f"/images/r.test/index:1/{path}", params={"platform": "no such"})
    assert (wrong.status_code, wrong.json()["code"]) == (400, "invalid-platform")


def test_the_history_is_newest_first(here: Api) -> None:
    items = here.get(f"/images/{ID[7:19]}/history").json()["items"]
    assert [step["created_by"] for step in items][-1] == "COPY layer 0 of x"
    assert items[0]["id"] == ID
    assert items[0]["tags"] == ["app:1", NAME]
    assert {step["id"] for step in items[1:]} == {"<missing>"}


def test_children_are_listed_by_id(here: Api) -> None:
    assert here.get(f"/images/{NAME}/children").json()["items"] == [id_of(CHILD)]
    assert here.get(f"/images/{id_of(CHILD)}/children").json()["items"] == []


def test_an_image_is_tagged(here: Api) -> None:
    answer = here.post(f"/images/{NAME}/tag", json={"reference": "docker.io/library/new"})
    assert (answer.status_code, answer.json()) == (201, {"reference": "new:latest"})
    assert "new:latest" in _item(here, ID)["repo_tags"]
    assert here.get("/images/new/inspect").json()["last_tag_time"] is not None


@pytest.mark.parametrize(
    ("body", "status"),
    [({}, 422), ({"reference": ""}, 422), ({"reference": "a@b"}, 400), ({"reference": "A"}, 400)],
)
def test_a_name_that_cannot_be_is_refused(here: Api, body: dict[str, str], status: int) -> None:
    assert here.post(f"/images/{NAME}/tag", json=body).status_code == status


def test_deleting_tells_what_went_in_dockers_order(here: Api) -> None:
    def remove(ref: str, **params: Any) -> Any:
        answer = here.http.delete(f"{PREFIX}/images/{ref}", params=params)
        return answer.json() if answer.status_code == 200 else answer.status_code

    assert remove(ID) == 409
    assert remove(NAME) == [{"untagged": NAME}]
    assert remove(NAME) == 404
    assert remove(id_of(CHILD), noprune=True) == deleted(CHILD, layers=2)
    assert remove("app:1", force=True) == [
        {"untagged": "app:1"},
        {"untagged": f"app@{X.digest}"},
        *deleted(X),
    ]
    assert here.get("/images", params={"all": True}).json()["items"] == []


def test_usage_adds_up(here: Api) -> None:
    found = here.get("/usage").json()
    (child,) = [item for item in found["items"] if item["id"] == id_of(CHILD)]
    assert child["size"] == CHILD.size
    assert child["shared_size"] + child["unique_size"] == child["size"]
    assert found["images"]["total"] == 2
    assert found["store"]["blobs"] == len({*X.blobs, *CHILD.blobs}) + 2
    assert found["store"]["free_bytes"] > 0


# --- events --------------------------------------------------------------------------------------


def _rename(api: Api, *names: str) -> None:
    for name in names:
        assert api.post(f"/images/{ID}/tag", json={"reference": name}).status_code == 201


def test_events_are_listed_with_dockers_names(here: Api) -> None:
    _rename(here, "one", "two:1")
    items = here.get("/events").json()["items"]
    assert [(e["type"], e["action"], e["actor"], e["scope"]) for e in items] == [
        ("image", "tag", ID, "local")
    ] * 2
    labels = {"org.example.seed": "x", "a": "1"}
    assert [e["attributes"] for e in items] == [
        {**labels, "name": "one:latest"},
        {**labels, "name": "two:1"},
    ]


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        (["event=tag"], 2),
        (["event=untag", "event=delete"], 0),
        (["image=one"], 1),
        (["image=one:latest", "image=two:1"], 2),
        ([f"image={ID}"], 2),
        (["label=a"], 2),
        (["label=a=1", "label=b"], 0),
        (["type=image"], 2),
        (["type=container"], 0),
        (["scope=local"], 2),
        (["scope=swarm"], 0),
        (["container=on"], 1),
        (["network=sha256:"], 2),
        (["node=two:1", "node=one"], 2),
        (["daemon=three"], 0),
        (["volume=one", "label=b"], 0),
    ],
)
def test_events_are_filtered(here: Api, filters: list[str], count: int) -> None:
    _rename(here, "one", "two:1")
    assert len(here.get("/events", params={"filter": filters}).json()["items"]) == count


def test_events_are_listed_between_two_times(here: Api) -> None:
    _rename(here, "one")
    (event,) = here.get("/events", params={"since": "1h"}).json()["items"]
    assert here.get("/events", params={"until": "1h"}).json()["items"] == []
    exact = {"since": event["time"]}
    assert here.get("/events", params=exact).status_code == 200


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({"since": "soon"}, 400),
        ({"since": "10", "until": "5"}, 400),
        ({"filter": "odd=1"}, 422),
        ({"cursor": "x"}, 400),
    ],
)
def test_events_that_cannot_be_asked_for(here: Api, params: dict[str, str], status: int) -> None:
    assert here.get("/events", params=params).status_code == status


def test_a_stream_follows_from_now_on_and_is_resumed_by_id(here: Api) -> None:
    _rename(here, "before")
    seen = []
    with here.http.stream("GET", f"{PREFIX}/events", headers=NDJSON) as stream:
        assert stream.headers["Content-Type"] == "application/x-ndjson"
        lines = stream.iter_lines()
        _rename(here, "one", "two")
        seen += [json.loads(next(lines)) for _ in range(2)]
    assert [event["attributes"]["name"] for event in seen] == ["one:latest", "two:latest"]
    headers = {**NDJSON, "Last-Event-ID": str(seen[0]["id"])}
    with here.http.stream("GET", f"{PREFIX}/events", headers=headers) as stream:
        assert json.loads(next(stream.iter_lines())) == seen[1]


def test_a_stream_ends_when_its_time_has_passed(here: Api) -> None:
    _rename(here, "one")
    params = {"since": "1h", "until": "0s"}
    answer = here.get("/events", params=params, headers={"Accept": "text/event-stream"})
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    blocks = answer.text.strip().split("\n\n")
    assert [line.partition(":")[0] for line in blocks[0].splitlines()] == ["id", "event", "data"]
    assert json.loads(blocks[0].splitlines()[2][len("data: ") :])["action"] == "tag"


def test_a_stream_ends_with_the_server(tmp_path: Path) -> None:
    with (
        Api(tmp_path) as stopping,
        stopping.http.stream("GET", f"{PREFIX}/events", headers=NDJSON) as stream,
    ):
        stopping.notifications.close()
        assert list(stream.iter_lines()) == []


# --- registries ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        "%%%",
        base64.urlsafe_b64encode(b"[1]").decode(),
        base64.b64encode(b'{"username":1}').decode(),
    ],
)
def test_a_credential_that_cannot_be_read_is_refused_and_not_repeated(
    here: Api, header: str
) -> None:
    answer = here.get("/remote/r.test/app:1/inspect", headers={"X-Registry-Auth": header})
    assert (answer.status_code, answer.json()["subject"]) == (400, "X-Registry-Auth")
    assert header not in answer.text


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"term": "http://x/y"}, "term"),
        ({"term": "host:port/x"}, "term"),
        ({}, "term"),
        ({"term": "x", "limit": 0}, "limit"),
        ({"term": "x", "limit": 101}, "limit"),
        ({"term": "x", "filter": "odd=1"}, "filter"),
        ({"term": "x", "filter": "stars=many"}, "filter"),
        ({"term": "x", "filter": "is-official=1"}, "filter"),
        ({"term": "x", "filter": ["is-official=true", "is-official=false"]}, "filter"),
    ],
)
def test_a_search_that_cannot_be_is_422(here: Api, params: dict[str, Any], field: str) -> None:
    answer = here.get("/search", params=params)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field
