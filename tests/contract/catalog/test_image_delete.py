"""Docker's table of what becomes of an image that is to be deleted, line by line."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.catalog.scene import Scene
from tests.contract.catalog.shelves import ImageFixtures, deleted, describe_chain, id_of, small
from tests.support.images import ARM64, build_artifact, build_index
from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.content import blobs
from transship.store.catalog.db.engine import Catalog
from transship.store.errors import ConflictError, InvalidReferenceError, NotFoundError
from transship.store.images.edit.delete import Deletion

X = small("x")
ID = id_of(X)
SHORT = ID.removeprefix("sha256:")[:12]
DIGEST = str(X.digest)
APP, WEB = "docker.io/library/app", "docker.io/library/web"
GONE = deleted(X)
REFUSED = "refused"

ONE, TWO, ELSEWHERE, NONE = (f"{APP}:1",), (f"{APP}:1", f"{APP}:2"), (f"{APP}:1", f"{WEB}:1"), ()
PULLED = (f"{APP}:1", f"{APP}@{DIGEST}")


def untagged(*names: str) -> list[dict[str, str]]:
    return [{"untagged": name} for name in names]


BOTH = untagged("app:1", f"app@{DIGEST}")


@pytest.fixture
def shelves(catalog: Catalog) -> ImageFixtures:
    return ImageFixtures(catalog)


def _attempt(shelves: ImageFixtures, text: str, *, force: bool) -> Any:
    """What was removed; of a refusal, that nothing was changed."""
    before, events = shelves.names(), shelves.events()
    try:
        return shelves.rm(text, force=force)
    except ConflictError:
        assert (shelves.names(), shelves.events()) == (before, events)
        return REFUSED


# names, what is given, then what becomes of it without and with force
UNUSED: list[tuple[tuple[str, ...], str, Any, Any]] = [
    (NONE, ID, GONE, GONE),
    (NONE, SHORT, GONE, GONE),
    (NONE, DIGEST, GONE, GONE),
    (ONE, "app:1", [*untagged("app:1"), *GONE], [*untagged("app:1"), *GONE]),
    (ONE, SHORT, [*untagged("app:1"), *GONE], [*untagged("app:1"), *GONE]),
    (TWO, "app:1", untagged("app:1"), untagged("app:1")),
    (TWO, ID, REFUSED, [*untagged("app:1", "app:2"), *GONE]),
    (ELSEWHERE, "app:1", untagged("app:1"), untagged("app:1")),
    (ELSEWHERE, ID, REFUSED, [*untagged("app:1", "web:1"), *GONE]),
    (PULLED, "app:1", [*BOTH, *GONE], [*BOTH, *GONE]),
    (PULLED, f"app@{DIGEST}", untagged(f"app@{DIGEST}"), untagged(f"app@{DIGEST}")),
    (PULLED, f"app:odd@{DIGEST}", untagged(f"app@{DIGEST}"), untagged(f"app@{DIGEST}")),
    (PULLED, ID, [*BOTH, *GONE], [*BOTH, *GONE]),
    ((f"{APP}@{DIGEST}",), f"app@{DIGEST}", [*BOTH[1:], *GONE], [*BOTH[1:], *GONE]),
    ((f"{APP}:1", f"{WEB}@{DIGEST}"), "app:1", untagged("app:1"), untagged("app:1")),
    ((f"{APP}:1", f"{WEB}@{DIGEST}"), ID, REFUSED, [*untagged("app:1", f"web@{DIGEST}"), *GONE]),
]  # fmt: skip


@pytest.mark.parametrize("force", [False, True], ids=["plain", "force"])
@pytest.mark.parametrize(("names", "given", "plain", "forced"), UNUSED)
def test_an_image_that_nobody_uses(
    shelves: ImageFixtures, names: tuple[str, ...], given: str, plain: Any, forced: Any, force: bool
) -> None:
    shelves.hold(X, *names)
    assert _attempt(shelves, given, force=force) == (forced if force else plain)


ALONE = GONE[:1]  # the workspace still needs the layers
IDLE: list[tuple[tuple[str, ...], str, Any, Any]] = [
    (NONE, ID, REFUSED, ALONE),
    (ONE, "app:1", REFUSED, [*untagged("app:1"), *ALONE]),
    (ONE, ID, REFUSED, [*untagged("app:1"), *ALONE]),
    (TWO, "app:1", untagged("app:1"), untagged("app:1")),
    (TWO, ID, REFUSED, [*untagged("app:1", "app:2"), *ALONE]),
    (PULLED, "app:1", REFUSED, [*BOTH, *ALONE]),
    (PULLED, f"app@{DIGEST}", REFUSED, BOTH[1:]),
]
BUSY: list[tuple[tuple[str, ...], str, Any, Any]] = [
    (NONE, ID, REFUSED, REFUSED),
    (ONE, "app:1", REFUSED, untagged("app:1")),
    (ONE, ID, REFUSED, REFUSED),
    (TWO, "app:1", untagged("app:1"), untagged("app:1")),
    (TWO, ID, REFUSED, REFUSED),
    (PULLED, "app:1", REFUSED, BOTH),
]
PARENT: list[tuple[tuple[str, ...], str, Any, Any]] = [
    (NONE, ID, REFUSED, REFUSED),
    (ONE, "app:1", untagged("app:1"), untagged("app:1")),
    (ONE, ID, REFUSED, REFUSED),
    (TWO, "app:1", untagged("app:1"), untagged("app:1")),
    (TWO, ID, REFUSED, REFUSED),
]


@pytest.mark.parametrize("force", [False, True], ids=["plain", "force"])
@pytest.mark.parametrize(("names", "given", "plain", "forced"), IDLE)
def test_an_image_under_an_idle_workspace(
    shelves: ImageFixtures, names: tuple[str, ...], given: str, plain: Any, forced: Any, force: bool
) -> None:
    shelves.hold(X, *names)
    shelves.workspace("idle-one", X)
    assert _attempt(shelves, given, force=force) == (forced if force else plain)


@pytest.mark.parametrize("force", [False, True], ids=["plain", "force"])
@pytest.mark.parametrize(("names", "given", "plain", "forced"), BUSY)
def test_an_image_under_a_busy_workspace(
    shelves: ImageFixtures, names: tuple[str, ...], given: str, plain: Any, forced: Any, force: bool
) -> None:
    shelves.hold(X, *names)
    shelves.workspace("busy-one", X, busy=True)
    assert _attempt(shelves, given, force=force) == (forced if force else plain)


@pytest.mark.parametrize("force", [False, True], ids=["plain", "force"])
@pytest.mark.parametrize(("names", "given", "plain", "forced"), BUSY)
def test_an_image_that_a_job_works_on(
    scene: Scene, names: tuple[str, ...], given: str, plain: Any, forced: Any, force: bool
) -> None:
    shelves = ImageFixtures(scene.catalog)
    shelves.hold(X, *names)
    lease = scene.job("at it")
    with scene.catalog.write() as connection:
        blobs.lease(connection, lease.id, [DIGEST])
    assert _attempt(shelves, given, force=force) == (forced if force else plain)
    scene.end(lease)
    assert shelves.rm(ID, force=True)[-len(GONE) :] == GONE


@pytest.mark.parametrize("force", [False, True], ids=["plain", "force"])
@pytest.mark.parametrize(("names", "given", "plain", "forced"), PARENT)
def test_an_image_that_another_was_made_from(
    shelves: ImageFixtures, names: tuple[str, ...], given: str, plain: Any, forced: Any, force: bool
) -> None:
    shelves.hold(X, *names)
    shelves.hold(small("child", base=X), f"{WEB}:child", parent=X)
    assert _attempt(shelves, given, force=force) == (forced if force else plain)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ("nothing", NotFoundError),
        ("app", NotFoundError),
        ("app:2", NotFoundError),
        ("APP:1", InvalidReferenceError),
        ("app:1:2", InvalidReferenceError),
        (f"sha256:{'0' * 64}", NotFoundError),
        (f"app@sha256:{'0' * 64}", NotFoundError),
    ],
)
def test_what_is_not_there_cannot_be_removed(
    shelves: ImageFixtures, given: str, error: type[Exception]
) -> None:
    shelves.hold(X, *ONE)
    with pytest.raises(error):
        shelves.rm(given, force=True)
    assert shelves.names() == {ID: ["app:1"]}


def test_a_name_that_begins_the_id_of_its_image_counts_as_an_id(shelves: ImageFixtures) -> None:
    shelves.hold(X, f"docker.io/library/{SHORT}:latest", *ONE)
    assert _attempt(shelves, SHORT, force=False) == REFUSED


def test_a_name_of_one_image_goes_before_the_id_of_another(shelves: ImageFixtures) -> None:
    other = small("other")
    shelves.hold(X)
    shelves.hold(other, f"docker.io/library/{SHORT}:latest")
    assert shelves.rm(SHORT) == [*untagged(f"{SHORT}:latest"), *deleted(other)]
    assert shelves.names() == {ID: []}


# --- parents and layers --------------------------------------------------------------------------

FIRST = X
SECOND = small("second", base=X, layers=1)
THIRD = small("third", base=SECOND, layers=1)


def _family(shelves: ImageFixtures, *names_of_first: str) -> None:
    shelves.hold(FIRST, *names_of_first)
    shelves.hold(SECOND, parent=FIRST)
    shelves.hold(THIRD, *ONE, parent=SECOND)


def test_what_an_image_was_made_from_goes_with_it(shelves: ImageFixtures) -> None:
    _family(shelves)
    assert shelves.rm("app:1") == [
        *untagged("app:1"),
        *deleted(THIRD, layers=1),
        *deleted(SECOND, layers=1),
        *deleted(FIRST),
    ]
    assert shelves.names() == {}


def test_what_an_image_was_made_from_stays_if_asked_for(shelves: ImageFixtures) -> None:
    _family(shelves)
    assert shelves.rm("app:1", prune=False) == [*untagged("app:1"), *deleted(THIRD, layers=1)]
    assert shelves.names().keys() == {id_of(FIRST), id_of(SECOND)}


def test_a_parent_with_a_name_stays(shelves: ImageFixtures) -> None:
    _family(shelves, f"{WEB}:1")
    shelves.rm("app:1")
    assert shelves.names() == {id_of(FIRST): ["web:1"]}


@pytest.mark.parametrize("busy", [False, True])
def test_a_parent_under_a_workspace_stays(shelves: ImageFixtures, busy: bool) -> None:
    _family(shelves)
    shelves.workspace("one", FIRST, busy=busy)
    shelves.rm("app:1", force=True)
    assert shelves.names() == {id_of(FIRST): []}


def test_a_parent_with_another_child_stays(shelves: ImageFixtures) -> None:
    _family(shelves)
    other = small("other child", base=FIRST, layers=1)
    shelves.hold(other, f"{WEB}:1", parent=FIRST)
    shelves.rm("app:1")
    assert shelves.names().keys() == {id_of(FIRST), id_of(other)}


def test_layers_that_another_image_has_are_not_told_of(shelves: ImageFixtures) -> None:
    shelves.hold(X, f"{WEB}:1")
    shelves.hold(SECOND, *ONE)
    assert shelves.rm("app:1") == [*untagged("app:1"), *deleted(SECOND, layers=1)]
    assert shelves.rm("web:1") == [*untagged("web:1"), *GONE]


def test_layers_are_the_same_however_they_are_compressed(shelves: ImageFixtures) -> None:
    again = small("x", compression="zstd", labels={"again": "yes"})
    assert again.manifest.layers != X.manifest.layers
    shelves.hold(again, f"{WEB}:1")
    shelves.hold(X, *ONE)
    assert shelves.rm("app:1") == [*untagged("app:1"), *GONE[:1]]


def test_the_same_layer_at_another_depth_is_another_one(shelves: ImageFixtures) -> None:
    repeated = small("x", repeated_layer=True, labels={"again": "yes"})
    shelves.hold(X, *ONE)
    shelves.hold(repeated, f"{WEB}:1")
    assert shelves.rm("web:1") == [*untagged("web:1"), *deleted(repeated, layers=1)]


def test_an_image_of_which_the_bytes_are_lost_can_still_be_removed(shelves: ImageFixtures) -> None:
    shelves.hold(X, *ONE)
    shelves.content.remove(X.manifest.config.digest)
    assert shelves.rm("app:1") == [*untagged("app:1"), *GONE[:1]]
    assert shelves.names() == {}


# --- what Docker does not have: indexes, two manifests of one config, artifacts ------------------

ARM = small("x", platform=ARM64)
INDEX = build_index([X, ARM])
PARTS = [*GONE, *deleted(ARM)]


def test_with_the_last_name_of_an_index_all_its_images_go(shelves: ImageFixtures) -> None:
    shelves.hold(INDEX, *ONE)
    assert shelves.rm("app:1") == [*untagged("app:1"), *PARTS]
    with shelves.catalog.read() as connection:
        assert blobs.children(connection, str(INDEX.digest)) == set()


def test_an_index_goes_by_the_id_of_the_image_for_this_host(shelves: ImageFixtures) -> None:
    shelves.hold(INDEX, *ONE)
    assert shelves.rm(ID) == [*untagged("app:1"), *PARTS]


def test_an_image_of_an_index_does_not_go_alone(shelves: ImageFixtures) -> None:
    shelves.hold(INDEX, *ONE)
    with pytest.raises(ConflictError, match="belongs to app:1"):
        shelves.rm(id_of(ARM), force=True)
    assert shelves.names() == {ID: ["app:1"]}


def test_an_image_that_is_named_itself_outlives_its_index(shelves: ImageFixtures) -> None:
    shelves.hold(INDEX, *ONE)
    shelves.hold(ARM, f"{WEB}:arm")
    assert shelves.rm("app:1") == [*untagged("app:1"), *GONE]
    assert shelves.names() == {id_of(ARM): ["web:arm"]}


def test_a_part_of_an_index_only_loses_the_name_of_its_own(shelves: ImageFixtures) -> None:
    shelves.hold(INDEX, *ONE)
    shelves.hold(ARM, f"{WEB}:arm")
    assert shelves.rm("web:arm") == untagged("web:arm")
    assert shelves.find("app:1", ARM64).image is not None


def test_an_index_of_which_nothing_is_held_can_be_removed(shelves: ImageFixtures) -> None:
    shelves.hold(build_index([]), *ONE)
    assert shelves.rm("app:1") == untagged("app:1")
    assert shelves.names() == {}


def test_one_config_in_two_manifests_is_one_image(shelves: ImageFixtures) -> None:
    shelves.hold(X, *ONE)
    shelves.hold(small("x", media="docker"), f"{APP}:2")
    assert shelves.names() == {ID: ["app:1", "app:2"]}
    assert shelves.rm("app:2") == untagged("app:2")
    assert shelves.rm("app:1") == [*untagged("app:1"), *GONE]
    assert shelves.names() == {}


def test_artifacts_with_the_same_empty_config_are_removed_one_by_one(
    shelves: ImageFixtures,
) -> None:
    one, two = build_artifact(b"one"), build_artifact(b"two")
    shelves.hold(one, f"{APP}:sbom")
    shelves.hold(two, f"{WEB}:sbom")
    assert shelves.rm("app:sbom") == [*untagged("app:sbom"), {"deleted": str(one.digest)}]
    assert shelves.names() == {str(two.digest): ["web:sbom"]}


# --- what is written down ------------------------------------------------------------------------


def test_each_name_and_the_image_have_an_event(shelves: ImageFixtures) -> None:
    labelled = small("labelled", labels={"a": "1", "name": "not this"})
    shelves.hold(labelled, *TWO)
    shelves.rm(id_of(labelled), force=True)
    told = [(event.action, event.actor, event.attributes) for event in shelves.events()]
    me = id_of(labelled)
    untag = ("untag", me, {"org.example.seed": "labelled", "a": "1", "name": me})
    assert told == [untag, untag, ("delete", me, {"name": me})]


def test_digests_that_go_with_the_last_tag_have_no_event(shelves: ImageFixtures) -> None:
    shelves.hold(X, *PULLED)
    shelves.rm("app:1")
    assert [event.action for event in shelves.events()] == ["untag", "delete"]


def test_a_layer_that_goes_has_the_size_that_it_was_held_with(shelves: ImageFixtures) -> None:
    shelves.hold(X, *ONE)
    with shelves.catalog.write() as connection:
        deletion = Deletion(connection, HOUSE, shelves.content, now=0, host=shelves.host)
        removed = deletion.delete("app:1")
    sizes = {one.deleted: one.size for one in removed if one.size}
    expected = [layer.size for layer in reversed(X.manifest.layers)]
    assert sizes == dict(zip(describe_chain(X), expected, strict=True))
