"""Archives in and out by the command line, beside skopeo and umoci; and whoever is killed."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.contract.catalog.prepared import prepared_sqlite
from tests.oracle.transship import TransshipSubject
from tests.support.images import big_image, build_image, push_to_registry
from tests.support.processes import ChildProcess, wait_until
from tests.support.registries import RegistryProcess
from tests.support.server import TRANSSHIP, Server, bearer, environment, remote, run
from tests.support.up import Up, bare_environment
from tests.unit.store.archives.archives import docker_files, tar
from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.content import references
from transship.store.catalog.scheduling import jobs

Start = Callable[..., Server]
needs_skopeo = pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")

IMAGE = build_image("archives", layers=3, media="docker")
ID = str(IMAGE.manifest.config.digest)


@pytest.fixture
def alone(tmp_path: Path) -> dict[str, str]:
    """A machine with a home and no server: each command brings its own."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    prepared_sqlite(home)
    return environment(home)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TransshipSubject]:
    directory = tmp_path_factory.mktemp("archives")
    with (
        Up(directory, environ=bare_environment(directory)) as up,
        TransshipSubject(up.url, up.home) as subject,
    ):
        yield subject


@pytest.fixture
def environ(server: TransshipSubject, tmp_path: Path) -> Iterator[dict[str, str]]:
    """A machine that uses a server, which holds nothing."""
    yield remote(tmp_path / "client" / "home", server.url, server.home)
    server.wipe()


def ok(*arguments: str, environ: dict[str, str]) -> str:
    """Run `transship`, which succeeds, and return what it wrote."""
    done = run(*arguments, environ=environ)
    assert done.returncode == 0, done.stderr
    return done.stdout


