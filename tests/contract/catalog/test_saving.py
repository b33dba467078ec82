"""Which images a save takes, under which names; and how long they are kept for it."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from tests.contract.catalog.scene import Scene
from tests.contract.catalog.shelves import ImageFixtures, id_of, small
from tests.support.images import ARM64, build_index
from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.db.schema import jobs as job_rows
from transship.store.catalog.scheduling import exports, jobs
from transship.store.errors import ConflictError, GoneError, InvalidReferenceError, NotFoundError
from transship.store.images.edit.saving import chosen, held_under

X, Y = small("x"), small("y")
BY_NAME = {"x": str(X.digest), "y": str(Y.digest)}
NAMES = ("docker.io/library/app:1", "docker.io/library/app:2", "docker.io/library/web:1")
PINNED = "an export"


@pytest.fixture
def shelves(catalog: Catalog) -> ImageFixtures:
    made = ImageFixtures(catalog)
    made.hold(X, *NAMES, f"docker.io/library/app@{X.digest}")
    made.hold(Y, "docker.io/library/app:3", parent=X)
    made.hold(small("z"), "docker.io/library/application:1")
    return made


def saved(shelves: ImageFixtures, *texts: str) -> dict[str, list[str]]:
    """What is chosen: names by the digest of the image."""
    with shelves.catalog.read() as connection:
        found = chosen(connection, HOUSE, texts)
    return {str(one.digest): [name.familiar for name in one.names] for one in found}


@pytest.mark.parametrize(
    ("texts", "names"),
    [
        (["app:1"], {"x": ["app:1"]}),
        (["docker.io/library/app:1"], {"x": ["app:1"]}),
        (["app"], {"x": ["app:1", "app:2"], "y": ["app:3"]}),
        (["app:2", "app:1", "app:2"], {"x": ["app:2", "app:1"]}),
        (["app:1", "app:3"], {"x": ["app:1"], "y": ["app:3"]}),
        (["web", "app:1"], {"x": ["web:1", "app:1"]}),
        ([id_of(X)], {"x": []}),
        ([id_of(X)[7:19]], {"x": []}),
        (["web:1", id_of(X)], {"x": ["web:1"]}),
        ([id_of(X), "web:1"], {"x": ["web:1"]}),
        ([f"app@{X.digest}"], {"x": []}),
        ([f"app:1@{X.digest}"], {"x": []}),
    ],
)
def test_what_is_given_stands_for(
    shelves: ImageFixtures, texts: list[str], names: dict[str, list[str]]
) -> None:
    assert saved(shelves, *texts) == {BY_NAME[image]: tags for image, tags in names.items()}


@pytest.mark.parametrize(
    ("texts", "error"),
    [
        (["nothing"], NotFoundError),
        (["app:1", "nothing"], NotFoundError),
        (["app:4"], NotFoundError),
        (["sha256:" + "0" * 64], NotFoundError),
        (["App"], InvalidReferenceError),
    ],
)
def test_what_stands_for_nothing_is_refused(
    shelves: ImageFixtures, texts: list[str], error: type[Exception]
) -> None:
    with pytest.raises(error):
        saved(shelves, *texts)


def test_the_parent_goes_along(shelves: ImageFixtures) -> None:
    with shelves.catalog.read() as connection:
        (image,) = chosen(connection, HOUSE, ["app:3"])
    assert str(image.parent) == id_of(X)


def test_of_an_index_all_that_is_held_is_kept(shelves: ImageFixtures) -> None:
    index = build_index([small("here"), small("there", platform=ARM64)])
    shelves.hold(index, "docker.io/library/multi:1", only=index.images[:1])
    here = index.images[0]
    with shelves.catalog.read() as connection:
        assert held_under(connection, str(index.digest)) == {
            str(index.digest), str(here.digest), *(str(b.digest) for b in here.manifest.blobs),
        }  # fmt: skip


# --- how long ------------------------------------------------------------------------------------


@pytest.fixture
def scene(catalog: Catalog) -> Scene:
    return Scene(catalog)


def made(scene: Scene, id_: str = PINNED, *, state: str = "succeeded") -> str:
    """An export that has ended, with what it pins."""
    lease = scene.job(id_, kind="export", spec={"kind": "export", "references": ["a"]})
    with scene.catalog.write() as connection:
        exports.pin(connection, id_, [f"of {id_}"])
    scene.end(lease, state, result={"expires_at": exports.expiry(scene.now)})
    return id_


def pinned(scene: Scene, id_: str = PINNED) -> set[str]:
    with scene.catalog.read() as connection:
        return exports.pinned(connection, id_)


def release(scene: Scene) -> int:
    with scene.catalog.write() as connection:
        return exports.release_expired(connection, scene.now)


def opened(scene: Scene, id_: str = PINNED) -> None:
    with scene.catalog.write() as connection:
        exports.opened(connection, id_, scene.now)


def test_an_export_is_kept_for_an_hour(scene: Scene) -> None:
    made(scene)
    scene.now += exports.KEEP_SECONDS - 1
    assert release(scene) == 0
    assert pinned(scene) == {f"of {PINNED}"}
    scene.now += 2
    with pytest.raises(GoneError):
        opened(scene)
    assert release(scene) == 1
    assert pinned(scene) == set()


def test_each_download_keeps_it_for_another_hour(scene: Scene) -> None:
    made(scene)
    scene.now += exports.KEEP_SECONDS - 1
    opened(scene)
    scene.now += exports.KEEP_SECONDS - 1
    assert release(scene) == 0
    opened(scene)


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_what_an_export_pinned_that_was_not_made_is_let_go(scene: Scene, state: str) -> None:
    made(scene, state=state)
    with pytest.raises(ConflictError):
        opened(scene)
    assert release(scene) == 1


def test_one_under_way_is_not_ready_and_is_kept(scene: Scene) -> None:
    scene.job("under way", kind="export", spec={"kind": "export", "references": ["a"]})
    with scene.catalog.write() as connection:
        exports.pin(connection, "under way", ["a"])
    scene.now += 10 * exports.KEEP_SECONDS
    assert release(scene) == 0
    with pytest.raises(ConflictError):
        opened(scene, "under way")


def test_one_that_is_on_record_no_more_keeps_nothing(scene: Scene) -> None:
    made(scene)
    with scene.catalog.write() as connection:
        connection.execute(update(job_rows).where(job_rows.c.id == PINNED).values(id="other"))
        assert jobs.get(connection, PINNED) is None
    assert release(scene) == 1


def test_another_kind_of_job_is_no_export(scene: Scene) -> None:
    scene.submit("a pull")
    with pytest.raises(NotFoundError):
        opened(scene, "a pull")
    with pytest.raises(NotFoundError):
        opened(scene, "nothing")
