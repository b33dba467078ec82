"""Commit: a workspace becomes an image, once, whatever dies meanwhile."""

from __future__ import annotations

import gzip
import io
from typing import Any

import pytest
from sqlalchemy import update

from tests.contract.catalog.shelves import id_of
from tests.support.file_images import image_of
from tests.support.tars import Member, entries_of, file, folder, hardlink, tar_of
from tests.unit.workers.handlers.local import Local, local
from tests.unit.workers.handlers.test_pull_again import harness
from transship.store import gc
from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.content import lineage, workspaces
from transship.store.catalog.db.schema import jobs as job_rows
from transship.store.images.view.local_content import Opened, open_image
from transship.store.layers.sources import never
from transship.store.oci import mediatypes
from transship.store.oci.digest import Digest
from transship.store.workspaces import files
from transship.store.workspaces.workspaces import create, ground
from transship.workers.process.batch import run_batch

__all__ = ["harness", "local"]

NAME = "docker.io/library/app:1"
NEW = "docker.io/library/new:1"
BASE = image_of(
    tar_of(folder("etc"), file("etc/kept", b"kept"), file("etc/gone", b"gone")),
    config={"Cmd": ["/bin/app", "-v"], "Env": ["A=1"], "Labels": {"a": "1"}},
)


class Bench:
    """A workspace over an image, on a harness."""

    def __init__(self, local: Local) -> None:
        self.local = local
        local.shelves.hold(BASE, NAME)
        self.create("work", "app:1")

    def create(self, name: str, reference: str | None) -> None:
        with self.local.catalog.write() as connection:
            host = self.local.shelves.host
            create(connection, HOUSE, name, reference, busy=False, now=1.0, host=host)

    def put(self, *members: Member, directory: str = "/", name: str = "work") -> None:
        def made(stack: Any, content: Any) -> Any:
            body = io.BytesIO(tar_of(*members))
            return files.put(body, directory, stack, content, "me")

        self._change(name, made)

    def remove(self, path: str) -> None:
        self._change("work", lambda stack, content: files.remove(path, stack, content, "me"))

    def _change(self, name: str, make: Any) -> None:
        catalog, content = self.local.catalog, self.local.content
        with catalog.read() as connection:
            seen = workspaces.get(connection, HOUSE, name)
        made = make(ground(seen.base, seen.layers, content).whole(content), content)
        files.add(catalog, content, seen, made, lambda: 2.0)

    def submit(self, **more: Any) -> str:
        return self.local.submit(**{"kind": "commit", "workspace": "work", **more})

    def commit(self, **more: Any) -> dict[str, Any]:
        return self.local.result(self.submit(**more))

    def opened(self, image_id: str) -> Opened:
        found = self.local.shelves.find(image_id)
        assert found.image is not None
        return open_image(found.image, self.local.content)

    def top(self, image_id: str) -> list[str]:
        """The names in the topmost layer."""
        layer = self.opened(image_id).layers[-1]
        blob = self.local.content.open(layer.blob.digest).read()
        assert Digest.of(gzip.decompress(blob)) == layer.diff_id
        return sorted(entries_of(gzip.decompress(blob)))

    def parent(self, image_id: str) -> str | None:
        with self.local.catalog.read() as connection:
            known = lineage.get(connection, HOUSE, image_id)
        return None if known is None else known.parent


@pytest.fixture
def bench(local: Local) -> Bench:
    return Bench(local)