def skopeo(*arguments: str) -> str:
    done = subprocess.run(
        ["skopeo", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def inspected(name: str, environ: dict[str, str]) -> dict[str, Any]:
    view: dict[str, Any] = json.loads(ok("inspect", name, environ=environ))
    return view


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "archive.tar"
    path.write_bytes(tar(docker_files(IMAGE, tags=("app:1", "localhost:5/web:2"))))
    return path


# --- in and out ----------------------------------------------------------------------------------


def test_an_archive_is_loaded_as_docker_says_it(archive: Path, alone: dict[str, str]) -> None:
    out = ok("load", str(archive), environ=alone)
    assert out == "Loaded image: app:1\nLoaded image: localhost:5/web:2\n"
    assert inspected("app:1", alone)["id"] == ID
    events = ok("events", environ=alone)
    assert "load" in events


def test_standard_input_and_output_are_archives_too(
    archive: Path, tmp_path: Path, alone: dict[str, str]
) -> None:
    with gzip.open(tmp_path / "archive.tar.gz", "wb") as packed:
        packed.write(archive.read_bytes())
    with (tmp_path / "archive.tar.gz").open("rb") as body:
        loaded = subprocess.run(
            [*TRANSSHIP, "load", "--quiet", "-"], stdin=body, env=alone, timeout=60, check=True
        )
    assert loaded.returncode == 0
    saved = subprocess.run(
        [*TRANSSHIP, "save", "app:1"], env=alone, capture_output=True, timeout=60, check=True
    )
    with tarfile.open(fileobj=io.BytesIO(saved.stdout)) as opened:
        assert "manifest.json" in opened.getnames()


def test_what_is_saved_and_loaded_elsewhere_keeps_its_digest(
    archive: Path, tmp_path: Path, environ: dict[str, str]
) -> None:
    ok("load", str(archive), environ=environ)
    elsewhere = environment(tmp_path / "elsewhere" / "home")
    (tmp_path / "elsewhere").mkdir()
    for compress in ("none", "gzip", "zstd"):
        saved = tmp_path / f"saved.{compress}"
        ok("save", "app:1", "-o", str(saved), "--compress", compress, environ=environ)
        assert ok("load", str(saved), environ=elsewhere) == "Loaded image: app:1\n"
    here, there = (inspected("app:1", one) for one in (environ, elsewhere))
    assert (there["id"], there["digest"]) == (ID, here["digest"])


def test_the_same_images_give_the_same_file(
    archive: Path, tmp_path: Path, environ: dict[str, str]
) -> None:
    ok("load", str(archive), environ=environ)
    digests = set()
    for number in range(2):
        saved = tmp_path / f"{number}.tar"
        ok("save", "app:1", "localhost:5/web", "-o", str(saved), environ=environ)
        digests.add(hashlib.sha256(saved.read_bytes()).hexdigest())
    assert len(digests) == 1


@needs_skopeo
@pytest.mark.parametrize("compress", ["gzip", "zstd"])
def test_what_docker_saves_is_pushed_compressed(
    alone: dict[str, str], tmp_path: Path, target: RegistryProcess, compress: str
) -> None:
    """Docker saves plain tars; skopeo reads what is pushed, and finds the same image."""
    files = docker_files(IMAGE, tags=("app:1",))
    plain = {
        path: gzip.decompress(body) if path.endswith("layer.tar") else body
        for path, body in files.items()
    }
    (tmp_path / "saved.tar").write_bytes(tar(plain))
    name = f"{target.host}/team/loaded:{compress}"
    assert run("load", str(tmp_path / "saved.tar"), "-q", environ=alone).returncode == 0
    pushed = run("push", "app:1", name, "--compress", compress, "--json", environ=alone)
    assert pushed.returncode == 0, pushed.stderr
    copied = tmp_path / "copied"
    subprocess.run(
        ["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{name}", f"dir:{copied}"],
        check=True, timeout=60,
    )  # fmt: skip
    manifest = json.loads((copied / "manifest.json").read_bytes())
    assert manifest["config"]["digest"] == ID
    assert [one["mediaType"].rpartition("tar")[2][1:] for one in manifest["layers"]] == [
        compress
    ] * 3
    digest = hashlib.sha256((copied / "manifest.json").read_bytes()).hexdigest()
    assert json.loads(pushed.stdout)["result"]["digest"] == f"sha256:{digest}"
    back = run("pull", name, "--json", environ=alone)
    assert json.loads(back.stdout)["result"]["image_id"] == ID


@needs_skopeo
@pytest.mark.parametrize("format_", ["docker", "oci"])
def test_skopeo_reads_what_is_saved(
    archive: Path, tmp_path: Path, environ: dict[str, str], format_: str
) -> None:
    ok("load", str(archive), environ=environ)
    saved = tmp_path / "saved.tar"
    ok("save", "app:1", "-o", str(saved), "--format", format_, environ=environ)
    transport = "docker-archive" if format_ == "docker" else "oci-archive"
    raw = skopeo("inspect", "--config", "--raw", f"{transport}:{saved}")
    assert f"sha256:{hashlib.sha256(raw.encode()).hexdigest()}" == ID


@needs_skopeo
@pytest.mark.parametrize("transport", ["docker-archive", "oci-archive"])
def test_what_skopeo_writes_is_loaded(
    source: RegistryProcess, tmp_path: Path, environ: dict[str, str], transport: str
) -> None:
    push_to_registry(source.url, "team/app", "1", IMAGE)
    written = tmp_path / "written.tar"
    name = f"{source.host}/team/app:1"
    skopeo("copy", "--src-tls-verify=false", f"docker://{name}", f"{transport}:{written}:{name}")
    assert ok("load", str(written), environ=environ) == f"Loaded image: {name}\n"
    config = inspected(name, environ)["config"]
    assert config["Labels"]["org.example.seed"] == "archives"


def test_an_image_of_forty_layers_makes_the_round(tmp_path: Path, environ: dict[str, str]) -> None:
    many = build_image("many", layers=40, layer_bytes=3000, media="docker")
    first, second = tmp_path / "first.tar", tmp_path / "second.tar"
    first.write_bytes(tar(docker_files(many, tags=("many:1",))))
    ok("load", str(first), environ=environ)
    ok("save", "many:1", "-o", str(second), environ=environ)
    ok("rm", "many:1", environ=environ)
    ok("load", str(second), environ=environ)
    assert inspected("many:1", environ)["id"] == str(many.manifest.config.digest)


def test_a_file_system_is_imported(tmp_path: Path, environ: dict[str, str]) -> None:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "a").write_text("a\n")
    packed = tmp_path / "root.tar.gz"
    with tarfile.open(packed, "w:gz") as opened:
        opened.add(root, ".")
    arguments = ("import", str(packed), "fs:1", "-c", "ENV A='1 2'", "-c", "CMD ls", "-m", "mine")
    id_ = ok(*arguments, environ=environ).strip()
    view = inspected("fs:1", environ)
    assert view["id"] == id_
    assert view["config"] == {"Env": ["A=1 2"], "Cmd": ["/bin/sh", "-c", "ls"]}
    assert view["comment"] == "mine"
    saved = tmp_path / "saved.tar"
    ok("save", "fs:1", "-o", str(saved), environ=environ)
    assert set(files_of(saved)) >= {"etc", "etc/a"}


def files_of(archive: Path) -> list[str]:
    """The names in the layers of a saved image."""
    names: list[str] = []
    with tarfile.open(archive) as opened:
        (entry,) = json.loads(opened.extractfile("manifest.json").read())  # type: ignore[union-attr]
        for path in entry["Layers"]:
            with tarfile.open(fileobj=opened.extractfile(path)) as layer:
                names += [name.removeprefix("./") for name in layer.getnames()]
    return names


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("load", "nowhere.tar"), 2, "No such file"),
        (("load", __file__), 1, "in the request"),
        (("import", __file__, "fs:1"), 1, "in the request"),
        (("import", __file__, "fs:1", "-c", "RUN x"), 2, "changes"),
        (("import", __file__, "App"), 2, "lower case"),
        (("save", "nothing", "-o", "out.tar"), 1, "No such image: nothing:latest"),
        (("squash", "nothing", "-t", "x"), 1, "No such image: nothing:latest"),
        (("squash", "a", "-t", "b", "--parent", "c", "--last", "1"), 2, "not both"),
    ],
)
def test_what_cannot_be_done_is_said(
    tmp_path: Path, environ: dict[str, str], arguments: tuple[str, ...], status: int, said: str
) -> None:
    given = [str(tmp_path / "out.tar") if one == "out.tar" else one for one in arguments]
    done = run(*given, environ=environ)
    assert (done.returncode, said in done.stderr) == (status, True), done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.tar").exists()


