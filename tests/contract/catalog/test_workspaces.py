"""Workspaces: what they are made over, what is put into them, what they keep."""

from __future__ import annotations

import io
import threading

import pytest
from sqlalchemy import func, select

from tests.contract.catalog.shelves import ImageFixtures, id_of, small
from tests.support.file_images import image_of
from tests.support.images import ARM64, Image, build_artifact, build_index
from tests.support.tars import Member, file, folder, hardlink, tar_of
from transship.store import gc
from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.content import layers, workspaces
from transship.store.catalog.content.workspaces import Workspace
from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.db.schema import leases
from transship.store.errors import (
    ConflictError,
    InvalidArchiveError,
    NotFoundError,
    OtherPlatformError,
    RequestError,
)
from transship.store.images.build.new_layer import MadeLayer
from transship.store.layers.compose.find import MergedTree
from transship.store.layers.sources import never
from transship.store.oci.digest import Digest
from transship.store.oci.platform import Platform
from transship.store.workspaces import files
from transship.store.workspaces.workspaces import create, ground

NAME = "docker.io/library/app:1"
X = small("x")
FILES = image_of(tar_of(folder("etc"), file("etc/kept", b"kept")))


@pytest.fixture
def shelves(catalog: Catalog) -> ImageFixtures:
    return ImageFixtures(catalog)


class Bench:
    """Workspaces over what is on the shelves."""

    def __init__(self, shelves: ImageFixtures) -> None:
        self.shelves = shelves
        self.catalog, self.content = shelves.catalog, shelves.content

    def create(
        self,
        name: str,
        reference: str | None = None,
        *,
        busy: bool = False,
        platform: Platform | None = None,
    ) -> Workspace:
        with self.catalog.write() as connection:
            return create(
                connection,
                HOUSE,
                name,
                reference,
                busy=busy,
                now=self.shelves.now,
                platform=platform,
                host=self.shelves.host,
            )

    def get(self, name: str) -> Workspace:
        with self.catalog.read() as connection:
            return workspaces.get(connection, HOUSE, name)

    def made(self, seen: Workspace, *members: Member) -> MadeLayer:
        """A layer that was begun when the workspace was as *seen*."""
        stack = ground(seen.base, seen.layers, self.content).whole(self.content)
        body = io.BytesIO(tar_of(*members))
        return files.put(body, "/", stack, self.content, "me")

    def add(self, seen: Workspace, made: MadeLayer) -> None:
        files.add(self.catalog, self.content, seen, made, lambda: self.shelves.now + 1)

    def put(self, name: str, *members: Member) -> MadeLayer:
        seen = self.get(name)
        made = self.made(seen, *members)
        self.add(seen, made)
        return made

    def remove(self, name: str) -> None:
        with self.catalog.write() as connection:
            workspaces.remove(connection, HOUSE, name)

    def paths(self, name: str) -> list[str]:
        found = self.get(name)
        stack = ground(found.base, found.layers, self.content)
        return [entry.name for entry in MergedTree(stack.whole(self.content)).list()]

    def collect(self) -> set[str]:
        """Sweep what nothing needs, and return what is left."""
        gc.sweep(self.catalog, self.content, check=never)
        return {str(digest) for digest in self.content.digests()}

    def leased(self, name: str) -> int:
        mine = select(func.count()).where(leases.c.holder == workspaces.holder(HOUSE, name))
        with self.catalog.read() as connection:
            return int(connection.execute(mine).scalar_one())


@pytest.fixture
def bench(shelves: ImageFixtures) -> Bench:
    return Bench(shelves)


def test_a_workspace_stands_on_an_image(bench: Bench) -> None:
    bench.shelves.hold(X, NAME)
    made = bench.create("work", "app:1", busy=True)
    assert made == bench.get("work")
    assert (made.base, made.reference, made.busy) == (str(X.digest), "app:1", True)
    assert ground(made.base, made.layers, bench.content).image_id == id_of(X)


def test_it_may_begin_empty(bench: Bench) -> None:
    made = bench.create("work")
    assert made.base is None
    bench.put("work", file("new", b"new"))
    assert bench.paths("work") == [".", "new"]


def test_its_name_is_its_own(bench: Bench) -> None:
    bench.create("work")
    with pytest.raises(ConflictError):
        bench.create("work")
    bench.remove("work")
    bench.create("work")


def test_they_are_listed_by_name(bench: Bench) -> None:
    for name in ("b", "c", "a"):
        bench.create(name)
    layer = bench.put("b", file("new", b"new"))
    with bench.catalog.read() as connection:
        found = workspaces.listed(connection, HOUSE)
    assert [(one.name, one.layers) for one in found] == [
        ("a", ()),
        ("b", (str(layer.digest),)),
        ("c", ()),
    ]


def test_of_an_index_it_is_the_image_for_a_platform(bench: Bench) -> None:
    other = small("x", platform=ARM64)
    bench.shelves.hold(build_index([X, other]), NAME)
    assert bench.create("host", "app:1").base == str(X.digest)
    assert bench.create("arm", "app:1", platform=ARM64).base == str(other.digest)
    with pytest.raises(OtherPlatformError):
        bench.create("none", "app:1", platform=Platform("linux", "s390x"))


