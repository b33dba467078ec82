"""Bodies in and archives out, over a real connection; no worker takes up what is accepted."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contract.catalog.shelves import ImageFixtures, id_of, small
from tests.support.processes import wait_until
from tests.support.tars import file, tar_of
from tests.unit.api.serving import PREFIX, Api
from tests.unit.store.archives.archives import docker_files, read, tar
from transship.store.catalog.content import collection
from transship.store.catalog.scheduling import exports, jobs
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.layers.codecs.formats import open_reader
from transship.workers.handlers import export, load
from transship.workers.runtime.leases import LeaseMonitor
from transship.workers.specs import ImportSpec, parse_spec

APP = small("routes")
ARCHIVE = tar(docker_files(APP))
LARGE = tar_of(file("filler", bytes(12_000_000)), file("random", bytes(range(256)) * 10_000))


def job_row(api: Api, job: str) -> Any:
    with api.catalog.read() as connection:
        row = jobs.get(connection, job)
    assert row is not None
    return row


def newest(api: Api) -> dict[str, Any]:
    items = api.get("/jobs?limit=1").json()["items"]
    return dict(items[0]) if items else {"id": None, "state": None}


def chunked(body: bytes, size: int = 5000) -> Iterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


@pytest.mark.parametrize("content", [ARCHIVE, chunked(ARCHIVE)], ids=["with a length", "chunked"])
def test_a_body_that_has_arrived_is_a_job_that_is_due(api: Api, content: Any) -> None:
    answer = api.post("/loads", content=content)
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["Location"] == f"{PREFIX}/jobs/{job['id']}"
    assert (job["kind"], job["requested_by"]) == ("load", "local")
    assert job["progress"]["bytes_total"] == job["progress"]["bytes_done"] == len(ARCHIVE)
    row = job_row(api, job["id"])
    assert (row.owner, row.due) == (None, True)
    assert "manifest.json" in row.checkpoint["received"]["files"]


def test_a_long_body_arrives_whole(api: Api) -> None:
    answer = api.post("/imports", content=chunked(LARGE, 70_000), params={"reference": "app:1"})
    assert answer.status_code == 202, answer.text
    received = job_row(api, answer.json()["id"]).checkpoint["received"]
    assert received["diff_size"] == len(LARGE)


def test_parameters_make_the_spec(api: Api) -> None:
    params = {
        "reference": "app:1", "change": ["CMD a", "ENV B=1"], "message": "said",
        "platform": "linux/arm64", "source_date_epoch": "5", "priority": "7", "deadline": "60",
    }  # fmt: skip
    spec = api.post("/imports", content=tar_of(), params=params).json()["spec"]
    assert spec == {
        "kind": "import", "url": None, "reference": "app:1", "changes": ["CMD a", "ENV B=1"],
        "message": "said", "platform": "linux/arm64", "source_date_epoch": 5, "priority": 7,
        "deadline": 60.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "params", "field"),
    [
        ("/imports", {"change": "RUN x"}, "changes"),
        ("/imports", {"reference": "App"}, "reference"),
        ("/imports", {"reference": f"app@{APP.digest}"}, "reference"),
        ("/imports", {"platform": "windows/amd64"}, "platform"),
        ("/imports", {"priority": "1000"}, "priority"),
        ("/loads", {"repository": "app:1"}, "repository"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_before_a_byte_is_read(
    api: Api, path: str, params: dict[str, str], field: str
) -> None:
    before = newest(api)
    answer = api.post(path, params=params, content=LARGE)
    assert answer.status_code == 422, answer.text
    assert [one["field"] for one in answer.json()["errors"]] == [field]
    assert newest(api) == before


def test_a_body_that_cannot_be_read_is_a_problem_and_leads_to_its_job(api: Api) -> None:
    answer = api.post("/loads", content=b"no tar at all" * 1000)
    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid-archive"
    assert answer.json()["side"] == "request"
    job = api.http.get(answer.headers["Location"]).json()
    assert (job["state"], job["error"]["code"]) == ("failed", "invalid-archive")


def test_a_wrong_body_need_not_be_sent_to_its_end(api: Api) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while True:
            yield b"no tar at all" * 5000
            sent += 65_000
            assert sent < 100_000_000

    try:
        answer = api.post("/imports", content=endless())
    except httpx.TransportError:
        pass  # the answer may get lost where the connection is cut while something is sent
    else:
        assert answer.status_code == 400
    wait_until(lambda: newest(api)["state"] == "failed", 10, "the job to have failed")


def _cut(api: Api, head: str, body: bytes) -> None:
    """Send half of what was announced, and go away."""
    with api.connect(10) as connection:
        connection.sendall(f"{head}\r\nHost: localhost\r\n".encode() + body)
        wait_until(lambda: newest(api)["state"] == "running", 10, "the job to be there")


@pytest.mark.parametrize(
    ("how", "body"),
    [
        (f"Content-Length: {len(ARCHIVE)}", ARCHIVE[:5000]),
        ("Transfer-Encoding: chunked", b"1388\r\n" + ARCHIVE[:5000] + b"\r\n"),
    ],
    ids=["with a length", "chunked"],
)
def test_a_client_that_goes_away_fails_its_job(api: Api, how: str, body: bytes) -> None:
    _cut(api, f"POST {PREFIX}/loads HTTP/1.1\r\n{how}", b"\r\n" + body)
    wait_until(lambda: newest(api)["state"] == "failed", 10, "the job to have failed")
    job = newest(api)
    assert (job["error"]["code"], job["error"]["side"]) == ("body-incomplete", "request")
    assert list((api.home / "ingests").iterdir()) == []


def test_a_job_can_be_cancelled_while_its_client_is_silent(api: Api) -> None:
    with api.connect(20) as connection:
        head = f"POST {PREFIX}/loads HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
        connection.sendall(head.encode() + ARCHIVE[:1000])
        wait_until(lambda: newest(api)["state"] == "running", 10, "the job to be there")
        job = newest(api)["id"]
        api.post(f"/jobs/{job}/cancel")
        assert b"409" in connection.recv(65536).split(b"\r\n")[0]
    assert api.get(f"/jobs/{job}").json()["state"] == "cancelled"


def test_the_same_key_gives_the_same_job(api: Api) -> None:
    first, second = (
        api.post("/loads", content=ARCHIVE, headers={"Idempotency-Key": "loads once"})
        for _ in range(2)
    )
    assert first.status_code == second.status_code == 202
    assert first.json()["id"] == second.json()["id"]


def test_a_store_that_is_short_of_space_takes_nothing(api: Api) -> None:
    def short(yes: bool) -> None:
        with api.catalog.write() as connection:
            collection.note_space(connection, short=yes)

    short(True)
    try:
        answer = api.post("/loads", content=ARCHIVE)
    finally:
        short(False)
    assert (answer.status_code, answer.json()["code"]) == (503, "disk-full")
    assert "Location" not in answer.headers


@pytest.mark.parametrize("kind", ["load", "import"])
def test_a_job_that_needs_a_body_cannot_be_asked_for_without(api: Api, kind: str) -> None:
    answer = api.post("/jobs", json={"kind": kind})
    assert answer.status_code == 422
    assert "POST /" in answer.json()["detail"]


def test_many_bodies_at_a_time_wait_for_each_other(api: Api) -> None:
    answers: list[int] = []

    def send() -> None:
        answers.append(api.post("/loads", content=chunked(ARCHIVE, 999)).status_code)

    threads = [threading.Thread(target=send) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [202] * 20


def test_a_server_that_stops_fails_what_is_on_its_way(tmp_path: Path) -> None:
    head = f"POST {PREFIX}/loads HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
    with Api(tmp_path) as api, api.connect(20) as connection:
        connection.sendall(head.encode() + ARCHIVE[:1000])
        wait_until(lambda: newest(api)["state"] == "running", 10, "the job to be there")
        job = newest(api)["id"]
        api.server.stop()
        row = job_row(api, job)
        assert (row.state, row.error["code"]) == ("failed", "body-incomplete")


# --- out -----------------------------------------------------------------------------------------


def _exported(api: Api, *references: str, **spec: Any) -> str:
    """Make an export, and do its job."""
    ImageFixtures(api.catalog, api.context.content).hold(APP, "docker.io/library/routes:1")
    wanted = {"kind": "export", "references": references or ("routes:1",), **spec}
    job: str = api.post("/jobs", json=wanted).json()["id"]
    lease = _taken(api, job)
    done = export.advance(lease, api.context, _never_stopped(lease))
    with api.catalog.write() as connection:
        end = jobs.End(lease, "succeeded", done.result)  # type: ignore[union-attr]
        jobs.finish(connection, [end], api.context.now())
    return job


def _taken(api: Api, job: str) -> JobLease:
    with api.catalog.write() as connection:
        lease = jobs.claim(connection, job, "a test", api.context.now())
    assert lease is not None
    return lease


def _never_stopped(lease: JobLease) -> LeaseMonitor:
    return LeaseMonitor(lease, threading.Event())


@pytest.mark.parametrize(
    ("compress", "type_"),
    [("none", "application/x-tar"), ("gzip", "application/gzip"), ("zstd", "application/zstd")],
)
def test_an_export_is_downloaded_as_an_archive(api: Api, compress: str, type_: str) -> None:
    job = _exported(api)
    answer = api.get(f"/exports/{job}", params={"compress": compress})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == type_
    assert job in answer.headers["Content-Disposition"]
    with open_reader(io.BytesIO(answer.content)) as reader:
        assert reader.compression == compress
    (image,) = read(answer.content).images
    assert str(image.image_id) == id_of(APP)


def test_what_was_downloaded_can_be_loaded(api: Api) -> None:
    archive = api.get(f"/exports/{_exported(api)}").content
    job = api.post("/loads", content=archive).json()["id"]
    lease = _taken(api, job)
    done = load.advance(lease, api.context, _never_stopped(lease))
    assert done.result["images"][0]["digest"] == str(APP.digest)  # type: ignore[union-attr]


def test_an_export_that_is_not_ready_not_there_or_gone(api: Api) -> None:
    job = api.post("/jobs", json={"kind": "export", "references": ["routes:1"]}).json()["id"]
    assert api.get(f"/exports/{job}").status_code == 409
    assert api.get("/exports/nothing").status_code == 404
    assert api.get(f"/exports/{api.submit()['id']}").status_code == 404
    ready = _exported(api)
    assert api.get(f"/exports/{ready}", params={"compress": "xz"}).status_code == 422
    with api.catalog.write() as connection:
        exports.extend(connection, ready, api.context.now() - 2 * exports.KEEP_SECONDS)
    gone = api.get(f"/exports/{ready}")
    assert (gone.status_code, gone.json()["code"]) == (410, "gone")


def test_a_download_keeps_the_export_for_longer(api: Api) -> None:
    job = _exported(api)
    with api.catalog.write() as connection:
        exports.extend(connection, job, api.context.now() - exports.KEEP_SECONDS + 60)
    before = job_row(api, job).result["expires_at"]
    api.get(f"/exports/{job}")
    assert job_row(api, job).result["expires_at"] > before


def test_a_blob_that_is_wrong_breaks_the_download_off(api: Api) -> None:
    job = _exported(api)
    digest = APP.manifest.layers[0].digest
    path = api.home / "blobs" / "sha256" / digest.hex
    raw = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    try:
        with pytest.raises(httpx.RemoteProtocolError):
            api.get(f"/exports/{job}")
    finally:
        path.write_bytes(raw)


def test_who_stops_downloading_is_not_sent_more(api: Api) -> None:
    job = _exported(api)
    with api.http.stream("GET", f"{PREFIX}/exports/{job}") as answer:
        assert next(answer.iter_raw())
    wait_until(
        lambda: not [t for t in threading.enumerate() if t.name == "answer"],
        10,
        "its thread to end",
    )


def test_the_document_describes_bodies_and_archives(api: Api) -> None:
    document = api.get("/openapi.json").json()
    for path in ("/loads", "/imports"):
        body = document["paths"][PREFIX + path]["post"]["requestBody"]
        assert body["content"].keys() == {"application/x-tar"}
    answers = document["paths"][f"{PREFIX}/exports/{{job}}"]["get"]["responses"]
    assert "application/x-tar" in answers["200"]["content"]
    assert {"404", "409", "410"} <= answers.keys()
    assert json.dumps(document)


def test_a_spec_says_how_its_body_comes() -> None:
    assert parse_spec({"kind": "load"}).body == "POST /loads"
    assert parse_spec({"kind": "import"}).body == "POST /imports"
    assert parse_spec({"kind": "import", "url": "http://x.test/a"}).body is None


def test_a_url_to_import_may_lack_its_scheme_as_with_docker() -> None:
    spec = parse_spec({"kind": "import", "url": "x.test:80/a.tar?b=1"})
    assert isinstance(spec, ImportSpec)
    assert spec.url == "http://x.test:80/a.tar?b=1"