# --- the killed ----------------------------------------------------------------------------------


@pytest.fixture
def frail(start_server: Start) -> Server:
    """A server whose leases run out soon."""
    return start_server(
        workers=2, TRANSSHIP_LEASE_SECONDS="2", TRANSSHIP_ALLOW_PRIVATE="127.0.0.1,localhost"
    )


def drafts(server: Server) -> list[str]:
    return [path.name for path in (server.home / "ingests").iterdir()]


def row_of(server: Server, job: str) -> Any:
    with server.catalog.read() as connection:
        return jobs.get(connection, job)


def named(server: Server) -> set[str]:
    with server.catalog.read() as connection:
        return {row.name for row in references.listed(connection, HOUSE)}


def test_an_api_that_dies_in_the_middle_of_a_body_leaves_nothing_behind(
    frail: Server, archive: Path
) -> None:
    body = archive.read_bytes()
    with socket.create_connection(("127.0.0.1", frail.port), timeout=20) as connection:
        head = f"POST /api/v1/loads HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        head += f"Authorization: {bearer(frail.home)['Authorization']}\r\n"
        connection.sendall(f"{head}\r\n".encode() + body[: len(body) // 2])
        wait_until(lambda: drafts(frail), 20, "a blob to be on its way")
        job = frail.client.jobs(limit=1)["items"][0]["id"]
        frail.api.kill()
    wait_until(lambda: row_of(frail, job).state == "failed", 30, "the job to have failed")
    error = row_of(frail, job).error
    assert (error["code"], error["side"]) == ("body-incomplete", "request")
    assert drafts(frail) == []
    assert named(frail) == set()


def test_a_squash_outlives_its_worker(frail: Server, tmp_path: Path) -> None:
    big = big_image(tmp_path / "layers", 300_000_000, 3)
    path = tmp_path / "big.tar"
    path.write_bytes(tar(docker_files(big, tags=("big:1",))))
    environ = remote(tmp_path / "client" / "home", frail.url, frail.home)
    (tmp_path / "client").mkdir()
    ok("load", str(path), environ=environ)
    spec = {"kind": "squash", "reference": "big:1", "source_date_epoch": 1}
    job = frail.submit(**spec, target="sq:1")
    wait_until(lambda: drafts(frail), 30, "a layer to be on its way")
    frail.worker_of(row_of(frail, job).owner).kill()
    assert drafts(frail) != []
    done = frail.client.wait(job)
    assert done["state"] == "succeeded", done["error"]
    assert "worker-died" in [event["type"] for event in frail.client.log(job)["items"]]
    assert drafts(frail) == []
    undisturbed = frail.client.wait(frail.submit(**spec, target="sq:2"))
    assert undisturbed["result"]["digest"] == done["result"]["digest"]


class SlowSite:
    """Serves a tar, of which the second half comes only when it is let go."""

    def __init__(self) -> None:
        root = tar({"filler": bytes(300_000), "noise": os.urandom(3_000_000)})
        self.let_go = let_go = threading.Event()

        class Pages(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(root)))
                self.end_headers()
                self.wfile.write(root[: len(root) // 2])
                let_go.wait(60)
                with contextlib.suppress(OSError):  # whoever asked may be dead
                    self.wfile.write(root[len(root) // 2 :])

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
        self.url = f"http://127.0.0.1:{self.server.server_port}/root.tar"


@pytest.fixture
def slow_site() -> Iterator[SlowSite]:
    site = SlowSite()
    thread = threading.Thread(target=site.server.serve_forever, args=(0.01,))
    thread.start()
    yield site
    site.let_go.set()
    site.server.shutdown()
    site.server.server_close()
    thread.join()


def test_an_import_from_a_url_outlives_its_worker(frail: Server, slow_site: SlowSite) -> None:
    job = frail.submit(kind="import", url=slow_site.url, reference="fs:1")
    wait_until(lambda: drafts(frail), 30, "the tar to be on its way")
    frail.worker_of(row_of(frail, job).owner).kill()
    slow_site.let_go.set()
    done = frail.client.wait(job)
    assert done["state"] == "succeeded", done["error"]
    assert drafts(frail) == []
    assert named(frail) == {"docker.io/library/fs:1"}


def test_a_download_that_breaks_off_leaves_no_file(
    frail: Server, archive: Path, tmp_path: Path
) -> None:
    environ = remote(tmp_path / "client" / "home", frail.url, frail.home)
    (tmp_path / "client").mkdir()
    big = big_image(tmp_path / "layers", 200_000_000, 2)
    path = tmp_path / "big.tar"
    path.write_bytes(tar(docker_files(big, tags=("big:1",))))
    ok("load", str(path), environ=environ)
    out = tmp_path / "out"
    out.mkdir()
    with ChildProcess(
        [*TRANSSHIP, "save", "big:1", "-o", str(out / "saved.tar")],
        directory=tmp_path,
        name="save",
        environ=environ,
    ) as saving:
        wait_until(lambda: [p for p in out.iterdir() if p.stat().st_size], 30, "the first bytes")
        frail.api.send(signal.SIGSTOP)
        assert not (out / "saved.tar").exists()
        frail.api.kill()
        assert saving.wait(30) != 0
        assert "Traceback" not in saving.log
    assert list(out.iterdir()) == []
