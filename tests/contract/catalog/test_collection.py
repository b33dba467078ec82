"""What is swept and what is spared, whoever leases meanwhile."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytest

from tests.contract.catalog.scene import HERE, Scene
from tests.support.memory_store import MemoryStore
from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.content import blobs, collection, references
from transship.store.catalog.content.references import HeldImage
from transship.store.content.ports import Trashed
from transship.store.gc import Swept, reachable, sweep, take_back, tidy
from transship.store.oci.digest import Digest

HOLDER = "export:one"  # no job, so that it is not taken for one that has ended


def nothing() -> None:
    """Nobody asks to stop."""


class Store:
    """Blobs in a catalog and in memory, named by their content."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.content = MemoryStore()

    def add(self, *names: str, used_at: float = 0.0) -> None:
        with self.scene.catalog.write() as connection:
            for name in names:
                digest = self.content.put(name.encode())
                blobs.add(connection, {str(digest): len(name)}, used_at)

    def link(self, parent: str, *children: str) -> None:
        with self.scene.catalog.write() as connection:
            blobs.link(connection, named(parent), map(named, children))

    def refer(self, name: str, root: str) -> None:
        with self.scene.catalog.write() as connection:
            references.publish(connection, HOUSE, name, named(root), "type", seq=1, now=0)

    def lease(self, *names: str, holder: str = HOLDER) -> None:
        with self.scene.catalog.write() as connection:
            blobs.lease(connection, holder, map(named, names))

    def sweep(self, **more: object) -> Swept:
        return sweep(self.scene.catalog, self.content, check=nothing, **more)  # type: ignore[arg-type]

    def held(self, *names: str) -> list[str]:
        """Those of *names* that have both a row and a file."""
        with self.scene.catalog.read() as connection:
            rows = collection.held(connection, [named(name) for name in names])
        return [
            name
            for name in names
            if named(name) in rows and self.content.size(Digest.of(name.encode())) is not None
        ]


def named(name: str) -> str:
    return str(Digest.of(name.encode()))


@pytest.fixture
def store(scene: Scene) -> Store:
    return Store(scene)


def test_what_nothing_needs_is_swept_file_and_row(store: Store) -> None:
    store.add("a", "b")
    report = store.sweep()
    assert (report.blobs, report.bytes, store.held("a", "b")) == (2, 2, [])


def test_what_a_name_leads_to_stays_over_every_edge(store: Store) -> None:
    store.add("index", "manifest", "layer", "other")
    store.link("index", "manifest")
    store.link("manifest", "layer")
    store.refer("here.test/app:1", "index")
    store.sweep()
    assert store.held("index", "manifest", "layer", "other") == ["index", "manifest", "layer"]


def test_an_image_without_a_name_stays(store: Store) -> None:
    """As with Docker, where dangling images go by prune."""
    store.add("manifest", "layer")
    store.link("manifest", "layer")
    image = HeldImage(
        digest=named("manifest"), image_id="i", media_type="t", os="", architecture="",
        variant="", created="", size=1, layers=1,
    )  # fmt: skip
    with store.scene.catalog.write() as connection:
        references.add_image(connection, image)
    store.sweep()
    assert store.held("manifest", "layer") == ["manifest", "layer"]


def test_what_is_leased_stays_until_it_is_let_go(store: Store) -> None:
    store.add("a")
    store.lease("a")
    store.sweep()
    assert store.held("a") == ["a"]
    with store.scene.catalog.write() as connection:
        blobs.release(connection, HOLDER)
    store.sweep()
    assert store.held("a") == []


def test_a_lease_between_mark_and_sweep_spares(store: Store) -> None:
    store.add("a", "b")
    with store.scene.catalog.write() as connection:
        number = collection.begin(connection)
    store.lease("a", holder="export:late")
    with store.scene.catalog.write() as connection:
        blobs.release(connection, "export:late")  # the stamp stays
        swept = collection.sweep(connection, [named("a"), named("b")], number)
    assert swept.keys() == {named("b")}


def test_what_arrives_during_a_collection_is_spared(store: Store) -> None:
    with store.scene.catalog.write() as connection:
        number = collection.begin(connection)
    store.add("a")
    with store.scene.catalog.write() as connection:
        assert collection.sweep(connection, [named("a")], number) == {}


def test_the_next_collection_takes_what_the_last_one_spared(store: Store) -> None:
    with store.scene.catalog.write() as connection:
        collection.begin(connection)
    store.add("a")
    store.sweep()
    assert store.held("a") == []


def test_a_lease_that_an_ended_job_left_is_none(store: Store) -> None:
    store.add("a")
    lease = store.scene.job("ended")
    store.scene.end(lease, "succeeded")
    store.lease("a", holder="ended")
    store.sweep()
    assert store.held("a") == []


def test_what_an_active_job_leased_stays(store: Store) -> None:
    store.add("a")
    store.scene.job("active")
    store.lease("a", holder="active")
    store.sweep()
    assert store.held("a") == ["a"]


def test_an_edge_that_is_not_held_is_not_followed(store: Store) -> None:
    """An index pulled for one platform lacks the others on purpose."""
    store.add("index", "mine")
    store.link("index", "mine")
    store.refer("here.test/app:1", "index")
    assert store.sweep().blobs == 0


def test_a_hole_behind_a_name_keeps_that_image_and_nothing_else(store: Store) -> None:
    store.add("index", "manifest", "left", "other")
    store.link("index", "manifest")
    store.link("manifest", "left", "lost")
    store.refer("here.test/app:1", "index")
    report = store.sweep()
    assert store.held("index", "manifest", "left", "other") == ["index", "manifest", "left"]
    assert report.as_json()["broken"] == 1
    assert report.as_json()["broken_images"] == [
        {
            "digest": named("manifest"),
            "names": ["here.test/app:1"],
            "missing": [named("lost")],
        }
    ]


