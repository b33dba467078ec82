"""Homes of the version before open, and finish the jobs that were running when it died.

`tests/data/former` has what schema 0010 left after SIGKILL: an image that was pulled, tagged and
stands under a workspace, an import, a token, two failed pulls, and with no download allowed one
that runs. Their registry is `registry.invalid`, which the name of a real one takes the place of.
"""

from __future__ import annotations

import io
import json
import os
import sqlite3
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tests.support.images import build_image, push_to_registry
from tests.support.postgres import PostgresCluster, require_postgres
from tests.support.redis import RedisProcess
from tests.support.registries import RegistryProcess
from tests.support.server import Server, run

REGISTRY = "registry.invalid"
FORMER = Path(__file__).parents[1] / "data" / "former"
IMAGES = [build_image(f"former {number}", layers=2, layer_bytes=20_000) for number in range(2)]


@pytest.fixture(params=["sqlite", "postgresql"])
def former(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Server, str]]:
    """A server on a former home, whose schema was migrated, and the registry of its jobs."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    archived = (FORMER / f"{request.param}.tar.zst").read_bytes()
    packed = zstandard.ZstdDecompressor().decompress(archived)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(home, filter="tar")
    with ExitStack() as stack:
        registry = stack.enter_context(RegistryProcess(tmp_path / "registry"))
        for number, image in enumerate(IMAGES):
            push_to_registry(registry.url, "app", f"v{number}", image)
        settings = {"TRANSSHIP_HOME": str(home)}
        if request.param == "postgresql":
            settings["TRANSSHIP_DATABASE_URL"] = _restored(home / "dump.sql", registry.host, stack)
        else:
            _replace(home / "catalog.sqlite3", registry.host)
        migrated = run("migrate", environ={"PATH": os.environ["PATH"], **settings})
        assert migrated.returncode == 0, migrated.stderr
        redis = stack.enter_context(RedisProcess(tmp_path / "redis"))
        server = Server(tmp_path, workers=1, redis=redis, **settings)
        yield stack.enter_context(server), registry.host


def _replace(database: Path, host: str) -> None:
    """Write a database anew, with *host* for the registry."""
    with closing(sqlite3.connect(database)) as connection:
        dump = "\n".join(connection.iterdump())
    database.unlink()
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(dump.replace(REGISTRY, host))


def _restored(dump: Path, host: str, stack: ExitStack) -> str:
    dump.write_text(dump.read_text().replace(REGISTRY, host))
    cluster = stack.enter_context(PostgresCluster())
    url = cluster.url(stack.enter_context(cluster.database()))
    psql = require_postgres() / "psql"
    subprocess.run(
        [psql, "--quiet", "--set=ON_ERROR_STOP=1", f"--file={dump}", url],
        check=True,
        capture_output=True,
    )
    return url


def _jobs(server: Server) -> dict[str, dict[str, Any]]:
    return {job["label"]: job for job in server.client.jobs(limit=None)["items"]}


def test_running_jobs_end_and_what_was_there_is_there(former: tuple[Server, str]) -> None:
    server, host = former
    before = _jobs(server)
    running = [job for job in before.values() if job["state"] == "running"]
    assert [job["label"] for job in running] == [f"{host}/app:v1"]
    names = {name for image in server.client.images(None)["items"] for name in image["repo_tags"]}
    assert names == {"imported:1", "kept:1", f"{host}/app:v0"}
    assert [one["name"] for one in server.client.workspaces()["items"]] == ["work"]
    assert "team" in {one["name"] for one in server.client.tokens()["items"]}
    server.client.change_limits({"max_concurrent_downloads": 3})
    for job in running:
        ended = server.client.wait(job["id"])
        assert ended["state"] == "succeeded", json.dumps(ended["error"])
    digests = {
        name: image["repo_digests"]
        for image in server.client.images(None)["items"]
        for name in image["repo_tags"]
    }
    for number, image in enumerate(IMAGES):
        assert str(image.digest) in str(digests[f"{host}/app:v{number}"])
