"""Tenants: what one has is not there for another, whatever either of them does."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.contract.catalog.shelves import ImageFixtures, deleted, id_of, small
from tests.support.images import build_index
from tests.support.memory_store import MemoryStore
from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.db.engine import Catalog
from transship.store.errors import ConflictError, NotFoundError
from transship.store.oci.platform import Platform

APP, CHILD = small("app"), small("child")
NAME = "docker.io/library/app:1"
INDEX = build_index([small("amd64"), small("arm64", platform=Platform("linux", "arm64"))])


class Two:
    """Two tenants of one store, and the house."""

    def __init__(self, catalog: Catalog) -> None:
        content = MemoryStore()
        self.alice, self.bob, self.house = (
            ImageFixtures(catalog, content, tenant=tenant) for tenant in ("alice", "bob", HOUSE)
        )


@pytest.fixture
def two(catalog: Catalog) -> Two:
    return Two(catalog)


WAYS: dict[str, Callable[[], str]] = {
    "name": lambda: "app:1",
    "full name": lambda: NAME,
    "ID": lambda: id_of(APP),
    "beginning of the ID": lambda: id_of(APP).partition(":")[2][:12],
    "digest": lambda: str(APP.digest),
    "name with digest": lambda: f"app@{APP.digest}",
}


@pytest.mark.parametrize("way", WAYS)
def test_an_image_is_there_for_its_tenant_and_the_house_alone(two: Two, way: str) -> None:
    two.alice.hold(APP, NAME, f"docker.io/library/app@{APP.digest}")
    text = WAYS[way]()
    assert two.alice.find(text).local.id == two.house.find(text).local.id == id_of(APP)
    with pytest.raises(NotFoundError):
        two.bob.find(text)
    assert two.bob.names() == {}


@pytest.mark.parametrize("named", [True, False])
def test_an_image_of_both_has_for_each_its_own_names(two: Two, named: bool) -> None:
    two.alice.hold(APP, NAME)
    two.bob.hold(APP, *["docker.io/library/mine:1"] * named)
    assert two.alice.names() == {id_of(APP): ["app:1"]}
    assert two.bob.names() == {id_of(APP): ["mine:1"] * named}
    assert two.bob.find(id_of(APP)).local.id == id_of(APP)
    with pytest.raises(NotFoundError):
        two.bob.find("app:1")


def test_an_image_of_an_index_is_there_for_who_has_the_index(two: Two) -> None:
    two.alice.hold(INDEX, NAME)
    (member, _) = INDEX.images
    assert two.alice.find(str(member.digest)).local.id
    with pytest.raises(NotFoundError):
        two.bob.find(str(member.digest))
    two.bob.hold(member)
    assert two.bob.find(str(member.digest)).local.names == ()
    with pytest.raises(NotFoundError):
        two.bob.find(str(INDEX.digest))


def test_an_index_is_no_way_to_what_others_have_of_it(two: Two) -> None:
    """Who knows an index, and has one of its images, has that one."""
    mine, other = INDEX.images
    two.alice.hold(INDEX, NAME)
    two.bob.hold(INDEX, "docker.io/library/mine:1", only=[mine])
    assert [row.digest for row in two.bob.find("mine:1").members] == [str(mine.digest)]
    for text in (str(other.digest), id_of(other)):
        with pytest.raises(NotFoundError):
            two.bob.find(text)
    two.bob.rm("mine:1")
    assert len(two.alice.find("app:1").members) == 2
    two.alice.rm("app:1")
    assert two.house.names() == {}


def test_one_name_of_two_tenants_is_two_names(two: Two) -> None:
    two.alice.hold(APP, NAME)
    two.bob.hold(CHILD, NAME)
    assert two.alice.find("app:1").local.id == id_of(APP)
    assert two.bob.find("app:1").local.id == id_of(CHILD)
    with pytest.raises(ConflictError, match="several users"):
        two.house.find("app:1")
    two.house.hold(APP, NAME)
    assert two.house.find("app:1").local.id == id_of(APP)


def test_what_one_removes_is_still_there_for_the_other(two: Two) -> None:
    two.alice.hold(APP, NAME)
    two.bob.hold(APP, NAME)
    assert two.bob.rm("app:1")[1:] == deleted(APP)
    assert two.bob.names() == {}
    assert two.alice.names() == {id_of(APP): ["app:1"]}
    assert [event.action for event in two.alice.events()] == []
    assert two.alice.rm("app:1")[1:] == deleted(APP)
    assert two.house.names() == {}


def test_the_house_removes_what_is_there_for_everybody(two: Two) -> None:
    two.alice.hold(APP, NAME)
    two.bob.hold(APP, NAME)
    assert two.house.rm(id_of(APP))[1:] == deleted(APP)
    assert two.alice.names() == two.bob.names() == two.house.names() == {}


def test_the_child_of_one_does_not_keep_the_image_of_the_other(two: Two) -> None:
    two.alice.hold(APP, NAME)
    two.alice.hold(CHILD, parent=APP)
    two.bob.hold(APP, NAME)
    assert two.bob.rm("app:1")[1:] == deleted(APP)
    with pytest.raises(ConflictError):
        two.alice.rm(id_of(APP))


def test_the_workspace_of_one_does_not_keep_the_image_of_the_other(two: Two) -> None:
    two.alice.hold(APP, NAME)
    two.alice.workspace("work", APP, busy=True)
    two.bob.hold(APP, NAME)
    assert two.bob.rm("app:1")[1:] == deleted(APP)
    assert two.alice.find("app:1").local.id == id_of(APP)


def test_layers_of_another_are_told_as_gone(two: Two) -> None:
    """What is told depends on one's own images alone; what others have stays."""
    two.alice.hold(APP, NAME)
    two.bob.hold(APP, "docker.io/library/mine:1")
    assert two.bob.rm("mine:1") == [{"untagged": "mine:1"}, *deleted(APP)]
    assert two.alice.find("app:1").image is not None or two.alice.names()