def test_what_a_lost_manifest_led_to_stays(store: Store) -> None:
    """It may be fetched again, and then needs its layers."""
    store.add("index", "layer")
    store.link("index", "lost")
    store.link("lost", "layer")
    store.refer("here.test/app:1", "index")
    assert [one.missing for one in store.sweep().broken] == [(named("lost"),)]
    assert store.held("index", "layer") == ["index", "layer"]


def test_the_least_recently_used_go_first_and_no_more_than_needed(store: Store) -> None:
    for at, name in enumerate(["newest", "older", "oldest"]):
        store.add(name, used_at=100 - at)
    store.sweep(enough=lambda freed: freed >= len("oldest"))
    assert store.held("newest", "older", "oldest") == ["newest", "older"]


def test_nothing_is_swept_where_enough_is_free_already(store: Store) -> None:
    store.add("a")
    assert store.sweep(enough=lambda _: True).blobs == 0


def test_what_comes_again_before_its_file_is_moved_stays(store: Store) -> None:
    store.add("a")

    def check() -> None:
        store.add("a")  # its row goes in a moment, and its file after that

    sweep(store.scene.catalog, store.content, check=check)
    store.add("a")
    assert store.held("a") == ["a"]


@pytest.mark.parametrize("wanting", ["add", "lease"])
@pytest.mark.parametrize("orphan", [False, True])
def test_what_is_wanted_again_as_its_file_is_moved_is_taken_back(
    store: Store, monkeypatch: pytest.MonkeyPatch, wanting: str, orphan: bool
) -> None:
    """Somebody saw the file before it went, and counts on it."""
    remove = store.content.remove
    digest = store.content.put(b"a")
    if not orphan:
        store.add("a")

    def remove_as_it_comes_again(digest: Digest) -> bool:
        if wanting == "lease":
            store.lease("a")
        else:
            with store.scene.catalog.write() as connection:
                blobs.add(connection, {str(digest): 1}, 0.0)
        return remove(digest)

    monkeypatch.setattr(store.content, "remove", remove_as_it_comes_again)
    assert (_tidy(store).orphans if orphan else store.sweep().blobs) == (0 if orphan else 1)
    assert store.content.size(digest) == 1
    assert list(store.content.trashed()) == []


def test_marking_walks_a_cycle_once(store: Store) -> None:
    store.add("a", "b")
    store.link("a", "b")
    store.link("b", "a")
    store.refer("here.test/app:1", "a")
    with store.scene.catalog.read() as connection:
        assert reachable(collection.snapshot(connection)) == {named("a"), named("b")}


# --- tidying -------------------------------------------------------------------------------------


def _tidy(store: Store, **more: object) -> Swept:
    report = Swept()
    arguments = {"partials_before": 10.0, "urgent": False, **more}
    tidy(store.scene.catalog, store.content, report, check=nothing, **arguments)  # type: ignore[arg-type]
    return report


def _partials(store: Store) -> list[str]:
    return [str(partial.digest) for partial in store.content.partials()]


def _leave_partial(store: Store, name: str) -> None:
    with store.content.ingest(Digest.of(name.encode()), fence=1) as ingest:
        ingest.write(b"half")


def test_old_partials_go_and_those_of_transfers_under_way_stay(store: Store) -> None:
    _leave_partial(store, "left")
    _leave_partial(store, "wanted")
    store.scene.want(store.scene.job("one"), named("wanted"), registry=HERE)
    assert _tidy(store).partials == 1
    assert _partials(store) == [named("wanted")]


def test_partials_that_are_young_enough_stay(store: Store) -> None:
    _leave_partial(store, "left")
    assert _tidy(store, partials_before=0.0).partials == 0


def test_files_that_nothing_names_go_to_the_trash(store: Store) -> None:
    store.content.put(b"orphan")
    store.add("held")
    assert _tidy(store).orphans == 1
    assert store.held("held") == ["held"]


def test_a_file_that_a_lease_names_is_no_orphan(store: Store) -> None:
    store.content.put(b"coming")
    store.lease("coming")
    assert _tidy(store).orphans == 0


@pytest.mark.parametrize("wanting", ["row", "lease", "transfer"])
def test_what_is_wanted_is_taken_back_before_a_collection_goes_on(
    store: Store, wanting: str
) -> None:
    """A collection that was killed had moved it, and had not asked again."""
    _trash(store, ["a", "b"])
    if wanting == "row":
        store.add("a")
        _trash(store, ["a"])
    elif wanting == "lease":
        store.lease("a")
    else:
        store.scene.want(store.scene.job("one"), named("a"), registry=HERE)
    rest = take_back(store.scene.catalog, store.content, nothing)
    assert store.content.size(Digest.parse(named("a"))) == 1
    assert [str(one.digest) for one in rest] == [named("b")]


def _trash(store: Store, names: Iterable[str]) -> None:
    for name in names:
        store.content.remove(store.content.put(name.encode()))


def test_the_trash_is_emptied(store: Store) -> None:
    _trash(store, ["a", "b"])
    assert _tidy(store).erased_bytes == 2
    assert list(store.content.trashed()) == []


@pytest.mark.parametrize("since", [0.0, math.inf])
def test_what_has_a_row_is_taken_back_from_the_trash(
    store: Store, monkeypatch: pytest.MonkeyPatch, since: float
) -> None:
    """A collection that died before it looked again had moved it, however lately."""
    store.add("a")
    _trash(store, ["a"])
    trashed = [Trashed(one.digest, one.size, since) for one in store.content.trashed()]
    monkeypatch.setattr(store.content, "trashed", lambda: iter(trashed))
    _tidy(store)
    assert store.held("a") == ["a"]
