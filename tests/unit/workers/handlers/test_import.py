"""Import: a tar becomes an image of one layer, with Docker's config and events."""

from __future__ import annotations

import bz2
import gzip
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from sqlalchemy import update

from tests.support.processes import free_port
from tests.support.tars import file, folder, tar_of
from tests.unit.workers.handlers.local import Local, local
from tests.unit.workers.handlers.test_pull_again import harness
from transship.store.catalog.content import layers
from transship.store.catalog.db.schema import jobs
from transship.store.images.view.local_content import open_image
from transship.store.oci.digest import Digest
from transship.store.oci.platform import Platform
from transship.workers.registry.client import RegistryClient
from transship.workers.registry.transport.hosts import HostPolicy

__all__ = ["harness", "local"]

ROOT = tar_of(folder("etc"), file("etc/a", b"a\n"), file("bin/b", b"bb\n"))


def config_of(local: Local, image_id: str) -> dict[str, Any]:
    found = local.shelves.find(image_id)
    assert found.image is not None
    opened = open_image(found.image, local.content)
    assert opened.config is not None
    config: dict[str, Any] = json.loads(opened.config.raw)
    return config


def test_a_tar_becomes_an_image(local: Local) -> None:
    job = local.send(ROOT, kind="import", reference="app:1")
    result = local.result(job)
    assert result["reference"] == "docker.io/library/app:1"
    assert local.names() == {"docker.io/library/app:1": result["digest"]}
    config = config_of(local, result["image_id"])
    host = Platform.host()
    created = config.pop("created")
    assert config == {
        "architecture": host.architecture,
        "os": "linux",
        "config": {},
        "comment": "Imported from -",
        "history": [{"created": created, "comment": "Imported from -"}],
        "rootfs": {"type": "layers", "diff_ids": [str(Digest.of(ROOT))]},
    }


def test_it_is_tagged_and_imported_in_this_order(local: Local) -> None:
    id_ = local.result(local.send(ROOT, kind="import", reference="app"))["image_id"]
    assert local.events() == [("tag", id_, "app:latest"), ("import", id_, id_)]


def test_without_a_name_it_is_only_imported(local: Local) -> None:
    id_ = local.result(local.send(ROOT, kind="import"))["image_id"]
    assert local.events() == [("import", id_, id_)]
    assert local.names() == {}
    assert local.images() == {id_}


def test_changes_message_and_platform_are_taken(local: Local) -> None:
    job = local.send(
        ROOT,
        kind="import",
        changes=["CMD ls", "ENV A=1"],
        message="said so",
        platform="linux/arm/v7",
    )
    config = config_of(local, local.result(job)["image_id"])
    assert config["config"] == {"Cmd": ["/bin/sh", "-c", "ls"], "Env": ["A=1"]}
    assert (config["architecture"], config["variant"]) == ("arm", "v7")
    assert config["comment"] == config["history"][0]["comment"] == "said so"


def test_gzip_stays_and_all_else_becomes_gzip(local: Local) -> None:
    packed = gzip.compress(ROOT)
    for body in (ROOT, packed, bz2.compress(ROOT)):
        local.result(local.send(body, kind="import"))
    assert str(Digest.of(packed)) in local.recorded()
    with local.catalog.read() as connection:
        found = layers.digests_of(connection, str(Digest.of(ROOT)))
    held = [local.content.read(Digest.parse(one), max_bytes=1 << 20) for one in found]
    assert [gzip.decompress(one) for one in held] == [ROOT, ROOT]


def test_the_same_tar_at_the_same_time_gives_the_same_image(local: Local) -> None:
    def made() -> str:
        job = local.send(ROOT, kind="import", source_date_epoch=1_700_000_000)
        return str(local.result(job)["image_id"])

    assert made() == made()
    assert config_of(local, made())["created"] == "2023-11-14T22:13:20Z"


def test_a_name_that_something_newer_wrote_stays(local: Local) -> None:
    older = local.send(ROOT, kind="import", reference="app:1")
    newer = local.send(tar_of(file("other")), kind="import", reference="app:1")
    result = local.result(newer)
    local.result(older)
    assert local.row(older).superseded_by == newer
    assert local.names() == {"docker.io/library/app:1": result["digest"]}


# --- from a URL ----------------------------------------------------------------------------------


@dataclass
class Site:
    """A web server on loopback that answers with what it is told, in turn."""

    answers: list[tuple[int, bytes]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/root.tar?signature=secret"


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = made.answers.pop(0)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        made.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield made
        server.shutdown()
        thread.join()


@pytest.fixture
def allowed(local: Local) -> Local:
    """Loopback may be fetched from."""
    policy = HostPolicy(allow_private=("127.0.0.1",))
    local.context = replace(local.context, registries=RegistryClient(policy))
    return local


def test_a_tar_is_fetched_by_the_job(allowed: Local, site: Site) -> None:
    site.answers = [(200, gzip.compress(ROOT))]
    job = allowed.submit(kind="import", url=site.url, reference="app:1")
    result = allowed.result(job)
    config = config_of(allowed, result["image_id"])
    assert config["comment"] == f"Imported from {site.url.partition('?')[0]}"
    assert config["rootfs"]["diff_ids"] == [str(Digest.of(ROOT))]
    assert "secret" not in allowed.row(job).label


def test_a_server_that_fails_for_a_while_is_asked_again(allowed: Local, site: Site) -> None:
    site.answers = [(503, b""), (200, ROOT)]
    job = allowed.submit(kind="import", url=site.url)
    row = allowed.run(job)
    assert (row.state, row.attempts, row.due) == ("running", 1, False)
    with allowed.catalog.write() as connection:
        connection.execute(update(jobs).where(jobs.c.id == job).values(not_before=0, due=True))
    assert allowed.result(job)["image_id"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((404, b""), ("not-in-registry", "source")),
        ((200, b"no tar at all" * 100), ("invalid-layer", "source")),
        ((200, ROOT[:700]), ("invalid-layer", "source")),
    ],
)
def test_what_cannot_be_had_or_is_no_tar_fails_the_job(
    allowed: Local, site: Site, answer: tuple[int, bytes], error: tuple[str, str]
) -> None:
    site.answers = [answer]
    job = allowed.submit(kind="import", url=site.url)
    assert allowed.failure(job) == error
    assert allowed.content.discard_drafts(job) == 0
    assert allowed.images() == set()


def test_a_private_address_is_not_fetched_from_unless_it_is_allowed(local: Local) -> None:
    job = local.submit(kind="import", url=f"http://127.0.0.1:{free_port()}/root.tar")
    assert local.failure(job)[0] == "untrusted-address"
