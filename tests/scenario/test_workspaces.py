"""Workspaces as their users have them: commands against a running server, and sudden deaths."""

from __future__ import annotations

import io
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.images import build_image, push_to_registry
from tests.support.processes import wait_until
from tests.support.server import TRANSSHIP, Server
from tests.support.tars import (
    MTIME,
    entries_of,
    facts_of,
    file,
    folder,
    hardlink,
    needs_umoci,
    symlink,
    tar_of,
    unpack,
)
from tests.support.up import Environment, up_environment
from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.content import workspaces
from transship.store.content.local import LocalStore
from transship.store.layers.compose.find import MergedTree
from transship.store.oci.digest import Digest
from transship.store.workspaces.workspaces import ground

PATIENCE_SECONDS = 40.0

BASE = tar_of(
    folder("etc"),
    file("etc/kept", b"kept\n"),
    file("etc/gone", b"gone\n"),
    folder("opt"),
    folder("opt/app"),
    file("opt/app/old", b"old\n"),
    file("shared", b"shared\n"),
    symlink("lib", "opt/app"),
)
FIRST = tar_of(
    file("etc/kept", b"other\n", mode=0o600, uid=7),
    file("opt/app/new", b"new\n"),
    hardlink("also-shared", "shared"),
)
SECOND = tar_of(file("passing", b"1"), file("etc/app", b"a file\n"), symlink("link", "etc/kept"))


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    with up_environment(tmp_path_factory.mktemp("environment")) as opened:
        yield opened


def run(
    here: Environment, *arguments: str, code: int = 0, stdin: bytes = b"", **environ: str
) -> bytes:
    """What a command prints; it has to end with *code*."""
    done = subprocess.run(
        [*TRANSSHIP, *arguments],
        env={**here.environ, **environ},
        input=stdin,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, b"Traceback" in done.stderr) == (code, False), done.stderr.decode()
    return done.stdout


def lines(here: Environment, *arguments: str) -> list[str]:
    return run(here, *arguments).decode().splitlines()


def test_an_image_is_made_of_files_alone(here: Environment, tmp_path: Path) -> None:
    (tmp_path / "base.tar").write_bytes(BASE)
    assert lines(here, "workspace", "create", "scratch") == ["scratch"]
    run(here, "workspace", "put", "scratch", "/", str(tmp_path / "base.tar"))
    job = json.loads(run(here, "workspace", "commit", "scratch", "made:1", "--json"))
    shown = json.loads(run(here, "inspect", "made:1"))
    assert (shown["id"], shown["parent"]) == (job["result"]["image_id"], "")
    run(here, "workspace", "rm", "scratch")
    assert "scratch" not in run(here, "workspace", "ls").decode()


def based(here: Environment, name: str) -> None:
    """Let there be an image NAME:1 of the base's files, and a workspace NAME over it."""
    client = here.up.client
    client.create_workspace(f"{name}-base")
    client.put_files(f"{name}-base", "/", [BASE])
    here.up.client.wait(here.submit(kind="commit", workspace=f"{name}-base", reference=f"{name}:1"))
    client.remove_workspace(f"{name}-base")
    client.create_workspace(name, f"{name}:1")


def test_files_are_put_looked_at_and_committed(here: Environment, tmp_path: Path) -> None:
    based(here, "story")
    run(here, "workspace", "put", "story", "/", "-", stdin=FIRST)
    run(here, "workspace", "put", "story", "lib", "-", stdin=tar_of(file("below", b"x")))
    run(here, "workspace", "rm", "story", "/etc/gone")
    assert lines(here, "workspace", "diff", "story") == [
        "A /also-shared",
        "C /etc",
        "D /etc/gone",
        "C /etc/kept",
        "C /opt",
        "C /opt/app",
        "A /opt/app/below",
        "A /opt/app/new",
        "C /shared",
    ]
    assert entries_of(run(here, "workspace", "get", "story", "/etc"))["etc/kept"][1] == b"other\n"
    run(here, "workspace", "get", "story", "/opt/app", "-o", str(tmp_path / "app.tar"))
    assert "app/below" in entries_of((tmp_path / "app.tar").read_bytes())
    listed = lines(here, "workspace", "ls", "story", "/etc")
    assert [line.split()[-1] for line in listed[1:]] == ["/etc", "/etc/kept"]
    assert listed[2].split()[:3] == ["-0600", "7:0", "6"]
    (image_id,) = lines(
        here, "workspace", "commit", "story", "new:1",
        "-a", "Ann", "-m", "said", "-c", 'CMD ["/bin/app"]', "-c", "ENV A=1",
    )[-1:]  # fmt: skip
    shown = json.loads(run(here, "inspect", "new:1"))
    assert (shown["id"], shown["author"], shown["comment"]) == (image_id, "Ann", "said")
    assert (shown["config"]["Cmd"], shown["config"]["Env"]) == (["/bin/app"], ["A=1"])
    assert lines(here, "children", "story:1") == [image_id]
    assert len(lines(here, "history", "new:1")) == 3


