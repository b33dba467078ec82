"""What the build cache knows of a step, with and without images that were built elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.contract.catalog.shelves import ImageFixtures, id_of
from tests.support.file_images import image_of
from tests.support.images import Image
from tests.support.tars import file, tar_of
from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.content import lineage
from transship.store.catalog.db.engine import Catalog
from transship.store.errors import NotFoundError
from transship.store.images.build.cache import BuildCache, CacheHit
from transship.store.images.view.details import details
from transship.store.oci.digest import Digest

TARS = [tar_of(file(name, name.encode())) for name in ("one", "two", "three")]
STEP = {"Cmd": ["/bin/sh", "-c", "make"], "Env": ["A=1"]}
HISTORY: list[dict[str, Any]] = [
    {"created": "2024-01-01T00:00:00Z", "created_by": "ADD one"},
    {"created": "2024-01-02T00:00:00Z", "created_by": "ENV A=1", "empty_layer": True},
    {"created": "2024-01-03T00:00:00Z", "created_by": "/bin/sh -c make"},
    {"created": "2024-01-04T00:00:00Z", "created_by": "/bin/sh -c test"},
]
BASE = image_of(TARS[0], history=HISTORY[:1])
WITH_ENV = image_of(TARS[0], history=HISTORY[:2])
BUILT = image_of(*TARS, history=HISTORY, author="Ann")


@pytest.fixture
def shelves(catalog: Catalog) -> ImageFixtures:
    return ImageFixtures(catalog)


def child(step: Mapping[str, Any], *, day: int = 1, tar: bytes = TARS[1]) -> Image:
    """What a step on top of the base gave that day."""
    return image_of(
        TARS[0],
        tar,
        history=[*HISTORY[:1], {"created_by": "make"}],
        container_config=dict(step),
        created=f"2024-02-{day:02}T00:00:00Z",
    )


def look(
    shelves: ImageFixtures,
    step: Mapping[str, Any] = STEP,
    *,
    parent: str | None = "base:1",
    sources: Sequence[str] = (),
) -> CacheHit:
    cache = BuildCache(shelves.catalog, shelves.content)
    return cache.look(HOUSE, step, parent=parent, sources=sources, holder="me", now=shelves.now)


def hold_base(shelves: ImageFixtures) -> None:
    shelves.hold(BASE, "docker.io/library/base:1")


# --- what was built here -------------------------------------------------------------------------


def test_a_child_that_an_equal_step_gave_is_it(shelves: ImageFixtures) -> None:
    hold_base(shelves)
    other, same = child({**STEP, "Env": ["A=2"]}), child(STEP)
    shelves.hold(other, parent=BASE)
    shelves.hold(same, parent=BASE)
    assert look(shelves) == CacheHit(id_of(same))
    assert look(shelves, {**STEP, "User": "x"}) == CacheHit(None)


def test_of_several_it_is_the_newest(shelves: ImageFixtures) -> None:
    hold_base(shelves)
    images = [child(STEP, day=day) for day in (5, 9, 7)]
    for image in images:
        shelves.hold(image, parent=BASE)
    assert look(shelves) == CacheHit(id_of(images[1]))


def test_children_of_others_do_not_count(shelves: ImageFixtures) -> None:
    hold_base(shelves)
    shelves.hold(WITH_ENV, "docker.io/library/other:1")
    shelves.hold(child(STEP), parent=WITH_ENV)
    assert look(shelves) == CacheHit(None)


def test_without_a_parent_what_is_here_proves_nothing(shelves: ImageFixtures) -> None:
    shelves.hold(child(STEP), "docker.io/library/planted:1")
    assert look(shelves, parent=None) == CacheHit(None)


def test_a_parent_that_is_not_here_is_an_error(shelves: ImageFixtures) -> None:
    with pytest.raises(NotFoundError):
        look(shelves)


# --- with sources --------------------------------------------------------------------------------


def test_what_was_built_here_counts_if_a_source_descends_from_it(shelves: ImageFixtures) -> None:
    hold_base(shelves)
    same = child(STEP)
    shelves.hold(same, parent=BASE)
    top = image_of(*TARS, history=[*HISTORY[:1], {"created_by": "make"}, {"created_by": "x"}])
    shelves.hold(top, "docker.io/library/top:1", parent=same)
    shelves.hold(image_of(TARS[2]), "docker.io/library/else:1")
    assert look(shelves, sources=["top:1"]) == CacheHit(id_of(same))
    assert look(shelves, sources=["else:1"]) == CacheHit(None)


def test_a_source_that_ends_with_the_step_becomes_the_child(shelves: ImageFixtures) -> None:
    hold_base(shelves)
    ends = image_of(*TARS[:2], history=[HISTORY[0], HISTORY[2]])
    shelves.hold(ends, "docker.io/library/ends:1")
    assert look(shelves, sources=["ends:1"]) == CacheHit(id_of(ends), "ends:1")
    with shelves.catalog.read() as connection:
        assert lineage.children(connection, HOUSE, id_of(BASE)) == [id_of(ends)]


def test_a_step_in_the_midst_of_a_source_is_made_an_image(shelves: ImageFixtures) -> None:
    shelves.hold(WITH_ENV, "docker.io/library/env:1")
    shelves.hold(BUILT, "docker.io/library/built:1")
    answer = look(shelves, parent="env:1", sources=["built:1"])
    assert answer.source == "built:1"
    assert answer.image_id is not None
    found = shelves.find(answer.image_id)
    with shelves.catalog.read() as connection:
        shown = details(connection, HOUSE, found.image, shelves.content)  # type: ignore[arg-type]
    assert shown.parent == id_of(WITH_ENV)
    assert shown.diff_ids == [str(Digest.of(tar)) for tar in TARS[:2]]
    config = shown.opened.config
    assert config is not None
    assert list(config.history) == HISTORY[:3]
    assert (config.document["config"], config.document["author"]) == (STEP, "Ann")
    assert config.created == HISTORY[2]["created"]
    assert shown.opened.manifest.layers == BUILT.manifest.layers[:2]
    assert shelves.names()[answer.image_id] == []


def test_the_steps_of_a_source_can_be_followed_to_its_end(shelves: ImageFixtures) -> None:
    shelves.hold(BUILT, "docker.io/library/built:1")
    parent: str | None = None
    for step in HISTORY:
        answer = look(shelves, {"Cmd": [step["created_by"]]}, parent=parent, sources=["built:1"])
        assert answer.source == "built:1"
        parent = answer.image_id
    assert parent == id_of(BUILT)
    again = look(shelves, {"Cmd": ["ADD one"]}, parent=None, sources=["built:1"])
    assert again.image_id in shelves.names()


@pytest.mark.parametrize(
    ("step", "parent"),
    [
        ({"Cmd": ["/bin/sh", "-c", "other"]}, "env:1"),
        (STEP, "base:1"),  # the next step of the source is another
        (STEP, "stranger:1"),
        (STEP, "longer:1"),
    ],
    ids=["another command", "a step between", "other layers", "nothing after it"],
)
def test_a_source_that_goes_on_otherwise_does_not_have_it(
    shelves: ImageFixtures, step: dict[str, Any], parent: str
) -> None:
    hold_base(shelves)
    shelves.hold(WITH_ENV, "docker.io/library/env:1")
    shelves.hold(image_of(TARS[2], history=HISTORY[:2]), "docker.io/library/stranger:1")
    longer = [*HISTORY, {"created_by": "more", "empty_layer": True}]
    shelves.hold(image_of(*TARS, history=longer), "docker.io/library/longer:1")
    shelves.hold(BUILT, "docker.io/library/built:1")
    assert look(shelves, step, parent=parent, sources=["built:1"]) == CacheHit(None)


def test_sources_are_asked_in_their_order(shelves: ImageFixtures) -> None:
    hold_base(shelves)
    steps = [HISTORY[0], HISTORY[2]]
    for number, name in enumerate(("first", "second")):
        image = image_of(TARS[0], TARS[number + 1], history=steps)
        shelves.hold(image, f"docker.io/library/{name}:1")
    assert look(shelves, sources=["second:1", "first:1"]).source == "second:1"


def test_sources_that_are_of_no_use_are_named_and_skipped(shelves: ImageFixtures) -> None:
    hold_base(shelves)
    ends = image_of(*TARS[:2], history=[HISTORY[0], HISTORY[2]])
    shelves.hold(ends, "docker.io/library/ends:1")
    silent = image_of(*TARS[:2], history=[])
    shelves.hold(silent, "docker.io/library/silent:1")
    answer = look(shelves, sources=["nothing:1", "silent:1", "ends:1"])
    assert answer == CacheHit(id_of(ends), "ends:1", ("nothing:1", "silent:1"))


def test_an_image_that_is_made_is_one_that_can_be_read(shelves: ImageFixtures) -> None:
    shelves.hold(BUILT, "docker.io/library/built:1")
    answer = look(shelves, {"Cmd": ["ADD one"]}, parent=None, sources=["built:1"])
    found = shelves.find(str(answer.image_id))
    raw = shelves.content.read(Digest.parse(str(answer.image_id)), max_bytes=10_000)
    assert json.loads(raw)["architecture"] == "amd64"
    assert found.image is not None
    assert (found.image.layers, found.image.created) == (1, HISTORY[0]["created"])
