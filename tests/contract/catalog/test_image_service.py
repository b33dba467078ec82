"""Finding, listing, naming, pruning and measuring images, as Docker does."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.contract.catalog.scene import Scene
from tests.contract.catalog.shelves import ImageFixtures, id_of, small
from tests.support.images import ARM64, Image, build_artifact, build_index
from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.content import image_events, lineage
from transship.store.catalog.db.engine import Catalog
from transship.store.errors import (
    InvalidManifestError,
    InvalidReferenceError,
    InvalidSpecError,
    NotFoundError,
    OtherPlatformError,
)
from transship.store.images.edit import prune
from transship.store.images.edit.tag import tag
from transship.store.images.view.details import MISSING, Details, Step, details, history
from transship.store.images.view.filters import PRUNE_KEYS, Filters
from transship.store.images.view.usage import Usage, on_disk, usage
from transship.store.oci.digest import Digest
from transship.store.oci.manifest import Manifest, parse_manifest
from transship.store.oci.platform import Platform

X, Y = small("x"), small("y")
ARM = small("x", platform=ARM64)
ID, HEX = id_of(X), id_of(X).removeprefix("sha256:")
APP, WEB = "docker.io/library/app", "docker.io/library/web"


@pytest.fixture
def shelves(catalog: Catalog) -> ImageFixtures:
    return ImageFixtures(catalog)


def dated(seed: str, day: str, **more: Any) -> Image:
    """An image of that day of 2024."""
    image = small(seed, **more)
    config = image.read(image.manifest.config.digest).replace(b"2024-05-01", f"2024-{day}".encode())
    return _with_config(image, config)


def _with_config(image: Image, config: bytes) -> Image:
    before, after = image.manifest.config, Digest.of(config)
    raw = (
        image.manifest.raw.replace(str(before.digest).encode(), str(after).encode())
        .replace(f'"size": {before.size}'.encode(), f'"size": {len(config)}'.encode(), 1)
    )  # fmt: skip
    manifest = parse_manifest(raw)
    assert isinstance(manifest, Manifest)
    return replace(image, manifest=manifest, blobs={**image.blobs, after: config})


# --- resolving -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "app", "app:latest", "library/app", "docker.io/app", "index.docker.io/library/app:latest",
        ID, HEX, HEX[:12], f"sha256:{HEX[:12]}", HEX[:3],
        str(X.digest), X.digest.hex, X.digest.hex[:12],
        f"app@{X.digest}", f"app:whatever@{X.digest}",
    ],
)  # fmt: skip
def test_an_image_is_found_by(shelves: ImageFixtures, text: str) -> None:
    shelves.hold(X, f"{APP}:latest", f"{APP}@{X.digest}")
    found = shelves.find(text)
    assert (str(found.root.digest), found.local.id) == (str(X.digest), ID)


@pytest.mark.parametrize(
    "text",
    [
        "app:2", "team/app", "localhost/app", f"web@{X.digest}", "0" * 64, f"sha256:{'0' * 64}",
        "000", f"{HEX[:12]}:latest", f"sha512:{HEX[:12]}", f"app@{ID}",
    ],
)  # fmt: skip
def test_an_image_is_not_found_by(shelves: ImageFixtures, text: str) -> None:
    shelves.hold(X, f"{APP}:latest", f"{APP}@{X.digest}")
    with pytest.raises(NotFoundError, match="No such image: "):
        shelves.find(text)


@pytest.mark.parametrize("text", ["App", "app:", "app app", "-app", HEX.upper(), "app@sha256:12"])
def test_what_can_be_neither_name_nor_id_is_refused(shelves: ImageFixtures, text: str) -> None:
    with pytest.raises(InvalidReferenceError):
        shelves.find(text)


def test_a_name_goes_before_an_id_that_begins_so(shelves: ImageFixtures) -> None:
    shelves.hold(X)
    shelves.hold(Y, f"docker.io/library/{HEX[:8]}:latest")
    assert shelves.find(HEX[:8]).local.id == id_of(Y)
    assert shelves.find(HEX[:9]).local.id == ID
    assert shelves.find(f"sha256:{HEX[:8]}").local.id == ID


def test_a_whole_id_is_no_name(shelves: ImageFixtures) -> None:
    shelves.hold(X)
    with pytest.raises(NotFoundError):
        shelves.find(id_of(Y))


def test_a_beginning_of_two_ids_is_none(shelves: ImageFixtures) -> None:
    made = [small(f"image {number}") for number in range(17)]  # there are 16 digits
    for image in made:
        shelves.hold(image)
    firsts = [id_of(image)[7] for image in made]
    with pytest.raises(NotFoundError, match="No such image: ") as refused:
        shelves.find(max(firsts, key=firsts.count))
    assert refused.value.hint == "more than one image has an ID that begins so"
    assert shelves.find(id_of(made[0])[7:19]).local.id == id_of(made[0])


def test_the_id_of_one_image_goes_before_the_digest_of_another(shelves: ImageFixtures) -> None:
    shelves.hold(X)
    for length in range(1, 64):
        prefix = X.digest.hex[:length]
        if not HEX.startswith(prefix):
            assert shelves.find(prefix).local.id == ID
    assert shelves.find(HEX[:1]).local.id == ID


# --- platforms -----------------------------------------------------------------------------------


def test_an_index_answers_with_the_image_for_this_host(shelves: ImageFixtures) -> None:
    index = build_index([ARM, X])
    shelves.hold(index, f"{APP}:1")
    found = shelves.find("app:1")
    assert found.image is not None
    assert (str(found.root.digest), found.image.image_id) == (str(index.digest), ID)


def test_an_index_without_this_host_answers_with_its_first(shelves: ImageFixtures) -> None:
    shelves.hold(build_index([ARM, X]), f"{APP}:1", only=[ARM])
    found = shelves.find("app:1")
    assert found.image is not None
    assert found.image.image_id == id_of(ARM)


def test_a_platform_can_be_asked_for(shelves: ImageFixtures) -> None:
    shelves.hold(build_index([X, ARM]), f"{APP}:1")
    found = shelves.find("app:1", ARM64)
    assert found.image is not None
    assert found.image.image_id == id_of(ARM)


@pytest.mark.parametrize("text", ["app:1", ID])
def test_another_platform_gives_the_image_and_says_that_it_is_another(
    shelves: ImageFixtures, text: str
) -> None:
    shelves.hold(X, f"{APP}:1")
    with pytest.raises(OtherPlatformError) as caught:
        shelves.find(text, ARM64)
    expected = {"id": ID, "digest": str(X.digest), "platform": "linux/amd64"}
    assert caught.value.image == expected
    assert caught.value.as_json()["image"] == expected


def test_an_image_without_a_variant_is_for_every_one(shelves: ImageFixtures) -> None:
    shelves.hold(small("plain arm", platform=Platform("linux", "arm")), f"{APP}:1")
    assert shelves.find("app:1", Platform("linux", "arm", "v6")).image is not None


# --- lists ---------------------------------------------------------------------------------------

OLD = dated("old", "01-01", labels={"a": "1"})
MIDDLE = dated("middle", "02-01", labels={"a": "2", "b": ""})
NEW = dated("new", "03-01")


def _ids(shelves: ImageFixtures, *filters: str, all_: bool = False) -> list[str]:
    return [one.image.id for one in shelves.listed(*filters, all_=all_)]


def test_images_come_newest_first(shelves: ImageFixtures) -> None:
    for image in (MIDDLE, OLD, NEW):
        shelves.hold(image)
    assert _ids(shelves) == [id_of(NEW), id_of(MIDDLE), id_of(OLD)]


def test_each_image_comes_once_with_all_its_names(shelves: ImageFixtures) -> None:
    shelves.hold(X, "localhost:5000/team/web:1", f"{WEB}:1", f"{APP}:2", f"{APP}@{X.digest}")
    (one,) = shelves.listed()
    assert one.tags == [f"{APP}:2", f"{WEB}:1", "localhost:5000/team/web:1"]
    assert one.digests == [f"{APP}@{X.digest}"]


def test_unnamed_parents_are_shown_only_if_asked_for(shelves: ImageFixtures) -> None:
    shelves.hold(X)
    shelves.hold(small("child", base=X), f"{WEB}:1", parent=X)
    assert ID not in _ids(shelves)
    assert ID in _ids(shelves, all_=True)
    (child,) = shelves.listed()
    assert child.parent_id == ID


def test_images_of_another_platform_are_not_listed_beside_their_index(
    shelves: ImageFixtures,
) -> None:
    shelves.hold(build_index([X, ARM]), f"{APP}:1")
    (one,) = shelves.listed(all_=True)
    assert [row.image_id for row in one.image.members] == [ID, id_of(ARM)]


def test_what_is_no_image_is_listed_under_its_name(shelves: ImageFixtures) -> None:
    shelves.hold(build_artifact(b"sbom"), f"{APP}:sbom")
    shelves.hold(build_index([]), f"{APP}:nothing")
    assert sorted(tag for one in shelves.listed() for tag in one.tags) == [
        f"{APP}:nothing",
        f"{APP}:sbom",
    ]


NAMED, DIGEST_ONLY, DANGLING, PARENT = "named", "digest only", "dangling", "parent"
KNOWN = {NAMED: OLD, DIGEST_ONLY: MIDDLE, DANGLING: NEW, PARENT: X}


def _mixed(shelves: ImageFixtures) -> None:
    shelves.hold(OLD, f"{APP}:1", f"{WEB}:1", "registry.test/team/app:2")
    shelves.hold(MIDDLE, f"{APP}@{MIDDLE.digest}")
    shelves.hold(NEW)
    shelves.hold(X)
    shelves.hold(small("child", base=X), "registry.test/child:1", parent=X)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["dangling=true"], [DANGLING, DIGEST_ONLY]),
        (["dangling=1"], [DANGLING, DIGEST_ONLY]),
        (["dangling=false", "label=a"], [DIGEST_ONLY, NAMED]),
        (["label=a"], [DIGEST_ONLY, NAMED]),
        (["label=a=1"], [NAMED]),
        (["label=b="], [DIGEST_ONLY]),
        (["label=a", "label=b"], [DIGEST_ONLY]),
        (["label=nothing"], []),
        (["reference=app"], [DIGEST_ONLY, NAMED]),
        (["reference=app:1"], [NAMED]),
        (["reference=a?p:*"], [NAMED]),
        (["reference=[a-b]pp:1"], [NAMED]),
        (["reference=*"], [DIGEST_ONLY, NAMED]),
        (["reference=*/*/app"], [NAMED]),
        (["reference=nothing", "reference=web"], [NAMED]),
        (["before=app:1"], []),
        ([f"before={id_of(NEW)}", "label=a"], [DIGEST_ONLY, NAMED]),
        (["since=app:1", "dangling=true"], [DANGLING, DIGEST_ONLY]),
        (["until=2024-02-02", "label=a"], [DIGEST_ONLY, NAMED]),
        (["until=2024-02-01T11:59:59Z"], [NAMED]),
    ],
    ids=str,
)
def test_the_list_is_filtered(
    shelves: ImageFixtures, filters: list[str], expected: list[str]
) -> None:
    _mixed(shelves)
    assert _ids(shelves, *filters) == [id_of(KNOWN[name]) for name in expected]


def test_the_reference_filter_leaves_only_the_names_that_match(shelves: ImageFixtures) -> None:
    _mixed(shelves)
    (one,) = shelves.listed("reference=web", "reference=registry.test/*/*:2")
    assert one.tags == [f"{WEB}:1", "registry.test/team/app:2"]


@pytest.mark.parametrize(
    "text",
    [
        "odd=1", "dangling", "dangling=maybe", "reference=[a", "until=yesterday", "label!=a",
        "reference=[z-a]",
    ],
)  # fmt: skip
def test_a_filter_that_cannot_be_is_refused_by_its_name(shelves: ImageFixtures, text: str) -> None:
    shelves.hold(X, f"{APP}:1")
    with pytest.raises(InvalidSpecError) as caught:
        shelves.listed(text)
    assert caught.value.errors[0]["field"] == "filter"


@pytest.mark.parametrize("key", ["before", "since"])
def test_an_image_to_compare_with_has_to_be_there(shelves: ImageFixtures, key: str) -> None:
    with pytest.raises(NotFoundError):
        shelves.listed(f"{key}=nothing")


# --- names ---------------------------------------------------------------------------------------


def _tag(shelves: ImageFixtures, source: str, target: str) -> str:
    with shelves.catalog.write() as connection:
        return tag(connection, HOUSE, source, target, now=shelves.now, host=shelves.host).familiar


@pytest.mark.parametrize(
    ("target", "named"),
    [
        ("web", "web:latest"),
        ("docker.io/library/hub:1", "hub:1"),
        ("localhost/web", "localhost/web:latest"),
        ("team/sha256:1", "team/sha256:1"),
    ],
)
def test_an_image_gets_a_name(shelves: ImageFixtures, target: str, named: str) -> None:
    shelves.hold(X, f"{APP}:1")
    assert _tag(shelves, "app:1", target) == named
    assert sorted(shelves.names()[ID]) == sorted(["app:1", named])


def test_a_name_is_taken_from_another_image(shelves: ImageFixtures) -> None:
    shelves.hold(X, f"{APP}:1")
    shelves.hold(Y, f"{APP}:2")
    _tag(shelves, HEX[:12], "app:2")
    assert shelves.names() == {ID: ["app:1", "app:2"], id_of(Y): []}
    (event,) = shelves.events()
    labels = {"org.example.seed": "x"}
    assert (event.action, event.actor) == ("tag", ID)
    assert event.attributes == {**labels, "name": "app:2"}


def test_an_index_keeps_its_platforms_under_another_name(shelves: ImageFixtures) -> None:
    shelves.hold(build_index([X, ARM]), f"{APP}:1")
    _tag(shelves, "app:1", "web:1")
    assert shelves.find("web:1", ARM64).image is not None


@pytest.mark.parametrize(
    "target", [f"web@{X.digest}", f"web:1@{X.digest}", "sha256", "sha256:1", "Web:1", "web:-1"]
)
def test_a_name_that_would_not_do_is_refused(shelves: ImageFixtures, target: str) -> None:
    shelves.hold(X, f"{APP}:1")
    with pytest.raises(InvalidReferenceError):
        _tag(shelves, "app:1", target)
    assert shelves.names() == {ID: ["app:1"]}


def test_tagging_is_remembered_and_pulling_is_not(scene: Scene) -> None:
    shelves = ImageFixtures(scene.catalog)
    shelves.hold(X, f"{APP}:1")
    assert _details(shelves, "app:1").tagged_at is None
    _tag(shelves, "app:1", "app:2")
    assert _details(shelves, "app:1").tagged_at == shelves.now


# --- details and history -------------------------------------------------------------------------


def _details(shelves: ImageFixtures, text: str) -> Details:
    found = shelves.find(text)
    with shelves.catalog.read() as connection:
        return details(connection, HOUSE, found.image, shelves.content)  # type: ignore[arg-type]


def _history(shelves: ImageFixtures, text: str) -> list[Step]:
    found = shelves.find(text)
    with shelves.catalog.read() as connection:
        return history(connection, HOUSE, found.image, shelves.content, shelves.host)  # type: ignore[arg-type]


def _edited(image: Image, change: Callable[[dict[str, Any]], None]) -> Image:
    document = json.loads(image.read(image.manifest.config.digest))
    change(document)
    return _with_config(image, json.dumps(document).encode())


def _with_history(image: Image, *steps: dict[str, Any]) -> Image:
    return _edited(image, lambda document: document.update(history=list(steps)))


ADD = {"created": "2024-05-01T12:00:00Z", "created_by": "ADD one", "comment": "first"}
COPY = {"created": "2024-05-01T12:00:01Z", "created_by": "COPY two"}
ENV = {"created": "2024-05-01T12:00:02Z", "created_by": "ENV A=1", "empty_layer": True}


def test_history_goes_back_from_the_newest_step(shelves: ImageFixtures) -> None:
    image = _with_history(X, ADD, ENV, COPY)
    shelves.hold(image, f"{APP}:1", f"{WEB}:1")
    steps = _history(shelves, "app:1")
    sizes = [layer.size for layer in image.manifest.layers]
    assert [(s.created_by, s.size) for s in steps] == [
        ("COPY two", sizes[1]),
        ("ENV A=1", 0),
        ("ADD one", sizes[0]),
    ]
    assert [s.id for s in steps] == [id_of(image), MISSING, MISSING]
    assert [s.tags for s in steps] == [("app:1", "web:1"), (), ()]
    assert steps[-1].comment == "first"


def test_steps_have_the_ids_of_parents_that_are_here(shelves: ImageFixtures) -> None:
    base = _with_history(X, ADD, COPY)
    child = _with_history(small("child", base=X, layers=1), ADD, COPY, COPY)
    shelves.hold(base, f"{APP}:base")
    shelves.hold(child, f"{APP}:1", parent=base)
    steps = _history(shelves, "app:1")
    assert [s.id for s in steps] == [id_of(child), id_of(base), MISSING]
    assert [s.tags for s in steps] == [("app:1",), ("app:base",), ()]


def test_more_steps_than_layers_are_an_error(shelves: ImageFixtures) -> None:
    shelves.hold(_with_history(X, ADD, COPY, COPY), f"{APP}:1")
    with pytest.raises(InvalidManifestError, match="more steps"):
        _history(shelves, "app:1")


def test_an_image_without_history_has_none(shelves: ImageFixtures) -> None:
    shelves.hold(_edited(X, lambda document: document.pop("history", None)), f"{APP}:1")
    assert _history(shelves, "app:1") == []


@pytest.mark.parametrize(
    ("own", "last", "comment"), [("own", "last", "own"), ("", "last", "last"), ("", "", "")]
)
def test_the_comment_is_the_configs_or_that_of_the_last_step(
    shelves: ImageFixtures, own: str, last: str, comment: str
) -> None:
    image = _edited(
        X, lambda document: document.update(comment=own, history=[ADD, {**COPY, "comment": last}])
    )
    shelves.hold(image, f"{APP}:1")
    assert _details(shelves, "app:1").comment == comment


def test_children_are_direct_ones(shelves: ImageFixtures) -> None:
    child = small("child", base=X)
    shelves.hold(X)
    shelves.hold(child, parent=X)
    shelves.hold(small("grandchild", base=child), parent=child)
    with shelves.catalog.read() as connection:
        assert lineage.children(connection, HOUSE, ID) == [id_of(child)]


# --- prune ---------------------------------------------------------------------------------------


def _choice(shelves: ImageFixtures, *filters: str) -> prune.Choice:
    return prune.Choice(Filters.parse(filters, PRUNE_KEYS), now=shelves.now, host=shelves.host)


def _prune(shelves: ImageFixtures, *filters: str) -> tuple[list[dict[str, str]], int]:
    """What a prune removes, in one go."""
    choice = _choice(shelves, *filters)
    removed = []
    with shelves.catalog.write() as connection:
        for id_ in prune.candidates(connection, choice):
            removed += prune.prune_one(connection, shelves.content, id_, choice, now=shelves.now)
        reclaimed = sum(one.size for one in removed)
        prune.record(connection, reclaimed, shelves.now)
    return [one.as_json() for one in removed], reclaimed


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        ([], [NAMED, PARENT]),
        (["dangling=true"], [NAMED, PARENT]),
        (["dangling=false"], []),
        (["dangling=0"], []),
        (["label=a"], [NAMED, DANGLING, PARENT]),
        (["label=a", "dangling=false"], [DANGLING, PARENT]),
        (["label=a=1", "label=a=2", "dangling=false"], [NAMED, DIGEST_ONLY, DANGLING, PARENT]),
        (["label!=a"], [NAMED, DIGEST_ONLY, PARENT]),
        (["label!=a", "label!=b"], [NAMED, DIGEST_ONLY, PARENT]),
        (["label!=a=1", "dangling=false"], [NAMED]),
        (["until=2024-02-02"], [NAMED, DANGLING, PARENT]),
        (["until=1706788800"], [NAMED, DANGLING, PARENT]),
        (["until=24h"], [NAMED, DIGEST_ONLY, DANGLING, PARENT]),
    ],
    ids=str,
)
def test_a_prune_leaves(shelves: ImageFixtures, filters: list[str], left: list[str]) -> None:
    shelves.now = 1_704_067_200.0 + 86400  # a day after the oldest was made
    _mixed(shelves)
    removed, _ = _prune(shelves, *filters)
    held = shelves.names()
    assert {name for name, image in KNOWN.items() if id_of(image) in held} == set(left)
    gone = {one["deleted"] for one in removed if "deleted" in one}
    assert gone.isdisjoint(held)


def test_what_a_prune_frees_are_the_layers_that_no_image_has_any_more(
    shelves: ImageFixtures,
) -> None:
    shelves.hold(X)
    shelves.hold(small("x", labels={"again": "yes"}), f"{APP}:1")
    assert _prune(shelves) == ([{"deleted": ID}], 0)
    _, reclaimed = _prune(shelves, "dangling=false")
    assert reclaimed == sum(layer.size for layer in X.manifest.layers)
    told = [event for event in shelves.events() if event.action == "prune"]
    assert [(event.actor, event.attributes) for event in told] == [
        ("", {"reclaimed": "0"}),
        ("", {"reclaimed": str(reclaimed)}),
    ]


@pytest.mark.parametrize("busy", [False, True])
def test_of_an_image_in_use_all_names_but_the_last_go(shelves: ImageFixtures, busy: bool) -> None:
    shelves.hold(X, f"{APP}:1", f"{APP}:2", f"{WEB}:1")
    shelves.workspace("one", X, busy=busy)
    removed, _ = _prune(shelves, "dangling=false")
    assert removed == [{"untagged": "app:1"}, {"untagged": "app:2"}]
    assert shelves.names() == {ID: ["web:1"]}


def test_a_parent_with_a_name_goes_with_its_child(shelves: ImageFixtures) -> None:
    shelves.hold(X, f"{APP}:base")
    shelves.hold(small("child", base=X), f"{APP}:1", parent=X)
    _prune(shelves, "dangling=false")
    assert shelves.names() == {}


def test_an_image_that_is_gone_is_not_pruned_twice(shelves: ImageFixtures) -> None:
    with shelves.catalog.write() as connection:
        assert prune.prune_one(connection, shelves.content, ID, _choice(shelves), now=0) == []


@pytest.mark.parametrize("change", ["tag", "child"])
def test_what_is_put_to_use_after_it_was_chosen_stays(shelves: ImageFixtures, change: str) -> None:
    shelves.hold(X)
    choice = _choice(shelves)
    with shelves.catalog.read() as connection:
        assert prune.candidates(connection, choice) == [ID]
    if change == "tag":
        shelves.hold(X, f"{APP}:1")
    else:
        shelves.hold(small("child", base=X), f"{APP}:1", parent=X)
    with shelves.catalog.write() as connection:
        assert prune.prune_one(connection, shelves.content, ID, choice, now=0) == []
    assert ID in shelves.names()


# --- usage ---------------------------------------------------------------------------------------


def _usage(shelves: ImageFixtures) -> Usage:
    with shelves.catalog.read() as connection:
        return usage(
            connection, HOUSE, on_disk(shelves.content), now=shelves.now, host=shelves.host
        )


def _layers(image: Image) -> int:
    return sum(layer.size for layer in image.manifest.layers)


def test_an_empty_store_takes_up_nothing(shelves: ImageFixtures) -> None:
    found = _usage(shelves)
    assert found.store is not None
    assert (found.images, found.layers_size, found.reclaimable, found.store.blobs) == ((), 0, 0, 0)


def test_layers_that_images_share_count_once(shelves: ImageFixtures) -> None:
    child = small("child", base=X, layers=1)
    shelves.hold(X, f"{APP}:base")
    shelves.hold(child, f"{APP}:1")
    shelves.hold(Y, f"{WEB}:1")
    found = _usage(shelves)
    assert found.layers_size == _layers(child) + _layers(Y)
    by_id = {one.summary.image.id: one for one in found.images}
    assert {id_: one.shared for id_, one in by_id.items()} == {
        ID: _layers(X),
        id_of(child): _layers(X),
        id_of(Y): 0,
    }
    assert by_id[id_of(child)].unique == child.size - _layers(X)
    assert found.reclaimable == found.layers_size == _layers(child) + _layers(Y)


def test_what_a_workspace_stands_on_is_active_and_not_reclaimable(shelves: ImageFixtures) -> None:
    shelves.hold(X, f"{APP}:1")
    shelves.hold(Y, f"{WEB}:1")
    shelves.workspace("one", X)
    found = _usage(shelves)
    assert (found.active, found.reclaimable) == (1, _layers(Y))
    assert [one.summary.containers for one in found.images if one.summary.image.id == ID] == [1]


def test_an_unnamed_parent_is_counted_with_its_child(shelves: ImageFixtures) -> None:
    child = small("child", base=X, layers=1)
    shelves.hold(X)
    shelves.hold(child, f"{APP}:1", parent=X)
    found = _usage(shelves)
    assert [one.summary.image.id for one in found.images] == [id_of(child)]
    assert found.layers_size == _layers(child)


def test_the_store_counts_blobs_partials_and_trash(shelves: ImageFixtures) -> None:
    shelves.hold(X, f"{APP}:1")
    with shelves.content.ingest(Y.digest, fence=1) as ingest:
        ingest.write(b"half")
    shelves.content.remove(X.manifest.layers[0].digest)
    status = _usage(shelves).store
    assert status is not None
    assert (status.partials, status.partial_bytes) == (1, 4)
    assert (status.trash, status.trash_bytes) == (1, X.manifest.layers[0].size)
    assert status.blobs == 1 + len(X.manifest.blobs)
    assert status.blob_bytes == len(X.manifest.raw) + X.size


def test_no_event_is_recorded_that_docker_does_not_know(catalog: Catalog) -> None:
    with catalog.write() as connection, pytest.raises(AssertionError):
        image_events.record(connection, HOUSE, "squash", "", {}, 0)