def test_a_committed_image_is_one_that_others_read(here: Environment) -> None:
    based(here, "pushed")
    run(here, "workspace", "put", "pushed", "/", "-", stdin=FIRST)
    target = f"{here.target.host}/team/pushed:1"
    run(here, "workspace", "commit", "pushed", target, "-q")
    run(here, "push", target, "-q")
    digest = json.loads(run(here, "inspect", target))["digest"]
    done = subprocess.run(
        ["skopeo", "inspect", "--tls-verify=false", f"docker://{target}"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    seen = json.loads(done.stdout)
    assert (seen["Digest"], len(seen["Layers"])) == (digest, 2)


def test_the_image_below_is_pulled_as_asked(here: Environment) -> None:
    """missing, always and never, as of `docker create`; through the API as well."""
    before, after = here.put("below"), build_image("other", layers=2)
    name = f"{here.source.host}/team/below:1"
    bases = []
    assert not run(here, "workspace", "create", "none", name, "--pull", "never", code=1)
    for workspace, pull in (("first", "missing"), ("second", "missing"), ("third", "always")):
        assert lines(here, "workspace", "create", workspace, name, "--pull", pull) == [workspace]
        bases.append(here.up.client.workspace(workspace)["base"])
        if workspace == "first":
            push_to_registry(here.source.url, "team/below", "1", after)
    assert bases == [str(before.digest), str(before.digest), str(after.digest)]
    job = here.up.client.create_workspace("fourth", name, pull="always")
    assert (job["kind"], job["label"]) == ("workspace", f"{name} -> fourth")
    assert here.up.client.wait(job["id"])["result"]["base"] == str(after.digest)


@needs_umoci
def test_the_layer_of_a_commit_makes_the_same_files_as_all_that_was_put(
    here: Environment, tmp_path: Path
) -> None:
    based(here, "umoci")
    run(here, "workspace", "put", "umoci", "/", "-", stdin=FIRST)
    run(here, "workspace", "put", "umoci", "/", "-", stdin=SECOND)
    for path in ("/etc/gone", "/passing", "/opt/app"):
        run(here, "workspace", "rm", "umoci", path)
    run(here, "workspace", "diff", "umoci", "-o", str(tmp_path / "layer.tar"))
    gone = tar_of(file("etc/.wh.gone"), file(".wh.passing"), file("opt/.wh.app"))
    expected = unpack([BASE, FIRST, SECOND, gone], tmp_path / "expected")
    actual = unpack([BASE, (tmp_path / "layer.tar").read_bytes()], tmp_path / "actual")
    assert _without_times_of_directories(actual) == _without_times_of_directories(expected)


def _without_times_of_directories(root: Path) -> dict[str, Any]:
    """What is there; umoci sets the times of directories that a layer changes as it goes."""
    found = facts_of(root)
    return {
        name: facts._replace(mtime=0) if (root / name).is_dir() else facts
        for name, facts in found.items()
    }


def test_with_a_date_commits_are_the_same(here: Environment) -> None:
    based(here, "dated")
    run(here, "workspace", "put", "dated", "/", "-", stdin=FIRST)
    epoch = str(MTIME - 60)
    ids = {
        run(here, "workspace", "commit", "dated", SOURCE_DATE_EPOCH=epoch).splitlines()[-1]
        for _ in range(2)
    }
    assert len(ids) == 1


def test_an_image_under_a_busy_workspace_stays(here: Environment) -> None:
    based(here, "used")
    run(here, "rm", "used:1", code=1)
    run(here, "workspace", "busy", "used")
    image_id = json.loads(run(here, "inspect", "used:1"))["id"]
    run(here, "rm", "-f", image_id, code=1)
    pruned = json.loads(run(here, "prune", "-a", "--json"))
    assert {"deleted": image_id} not in pruned["result"]["deleted"]
    run(here, "workspace", "busy", "used", "--off")
    run(here, "rm", "-f", image_id)
    assert entries_of(run(here, "workspace", "get", "used", "/shared"))["shared"][1] == b"shared\n"


def test_what_cannot_be_is_said_in_a_sentence(here: Environment) -> None:
    run(here, "workspace", "create", "odd/name", code=2)
    run(here, "workspace", "create", "no-image", "nothing:1", code=1)
    run(here, "workspace", "diff", "nothing", code=1)
    run(here, "workspace", "create", "sentence")
    run(here, "workspace", "put", "sentence", "/", "-", code=2, stdin=b"no tar" * 200)
    run(here, "workspace", "get", "sentence", "/nowhere", code=1)
    run(here, "workspace", "commit", "sentence", "-c", "RUN x", code=2)
    run(here, "workspace", "commit", "sentence", SOURCE_DATE_EPOCH="yesterday", code=2)


def test_images_of_configs_and_steps_of_builds(here: Environment, tmp_path: Path) -> None:
    based(here, "built")
    run(here, "workspace", "put", "built", "/", "-", stdin=FIRST)
    step = {"Cmd": ["/bin/sh", "-c", "make"], "Env": ["A=1"]}
    job = here.up.client.submit(
        {"kind": "commit", "workspace": "built", "container_config": step}, credentials={}
    )
    made = here.up.client.wait(job["id"])["result"]["image_id"]
    (tmp_path / "step.json").write_text(json.dumps(step))
    config = ("--config", str(tmp_path / "step.json"))
    assert lines(here, "cache", *config, "--parent", "built:1") == [made]
    run(here, "cache", *config, "--parent", made, code=1)
    raw = here.up.client.inspect(made)["images"][0]["config"]
    (tmp_path / "config.json").write_text(json.dumps({**raw, "author": "Ann"}, indent=1))
    created = lines(here, "create", str(tmp_path / "config.json"), "--parent", "built:1")
    assert created == [str(Digest.of((tmp_path / "config.json").read_bytes()))]
    assert set(created) < set(lines(here, "children", "built:1"))


# --- deaths --------------------------------------------------------------------------------------


def _files(server: Server) -> set[str]:
    return {path.name for path in (server.home / "blobs" / "sha256").iterdir()}


def _drafts(server: Server, holder: str) -> list[Path]:
    return list((server.home / "ingests").glob(f".draft.{holder}.*"))


def test_a_commit_whose_worker_is_killed_ends_and_leaves_nothing_half(
    start_server: Callable[..., Server],
) -> None:
    server = start_server(workers=2, TRANSSHIP_LEASE_SECONDS="4")
    client = server.client
    client.create_workspace("work")
    large = io.BytesIO(tar_of(*(file(f"f{n}", bytes([n]) + bytes(8_000_000)) for n in range(24))))
    client.put_files("work", "/", iter(lambda: large.read(1_000_000), b""))
    before = _files(server)
    job = client.submit(
        {"kind": "commit", "workspace": "work", "reference": "new:1"}, credentials={}
    )["id"]
    wait_until(lambda: _drafts(server, job), 20, "a layer on its way")
    for worker in server.workers:
        worker.kill()
    assert client.job(job)["finished_at"] is None
    assert client.images(None)["items"] == []
    assert _drafts(server, job) != []
    server.workers[:] = []
    server.workers.append(server._start("another", "worker"))
    killed = time.monotonic()
    ended = client.wait(job)
    assert ended["state"] == "succeeded", ended["error"]
    assert time.monotonic() - killed < PATIENCE_SECONDS
    assert _drafts(server, job) == []
    (image,) = client.images(None, all_=True)["items"]
    assert image["id"] == ended["result"]["image_id"]
    details = client.inspect("new:1")
    new = {details["digest"], details["id"], details["manifest"]["layers"][0]["digest"]}
    assert {f"sha256:{name}" for name in _files(server) - before} == new - {
        f"sha256:{name}" for name in before
    }


def test_a_put_whose_server_is_killed_leaves_nothing_in_the_workspace(
    start_server: Callable[..., Server],
) -> None:
    server = start_server(workers=1)
    server.client.create_workspace("work")
    server.client.put_files("work", "/", [tar_of(file("first", b"1"))])

    def endless() -> Iterator[bytes]:
        yield tar_of(file("large", bytes(5_000_000)))[:4_000_000]
        wait_until(lambda: list((server.home / "ingests").glob(".draft.*")), 20, "a draft")
        server.api.kill()
        yield bytes(100_000)

    with pytest.raises(Exception, match="no Transship server"):
        server.client.put_files("work", "/", endless())
    store = LocalStore(server.home)
    with server.catalog.read() as connection:
        left = workspaces.get(connection, HOUSE, "work")
    tree = MergedTree(ground(left.base, left.layers, store).whole(store))
    assert [entry.name for entry in tree.list()] == [".", "first"]
    assert store.discard_old_drafts(time.time() + 1) == 1  # as a collection does after a day