def test_all_that_was_put_becomes_one_layer(bench: Bench) -> None:
    bench.put(file("new", b"1"), file("etc/kept", b"other"))
    bench.put(file("new", b"2"))
    bench.remove("/etc/gone")
    result = bench.commit(reference="new:1", author="Ann", message="said")
    assert result["reference"] == NEW
    assert bench.local.names() == {NAME: str(BASE.digest), NEW: result["digest"]}
    image = bench.opened("new:1")
    assert image.config is not None
    assert str(image.config.digest) == result["image_id"]
    assert [layer.blob for layer in image.layers[:-1]] == list(BASE.manifest.layers)
    assert str(image.layers[-1].diff_id) == result["layer"]
    assert bench.top("new:1") == ["etc/", "etc/.wh.gone", "etc/kept", "new"]
    step = image.config.history[-1]
    assert (step["author"], step["comment"]) == ("Ann", "said")
    assert (step["created_by"], "empty_layer" in step) == ("/bin/app -v", False)


def test_media_types_are_those_of_the_image_below(bench: Bench) -> None:
    bench.put(file("new", b"1"))
    bench.commit(reference="new:1")
    layer = bench.opened("new:1").layers[-1].blob
    assert layer.media_type == mediatypes.OCI_LAYER_GZIP
    docker = image_of(tar_of(file("a")), media="docker")
    bench.local.shelves.hold(docker, "docker.io/library/docker:1")
    bench.create("docker", "docker:1")
    bench.put(file("new", b"1"), name="docker")
    bench.commit(workspace="docker", reference="new:2")
    manifest = bench.opened("new:2").manifest
    assert manifest.media_type == mediatypes.DOCKER_MANIFEST
    assert manifest.layers[-1].media_type == mediatypes.DOCKER_LAYER_GZIP


def test_without_a_change_there_is_no_layer(bench: Bench) -> None:
    bench.put(file("passing", b"1"))
    bench.remove("/passing")
    result = bench.commit(reference="new:1")
    image = bench.opened("new:1")
    assert image.config is not None
    assert result["layer"] is None
    assert [layer.blob for layer in image.layers] == list(BASE.manifest.layers)
    assert image.config.history[-1]["empty_layer"] is True


def test_it_is_the_child_of_the_image_below(bench: Bench) -> None:
    result = bench.commit(reference="new:1")
    assert bench.parent(result["image_id"]) == id_of(BASE)


def test_a_workspace_without_an_image_makes_one_without_a_parent(bench: Bench) -> None:
    bench.create("scratch", None)
    bench.put(file("only", b"1"), name="scratch")
    result = bench.commit(workspace="scratch")
    assert bench.parent(result["image_id"]) is None
    assert len(bench.opened(result["image_id"]).layers) == 1
    assert bench.top(result["image_id"]) == ["only"]


def test_events_are_those_of_a_tag_if_it_is_named(bench: Bench) -> None:
    named = bench.commit(reference="new:1")["image_id"]
    bench.commit()
    assert bench.local.events() == [("tag", named, "new:1")]
    with bench.local.catalog.read() as connection:
        assert lineage.get(connection, HOUSE, named).tagged_at is not None  # type: ignore[union-attr]


def test_a_name_that_stood_for_another_image_is_told_of(bench: Bench) -> None:
    result = bench.commit(reference="app:1")
    assert result["moved"] == ["app:1"]
    assert bench.local.shelves.names()[id_of(BASE)] == []


def test_changes_and_configs_are_taken(bench: Bench) -> None:
    bench.commit(
        reference="new:1",
        changes=["ENV B=2", "LABEL b=2"],
        container_config={"Cmd": ["/bin/sh", "-c", "make"]},
    )
    config = bench.opened("new:1").config
    assert config is not None
    assert config.document["config"]["Env"] == ["A=1", "B=2"]
    assert dict(config.labels) == {"a": "1", "b": "2"}
    assert config.document["container_config"]["Cmd"] == ["/bin/sh", "-c", "make"]
    assert config.history[-1]["created_by"] == "/bin/sh -c make"


def test_with_a_date_it_is_the_same_every_time(bench: Bench) -> None:
    bench.put(file("new", b"1"), folder("dir", mtime=1_800_000_000))
    first = bench.commit(source_date_epoch=1_600_000_000)
    second = bench.commit(source_date_epoch=1_600_000_000)
    assert first == second
    third, fourth = bench.commit(), bench.commit()
    assert third["image_id"] != fourth["image_id"]


