"""Workspaces over HTTP: shapes, statuses, tars in and out."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy import delete, select

from tests.contract.catalog.shelves import ImageFixtures, id_of
from tests.support.file_images import image_of
from tests.support.processes import wait_until
from tests.support.tars import entries_of, file, folder, symlink, tar_of
from tests.unit.api.serving import PREFIX, Api
from transship.store.catalog.db.schema import (
    blobs,
    edges,
    images,
    layers,
    leases,
    references,
    tokens,
    workspace_layers,
    workspaces,
)
from transship.store.catalog.db.schema import jobs as job_rows
from transship.store.oci.platform import Platform

TAR = {"Accept": "application/x-tar"}
NAME = "docker.io/library/app:1"
BASE = image_of(
    tar_of(
        folder("etc"),
        file("etc/kept", b"kept", mode=0o600, uid=3, gid=4),
        file("etc/gone", b"gone"),
        symlink("etc/link", "kept"),
    ),
    architecture=Platform.host().architecture,
)
TABLES = (blobs, edges, images, layers, leases, references, workspace_layers, workspaces)


@pytest.fixture
def here(api: Api) -> Api:
    """An image in the store, and nothing else."""
    with api.catalog.write() as connection:
        for table in TABLES:
            connection.execute(delete(table))
    ImageFixtures(api.catalog, api.context.content).hold(BASE, NAME)
    return api


@pytest.fixture
def work(here: Api) -> Api:
    """A workspace `work` over that."""
    made(here, "work", reference="app:1")
    return here


def made(api: Api, name: str, **more: Any) -> dict[str, Any]:
    answer = api.post("/workspaces", json={"name": name, **more})
    assert answer.status_code == 201, answer.text
    view: dict[str, Any] = answer.json()
    return view


def put(api: Api, path: str, body: Any, name: str = "work") -> httpx.Response:
    return api.http.put(f"{PREFIX}/workspaces/{name}/files", params={"path": path}, content=body)


def remove(api: Api, path: str) -> httpx.Response:
    return api.http.delete(f"{PREFIX}/workspaces/work/files", params={"path": path})


def problem(answer: httpx.Response) -> tuple[int, str, str]:
    body = answer.json()
    return answer.status_code, body["code"], body["side"]


def test_a_workspace_is_shown_with_its_image(here: Api) -> None:
    view = made(here, "work", reference="app:1", busy=True)
    below = sum(layer.size for layer in BASE.manifest.layers)
    expected = {
        "name": "work",
        "reference": "app:1",
        "base": str(BASE.digest),
        "image_id": id_of(BASE),
        "busy": True,
        "layers": [],
        "size_rw": 0,
        "size_root_fs": below,
    }
    assert {key: view[key] for key in expected} == expected
    assert here.get("/workspaces/work").json() == view
    assert here.get("/workspaces").json() == {"items": [view], "next": None}


def test_sizes_are_those_of_blobs(work: Api) -> None:
    layer = put(work, "/", tar_of(file("new", b"new"))).json()
    view = work.get("/workspaces/work").json()
    assert view["layers"] == [layer]
    assert view["size_rw"] == layer["size"]
    assert view["size_root_fs"] - view["size_rw"] == sum(x.size for x in BASE.manifest.layers)
    again = put(work, "/", tar_of(file("new", b"new"))).json()
    assert work.get("/workspaces/work").json()["layers"] == [layer, again]


def test_one_without_an_image_is_empty(here: Api) -> None:
    view = made(here, "scratch")
    assert (view["reference"], view["base"], view["image_id"]) == (None, None, None)
    assert view["size_root_fs"] == 0
    listed = here.get("/workspaces/scratch/files", params={"path": "/", "list": True}).json()
    assert [one["path"] for one in listed["items"]] == ["/"]


def test_it_becomes_busy_and_idle(work: Api) -> None:
    for busy in (True, False):
        answer = work.http.patch(f"{PREFIX}/workspaces/work", json={"busy": busy})
        assert (answer.status_code, answer.json()["busy"]) == (200, busy)


def test_a_dropped_one_is_gone(work: Api) -> None:
    assert work.http.delete(f"{PREFIX}/workspaces/work").status_code == 204
    assert work.get("/workspaces").json()["items"] == []
    assert work.http.delete(f"{PREFIX}/workspaces/work").status_code == 404


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"name": "work"}, (409, "conflict", "store")),
        ({"name": "other", "reference": "nothing:1"}, (404, "not-found", "store")),
        (
            {"name": "other", "reference": "app:1", "platform": "linux/s390x"},
            (404, "other-platform", "store"),
        ),
        ({"name": "../x"}, (422, "invalid-spec", "request")),
        ({"name": ""}, (422, "invalid-spec", "request")),
        ({"name": "other", "odd": 1}, (422, "invalid-spec", "request")),
        ({"name": "other", "reference": "Bad:1"}, (400, "invalid-reference", "request")),
    ],
    ids=str,
)
def test_a_workspace_is_refused(
    work: Api, body: dict[str, Any], expected: tuple[int, str, str]
) -> None:
    answer = work.post("/workspaces", json=body)
    assert problem(answer)[0::2] == expected[0::2], answer.text
    assert len(work.get("/workspaces").json()["items"]) == 1


# --- files ---------------------------------------------------------------------------------------


def test_files_are_put_and_taken_out(work: Api) -> None:
    answer = put(work, "/etc", tar_of(folder("sub"), file("sub/new", b"new")))
    assert answer.status_code == 201, answer.text
    taken = work.get("/workspaces/work/files", params={"path": "/etc/sub"})
    assert taken.headers["content-type"] == "application/x-tar"
    found = entries_of(taken.content)
    assert {name: content for name, (_, content) in found.items()} == {
        "sub/": b"",
        "sub/new": b"new",
    }


def test_a_large_body_is_taken_as_it_comes(work: Api) -> None:
    """Larger than what any request may have otherwise, of unknown length, and compressed."""
    content = bytes(range(256)) * 40_000
    body = gzip.compress(tar_of(file("large", content)), 0)
    pieces = (body[start : start + 70_000] for start in range(0, len(body), 70_000))
    assert put(work, "/", pieces).status_code == 201
    taken = work.get("/workspaces/work/files", params={"path": "large"})
    assert entries_of(taken.content)["large"][1] == content


def test_what_is_there_is_listed(work: Api) -> None:
    put(work, "/", tar_of(file("etc/n\udcff", b"odd", mtime=2**40)))
    page = work.get("/workspaces/work/files", params={"path": "/etc", "list": "true"}).json()
    by_path = {one["path"]: one for one in page["items"]}
    assert list(by_path) == ["/etc", "/etc/gone", "/etc/kept", "/etc/link", "/etc/n\ufffd"]
    assert by_path["/etc/kept"] == {
        "path": "/etc/kept",
        "kind": "file",
        "mode": 0o600,
        "uid": 3,
        "gid": 4,
        "size": 4,
        "mtime": "2023-11-14T22:13:20Z",
        "link": "",
    }
    assert (by_path["/etc/link"]["kind"], by_path["/etc/link"]["link"]) == ("symlink", "kept")
    assert by_path["/etc/n\ufffd"]["mtime"] == "9999-12-31T23:59:59Z"


def test_paths_are_removed(work: Api) -> None:
    assert remove(work, "/etc/gone").status_code == 204
    assert work.get("/workspaces/work/files", params={"path": "/etc/gone"}).status_code == 404
    assert remove(work, "/etc/gone").status_code == 404


def test_changes_are_listed_in_dockers_words(work: Api) -> None:
    assert work.get("/workspaces/work/diff").json() == {"items": [], "next": None}
    put(work, "/", tar_of(file("etc/kept", b"other"), file("new/file", b"new")))
    remove(work, "/etc/gone")
    assert work.get("/workspaces/work/diff").json()["items"] == [
        {"path": "/etc", "kind": "modified"},
        {"path": "/etc/gone", "kind": "deleted"},
        {"path": "/etc/kept", "kind": "modified"},
        {"path": "/new", "kind": "added"},
        {"path": "/new/file", "kind": "added"},
    ]


def test_changes_are_had_as_a_layer(work: Api) -> None:
    put(work, "/", tar_of(file("etc/kept", b"other")))
    remove(work, "/etc/gone")
    answer = work.get("/workspaces/work/diff", headers=TAR)
    assert answer.headers["content-type"] == "application/x-tar"
    assert sorted(entries_of(answer.content)) == ["etc/", "etc/.wh.gone", "etc/kept"]


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/", b"nonsense" * 100, (400, "invalid-archive", "request")),
        ("/", tar_of(file("../x")), (400, "invalid-archive", "request")),
        ("/", tar_of(file(".wh.x")), (400, "invalid-archive", "request")),
        ("/nowhere", tar_of(file("x")), (404, "not-found", "request")),
        ("/etc/kept", tar_of(file("x")), (400, "invalid-request", "request")),
        ("../..", tar_of(file("x")), (400, "invalid-request", "request")),
    ],
    ids=["no tar", "leads out", "a whiteout", "nowhere", "no directory", "path leads out"],
)
def test_what_cannot_be_put_is_refused(
    work: Api, path: str, body: bytes, expected: tuple[int, str, str]
) -> None:
    assert problem(put(work, path, body)) == expected
    assert work.get("/workspaces/work").json()["layers"] == []
    assert list((work.home / "ingests").iterdir()) == []


@pytest.mark.parametrize("path", ["/nowhere", "/etc/kept/below"])
def test_what_is_not_there_cannot_be_taken(work: Api, path: str) -> None:
    answer = work.get("/workspaces/work/files", params={"path": path})
    assert problem(answer)[:2] == (404, "not-found")


def test_a_path_is_needed_and_has_to_stay_within(work: Api) -> None:
    assert work.get("/workspaces/work/files").status_code == 422
    answer = work.get("/workspaces/work/files", params={"path": "/../.."})
    assert problem(answer) == (400, "invalid-request", "request")


def test_of_one_that_is_not_there_nothing_can_be_asked(here: Api) -> None:
    at = "/workspaces/none"
    answers = [
        here.get(at),
        here.get(f"{at}/diff"),
        here.get(f"{at}/files", params={"path": "/"}),
        put(here, "/", tar_of(file("x")), name="none"),
        here.http.delete(f"{PREFIX}{at}/files", params={"path": "/x"}),
        here.http.patch(f"{PREFIX}{at}", json={"busy": True}),
        here.post(f"{at}/commit", json={}),
    ]
    assert {problem(answer)[:2] for answer in answers} == {(404, "not-found")}


def test_a_body_that_is_cut_leaves_nothing(work: Api) -> None:
    tar = tar_of(file("large", bytes(3_000_000)))
    request = (
        f"PUT {PREFIX}/workspaces/work/files?path=/ HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Length: {len(tar)}\r\n\r\n"
    )
    ingests = work.home / "ingests"
    with work.connect(20) as connection:
        connection.sendall(request.encode() + tar[:1_000_000])
        wait_until(lambda: list(ingests.iterdir()), 20, "a draft")
    wait_until(lambda: not list(ingests.iterdir()), 20, "the draft to go")
    assert work.get("/workspaces/work").json()["layers"] == []


def test_bodies_that_are_slow_do_not_keep_others_waiting(work: Api) -> None:
    """More of them than the server has threads for requests."""
    go_on = threading.Event()

    def slow() -> Iterator[bytes]:
        yield tar_of(file("slow", b"x"))[:600]
        go_on.wait(30)
        yield tar_of(file("slow", b"x"))[600:]

    threads = [
        threading.Thread(target=lambda: answers.append(put(work, "/", slow()).status_code))
        for _ in range(50)
    ]
    answers: list[int] = []
    for thread in threads:
        thread.start()
    assert work.get("/workspaces/work", timeout=10).status_code == 200
    go_on.set()
    for thread in threads:
        thread.join()
    assert answers == [201] * 50
    assert len(work.get("/workspaces/work").json()["layers"]) == 50


# --- what it becomes, and what it stands on ------------------------------------------------------


@pytest.mark.parametrize("pull", ["missing", "always"])
def test_to_pull_the_image_below_takes_a_job(here: Api, pull: str) -> None:
    body = {"name": "other", "reference": "app:1", "pull": pull}
    answer = here.post("/workspaces", json=body, headers={"Idempotency-Key": pull})
    job = answer.json()
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"] == f"{PREFIX}/jobs/{job['id']}"
    assert (job["kind"], job["spec"]["pull"], job["spec"]["workspace"]) == (
        "workspace",
        pull,
        "other",
    )
    assert here.get("/workspaces/other").status_code == 404
    again = here.post("/workspaces", json=body, headers={"Idempotency-Key": pull})
    assert again.json()["id"] == job["id"]


def test_an_empty_workspace_needs_no_job(here: Api) -> None:
    answer = here.post("/workspaces", json={"name": "empty", "pull": "always"})
    assert (answer.status_code, answer.json()["base"]) == (201, None)


def test_an_id_cannot_be_pulled(here: Api) -> None:
    body = {"name": "other", "reference": id_of(BASE), "pull": "always"}
    answer = here.post("/workspaces", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "reference")


def test_a_commit_is_a_job(work: Api) -> None:
    body = {"reference": "new:1", "author": "Ann", "changes": ["CMD x"], "message": None}
    answer = work.post("/workspaces/work/commit", json=body, headers={"Idempotency-Key": "k"})
    job = answer.json()
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"] == f"{PREFIX}/jobs/{job['id']}"
    assert (job["kind"], job["label"]) == ("commit", "work -> docker.io/library/new:1")
    assert {key: job["spec"][key] for key in ("workspace", "author", "changes")} == {
        "workspace": "work",
        "author": "Ann",
        "changes": ["CMD x"],
    }
    with work.catalog.read() as connection:
        queue = connection.execute(
            select(job_rows.c.queue).where(job_rows.c.id == job["id"])
        ).scalar_one()
    assert queue == "local"
    again = work.post("/workspaces/work/commit", json=body, headers={"Idempotency-Key": "k"})
    assert again.json()["id"] == job["id"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"changes": ["RUN x"]}, "changes"),
        ({"reference": "New:1"}, "reference"),
        ({"reference": f"new@sha256:{64 * '0'}"}, "reference"),
        ({"config": {"Cmd": "x"}}, "config"),
        ({"container_config": {"Env": "x"}}, "container_config"),
        ({"odd": 1}, "odd"),
    ],
    ids=str,
)
def test_a_commit_that_cannot_be_names_the_field(
    work: Api, body: dict[str, Any], field: str
) -> None:
    answer = work.post("/workspaces/work/commit", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == field


def test_an_idle_workspace_keeps_its_image_but_from_force(work: Api) -> None:
    assert problem(work.http.delete(f"{PREFIX}/images/app:1"))[:2] == (409, "conflict")
    assert problem(work.http.delete(f"{PREFIX}/images/{id_of(BASE)}"))[:2] == (409, "conflict")
    gone = work.http.delete(f"{PREFIX}/images/{id_of(BASE)}", params={"force": True})
    assert gone.json() == [{"untagged": "app:1"}, {"deleted": id_of(BASE)}]
    assert work.get("/workspaces/work").json()["image_id"] == id_of(BASE)
    taken = work.get("/workspaces/work/files", params={"path": "/etc/kept"})
    assert entries_of(taken.content)["kept"][1] == b"kept"


def test_a_busy_one_keeps_it_from_force_too(work: Api) -> None:
    work.http.patch(f"{PREFIX}/workspaces/work", json={"busy": True})
    at = f"{PREFIX}/images/{id_of(BASE)}"
    assert problem(work.http.delete(at, params={"force": True}))[:2] == (409, "conflict")
    work.http.delete(f"{PREFIX}/workspaces/work")
    assert work.http.delete(at).status_code == 200


def test_the_list_of_images_counts_them(work: Api) -> None:
    made(work, "other", reference="app:1")
    (image,) = work.get("/images").json()["items"]
    assert image["containers"] == 2


def test_who_may_only_read_may_change_nothing(work: Api) -> None:
    reading = {"Authorization": f"Bearer {work.token('read')}"}
    building = {"Authorization": f"Bearer {work.token('submit')}"}
    try:
        body = {"name": "other"}
        assert work.get("/workspaces", headers=reading).status_code == 200
        for answer in (
            work.post("/workspaces", json=body, headers=reading),
            work.post("/workspaces/work/commit", json={}, headers=reading),
            work.http.delete(f"{PREFIX}/workspaces/work", headers=reading),
            work.http.put(
                f"{PREFIX}/workspaces/work/files",
                params={"path": "/"},
                content=tar_of(file("x")),
                headers=reading,
            ),
        ):
            assert problem(answer)[:2] == (403, "forbidden")
        assert work.post("/workspaces", json=body, headers=building).status_code == 201
    finally:
        with work.catalog.write() as connection:
            connection.execute(delete(tokens))
        wait_until(lambda: work.get("/workspaces").status_code == 200, 10, "tokens to be gone")
