"""Images of configs alone: over which layers, as whose children."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.contract.catalog.shelves import ImageFixtures, id_of
from tests.support.file_images import image_of
from tests.support.images import build_image
from tests.support.tars import file, tar_of
from transship.store import gc
from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.content import blobs, image_events, layers, lineage, references
from transship.store.catalog.content.layers import Pair
from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.db.schema import leases
from transship.store.errors import ConflictError, InvalidSpecError, NotFoundError
from transship.store.images.build.create import Created, Creation
from transship.store.images.view.details import details
from transship.store.layers.sources import never
from transship.store.oci import mediatypes
from transship.store.oci.digest import Digest
from transship.store.oci.manifest import Manifest, parse_manifest

TARS = [tar_of(file(name, name.encode())) for name in ("one", "two", "three")]
IMAGE = image_of(*TARS)
NAME = "docker.io/library/app:1"
DIFF_IDS = [str(Digest.of(tar)) for tar in TARS]


@pytest.fixture
def shelves(catalog: Catalog) -> ImageFixtures:
    return ImageFixtures(catalog)


def config(*diff_ids: str, **more: Any) -> bytes:
    document = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
        **more,
    }
    return json.dumps(document, indent=3).encode()


def create(
    shelves: ImageFixtures, raw: bytes, *, parent: str | None = None, shared: bool = False
) -> Created:
    creation = Creation(shelves.catalog, shelves.content, shared_trust=shared)
    return creation.create(HOUSE, raw, holder="me", now=shelves.now, parent=parent)


def test_the_config_is_kept_byte_for_byte_over_the_layers_that_it_names(
    shelves: ImageFixtures,
) -> None:
    shelves.hold(IMAGE, NAME)
    raw = config(*DIFF_IDS[:2])
    made = create(shelves, raw)
    assert made.image_id == str(Digest.of(raw))
    assert shelves.content.read(Digest.of(raw), max_bytes=10_000) == raw
    manifest = parse_manifest(
        shelves.content.read(Digest.parse(made.digest), max_bytes=10_000),
        mediatypes.DOCKER_MANIFEST,
    )
    assert isinstance(manifest, Manifest)
    below = [layer.digest for layer in IMAGE.manifest.layers[:2]]
    assert [layer.digest for layer in manifest.layers] == below
    found = shelves.find(made.image_id)
    with shelves.catalog.read() as connection:
        shown = details(connection, HOUSE, found.image, shelves.content)  # type: ignore[arg-type]
    assert (shown.diff_ids, shown.parent) == (DIFF_IDS[:2], "")


def test_the_same_bytes_give_the_same_image(shelves: ImageFixtures) -> None:
    shelves.hold(IMAGE, NAME)
    assert create(shelves, config(*DIFF_IDS)) == create(shelves, config(*DIFF_IDS))
    assert create(shelves, config(*DIFF_IDS, author="x")) != create(shelves, config(*DIFF_IDS))


def test_a_config_that_is_here_already_is_that_image(shelves: ImageFixtures) -> None:
    shelves.hold(IMAGE, NAME)
    raw = IMAGE.read(IMAGE.manifest.config.digest)
    assert create(shelves, raw) == Created(id_of(IMAGE), str(IMAGE.digest))


def test_it_has_no_name_is_no_event_and_stays(shelves: ImageFixtures) -> None:
    shelves.hold(IMAGE, NAME)
    made = create(shelves, config(DIFF_IDS[0]))
    assert shelves.names()[made.image_id] == []
    with shelves.catalog.read() as connection:
        assert image_events.after(connection, HOUSE, 0) == []
        assert connection.execute(leases.select()).all() == []
    shelves.rm("app:1")
    gc.sweep(shelves.catalog, shelves.content, check=never)
    assert {str(one) for one in shelves.content.digests()} == {
        made.image_id,
        made.digest,
        str(IMAGE.manifest.layers[0].digest),
    }


def test_it_may_have_no_layers(shelves: ImageFixtures) -> None:
    made = create(shelves, config())
    assert shelves.names() == {made.image_id: []}


def test_it_may_be_the_child_of_another(shelves: ImageFixtures) -> None:
    shelves.hold(IMAGE, NAME)
    made = create(shelves, config(*DIFF_IDS), parent="app:1")
    with shelves.catalog.read() as connection:
        assert lineage.children(connection, HOUSE, id_of(IMAGE)) == [made.image_id]
    with pytest.raises(ConflictError):
        shelves.rm(id_of(IMAGE), force=True)


def test_a_parent_can_be_set_later(shelves: ImageFixtures) -> None:
    shelves.hold(IMAGE, NAME)
    raw = config(*DIFF_IDS)
    made = create(shelves, raw)
    create(shelves, raw, parent="app:1")
    with shelves.catalog.read() as connection:
        assert lineage.children(connection, HOUSE, id_of(IMAGE)) == [made.image_id]


def test_nobody_is_its_own_ancestor(shelves: ImageFixtures) -> None:
    shelves.hold(IMAGE, NAME)
    child = create(shelves, config(*DIFF_IDS), parent="app:1")
    own = IMAGE.read(IMAGE.manifest.config.digest)
    for parent in (child.image_id, id_of(IMAGE)):
        with pytest.raises(ConflictError):
            create(shelves, own, parent=parent)


@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        b"[]",
        b"no JSON",
        b'{"rootfs": {"type": "layers", "diff_ids": ["latest"]}}',
        b'{"rootfs": {"type": "layers"}, "rootfs": {"type": "layers"}}',
        config(DIFF_IDS[0], history=[{"created_by": "a"}, {"created_by": "b"}]),
    ],
    ids=["no rootfs", "a list", "no JSON", "no digest", "a key twice", "more steps than layers"],
)
def test_what_is_no_config_is_refused(shelves: ImageFixtures, raw: bytes) -> None:
    shelves.hold(IMAGE, NAME)
    with pytest.raises(InvalidSpecError) as refused:
        create(shelves, raw)
    assert refused.value.errors[0]["field"] == "config"


def test_empty_steps_need_no_layers(shelves: ImageFixtures) -> None:
    shelves.hold(IMAGE, NAME)
    steps = [{"created_by": "a"}, {"created_by": "b", "empty_layer": True}]
    create(shelves, config(DIFF_IDS[0], history=steps))


def test_a_layer_or_a_parent_that_is_not_here_is_named(shelves: ImageFixtures) -> None:
    shelves.hold(IMAGE, NAME)
    missing = str(Digest.of(b"nothing"))
    with pytest.raises(NotFoundError) as refused:
        create(shelves, config(DIFF_IDS[0], missing))
    assert refused.value.subject == missing
    with pytest.raises(NotFoundError):
        create(shelves, config(DIFF_IDS[0]), parent="nothing:1")
    assert list(shelves.names()) == [id_of(IMAGE)]


# --- whose layers --------------------------------------------------------------------------------


def test_a_blob_of_no_image_is_taken_only_where_all_is_shared(shelves: ImageFixtures) -> None:
    blob = IMAGE.manifest.layers[0]
    shelves.content.put(IMAGE.read(blob.digest))
    with shelves.catalog.write() as connection:
        blobs.add(connection, {str(blob.digest): blob.size}, shelves.now)
        layers.record(connection, [Pair(str(blob.digest), DIFF_IDS[0])], verified=True)
    with pytest.raises(NotFoundError):
        create(shelves, config(DIFF_IDS[0]))
    create(shelves, config(DIFF_IDS[0]), shared=True)


def test_what_others_claim_of_a_layer_is_looked_at(shelves: ImageFixtures) -> None:
    """An image's config says that its layer is another one, which is known by its diffID alone."""
    secret = str(Digest.of(b"what somebody else has"))
    lying = image_of(TARS[0], rootfs={"type": "layers", "diff_ids": [secret]})
    shelves.hold(lying, NAME)
    with pytest.raises(NotFoundError):
        create(shelves, config(secret))
    shelves.hold(IMAGE, "docker.io/library/honest:1")
    create(shelves, config(DIFF_IDS[0]))
    with shelves.catalog.read() as connection:
        own = str(IMAGE.manifest.layers[0].digest)
        assert layers.diff_id_of(connection, own) == DIFF_IDS[0]
        assert layers.diff_sizes(connection, [own]) == {own: len(TARS[0])}


def test_a_layer_of_zstd_makes_the_manifest_one_of_oci(shelves: ImageFixtures) -> None:
    image = build_image("z", layers=1, layer_bytes=500, compression="zstd")
    shelves.hold(image, NAME)
    made = create(shelves, config(str(image.diff_ids[0])))
    with shelves.catalog.read() as connection:
        row = references.image(connection, made.digest)
    assert row is not None
    assert row.media_type == mediatypes.OCI_MANIFEST