def test_what_is_not_there_or_no_image_is_refused(bench: Bench) -> None:
    with pytest.raises(NotFoundError):
        bench.create("work", "nothing:1")
    bench.shelves.hold(build_artifact(b"a"), NAME)
    with pytest.raises(RequestError):
        bench.create("work", "app:1")


def test_busy_can_be_changed(bench: Bench) -> None:
    bench.create("work")
    for busy in (True, False):
        with bench.catalog.write() as connection:
            workspaces.set_busy(connection, HOUSE, "work", busy, 5.0)
        assert (bench.get("work").busy, bench.get("work").updated_at) == (busy, 5.0)


def test_nothing_can_be_done_to_one_that_is_not_there(bench: Bench) -> None:
    with bench.catalog.write() as connection:
        for act in (
            lambda: workspaces.get(connection, HOUSE, "none"),
            lambda: workspaces.set_busy(connection, HOUSE, "none", busy=True, now=0),
            lambda: workspaces.add_layer(connection, HOUSE, "none", str(Digest.of(b"")), 0),
            lambda: workspaces.remove(connection, HOUSE, "none"),
        ):
            with pytest.raises(NotFoundError):
                act()


def test_layers_lie_in_the_order_in_which_they_were_put(bench: Bench) -> None:
    bench.create("work")
    first = bench.put("work", file("a", b"1"))
    second = bench.put("work", file("a", b"2"))
    bench.put("work", file("a", b"1"))
    assert bench.get("work").layers == tuple(map(str, (first.digest, second.digest, first.digest)))


def test_what_was_computed_of_a_layer_is_recorded(bench: Bench) -> None:
    bench.create("work")
    made = bench.put("work", file("a", b"1"))
    with bench.catalog.read() as connection:
        assert layers.diff_id_of(connection, str(made.digest)) == str(made.diff_id)
        assert layers.diff_sizes(connection, [str(made.digest)]) == {
            str(made.digest): made.diff_size
        }


# --- what it keeps -------------------------------------------------------------------------------


def parts(image: Image) -> set[str]:
    return {str(image.digest), *map(str, image.blobs)}


def test_its_image_and_its_layers_are_not_collected(bench: Bench) -> None:
    bench.shelves.hold(FILES, NAME)
    bench.create("work", "app:1")
    layer = bench.put("work", file("new", b"new"))
    bench.shelves.rm(id_of(FILES), force=True)
    assert bench.shelves.names() == {}
    assert bench.collect() == {*parts(FILES), str(layer.digest)}
    assert bench.paths("work") == [".", "etc", "etc/kept", "new"]


def test_when_it_goes_they_go(bench: Bench) -> None:
    bench.shelves.hold(FILES, NAME)
    bench.create("work", "app:1")
    bench.put("work", file("new", b"new"))
    bench.remove("work")
    assert bench.leased("work") == 0
    assert bench.collect() == parts(FILES)
    bench.shelves.rm("app:1")
    assert bench.collect() == set()


def test_a_layer_that_two_have_stays_for_the_other(bench: Bench) -> None:
    for name in ("one", "other"):
        bench.create(name)
    layers_put = {bench.put(name, file("new", b"new")).digest for name in ("one", "other")}
    bench.remove("one")
    assert bench.collect() == set(map(str, layers_put))
    assert len(layers_put) == 1
    assert bench.paths("other") == [".", "new"]


# --- two at a time -------------------------------------------------------------------------------


def test_two_that_put_at_a_time_both_get_their_files_in(bench: Bench) -> None:
    bench.create("work")
    seen = bench.get("work")
    layers_made = [bench.made(seen, file(name, b"x")) for name in ("one", "two")]
    for made in layers_made:
        bench.add(seen, made)
    assert bench.paths("work") == [".", "one", "two"]


def test_many_that_put_at_a_time_do_so_one_after_the_other(bench: Bench) -> None:
    bench.create("work")
    names = [f"file{number}" for number in range(6)]
    threads = [
        threading.Thread(target=bench.put, args=("work", file(name, b"x"))) for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bench.paths("work") == [".", *names]


def test_what_does_not_fit_any_more_is_refused(bench: Bench) -> None:
    bench.create("work")
    bench.put("work", file("target", b"x"))
    seen = bench.get("work")
    late = bench.made(seen, hardlink("link", "target"))
    gone = files.remove(
        "target", ground(None, seen.layers, bench.content).whole(bench.content), bench.content, "me"
    )
    bench.add(seen, gone)
    with pytest.raises(InvalidArchiveError):
        bench.add(seen, late)
    assert bench.paths("work") == ["."]
    assert bench.get("work").layers == (*seen.layers, str(gone.digest))


def test_what_comes_for_one_that_has_gone_is_refused(bench: Bench) -> None:
    seen = bench.create("work")
    late = bench.made(seen, file("a", b"1"))
    bench.remove("work")
    with pytest.raises(NotFoundError):
        bench.add(seen, late)
    bench.shelves.now += 60
    bench.create("work")
    with pytest.raises(NotFoundError):
        bench.add(seen, late)
    assert bench.get("work").layers == ()