def test_later_puts_are_not_in_it(bench: Bench) -> None:
    bench.put(file("early", b"1"))
    job = bench.submit(reference="new:1")
    with bench.local.dying(1), pytest.raises(BaseException):  # noqa: B017, PT011
        run_batch(job, "another", bench.local.context, bench.local.harness.renewer)
    bench.put(file("late", b"2"))
    bench.local.harness.dies()
    bench.local.result(job)
    assert bench.top("new:1") == ["early"]


def test_the_workspace_and_its_image_may_go_meanwhile(bench: Bench) -> None:
    bench.put(file("new", b"1"))
    job = bench.submit(reference="new:1")
    with bench.local.dying(1), pytest.raises(BaseException):  # noqa: B017, PT011
        run_batch(job, "another", bench.local.context, bench.local.harness.renewer)
    with bench.local.catalog.write() as connection:
        workspaces.remove(connection, HOUSE, "work")
    gc.sweep(bench.local.catalog, bench.local.content, check=never)
    bench.local.harness.dies()
    result = bench.local.result(job)
    assert bench.top("new:1") == ["new"]
    assert bench.local.leased(job) == set()
    gc.sweep(bench.local.catalog, bench.local.content, check=never)
    assert bench.top(result["image_id"]) == ["new"]


def test_over_an_image_that_was_removed_it_has_no_parent(bench: Bench) -> None:
    bench.put(file("new", b"1"))
    bench.local.shelves.rm(id_of(BASE), force=True)
    result = bench.commit(reference="new:1")
    assert bench.parent(result["image_id"]) is None
    assert len(bench.opened("new:1").layers) == 2


@pytest.mark.parametrize(
    ("more", "failure"),
    [
        ({"workspace": "none"}, ("not-found", "store")),
        ({"workspace": "windows"}, ("invalid-request", "request")),
    ],
    ids=["no workspace", "another system"],
)
def test_what_cannot_be_committed_fails(
    bench: Bench, more: dict[str, Any], failure: tuple[str, str]
) -> None:
    bench.local.shelves.hold(image_of(tar_of(file("a")), os="windows"), "docker.io/library/win:1")
    bench.create("windows", "win:1")
    before = set(bench.local.content.digests())
    assert bench.local.failure(bench.submit(**more)) == failure
    assert set(bench.local.content.digests()) == before


def test_it_ends_whenever_its_worker_dies_and_nothing_half_is_seen(bench: Bench) -> None:
    bench.put(file("one", b"1"), hardlink("two", "one"))
    bench.put(folder("more"), file("more/three", b"3"))
    before = bench.local.images()
    expected = bench.commit(source_date_epoch=1)["image_id"]
    bench.local.shelves.rm(expected)
    job = bench.submit(source_date_epoch=1)
    crashes = 0
    while bench.local.row(job).state != "succeeded":
        with bench.local.dying(crashes), pytest.raises(BaseException):  # noqa: B017, PT011
            run_batch(job, "another", bench.local.context, bench.local.harness.renewer)
        assert bench.local.images() - before in (set(), {expected})
        crashes += 1
        with bench.local.catalog.write() as connection:  # as if it had got further in between
            connection.execute(update(job_rows).where(job_rows.c.id == job).values(crashes=0))
        bench.local.harness.dies()
        if expected in bench.local.images():
            bench.local.run(job)
    assert crashes > 3
    assert bench.local.images() - before == {expected}
    assert bench.local.content.discard_drafts(job) == 0


def test_what_a_dead_owner_left_behind_is_dropped(bench: Bench) -> None:
    job = bench.submit()
    bench.local.content.draft(job).write(b"half a layer")
    bench.local.result(job)
    assert bench.local.content.discard_drafts(job) == 0
