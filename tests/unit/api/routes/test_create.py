"""Images of configs, and the build cache, over HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import delete

from tests.contract.catalog.shelves import ImageFixtures, id_of
from tests.support.file_images import image_of
from tests.support.tars import file, tar_of
from tests.unit.api.serving import Api
from transship.store.catalog.db.schema import (
    blobs,
    edges,
    images,
    layers,
    leases,
    lineage,
    references,
)
from transship.store.oci.digest import Digest

TARS = [tar_of(file(name, name.encode())) for name in ("one", "two")]
BASE = image_of(TARS[0])
BUILT = image_of(*TARS)
TABLES = (blobs, edges, images, layers, leases, lineage, references)
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def here(api: Api) -> Api:
    """Two images in the store, one that goes on after the other."""
    with api.catalog.write() as connection:
        for table in TABLES:
            connection.execute(delete(table))
    shelves = ImageFixtures(api.catalog, api.context.content)
    shelves.hold(BASE, "docker.io/library/base:1")
    shelves.hold(BUILT, "docker.io/library/built:1")
    return api


def config(*tars: bytes, **more: Any) -> bytes:
    rootfs = {"type": "layers", "diff_ids": [str(Digest.of(tar)) for tar in tars]}
    return json.dumps({"os": "linux", "rootfs": rootfs, **more}, indent=1).encode()


def test_an_image_is_made_of_a_config(here: Api) -> None:
    raw = config(*TARS, author="Ann")
    answer = here.post("/images", content=raw, params={"parent": "base:1"}, headers=JSON)
    assert answer.status_code == 201, answer.text
    assert answer.json()["image_id"] == str(Digest.of(raw))
    shown = here.get(f"/images/{answer.json()['image_id']}/inspect").json()
    assert (shown["author"], shown["parent"]) == ("Ann", id_of(BASE))
    assert shown["digest"] == answer.json()["digest"]
    assert here.post("/images", content=raw, headers=JSON).json() == answer.json()


def test_a_config_may_be_longer_than_other_bodies(here: Api) -> None:
    raw = config(TARS[0], comment="x" * 2_000_000)
    assert here.post("/images", content=raw, headers=JSON).status_code == 201
    raw = config(TARS[0], comment="x" * 9_000_000)
    assert here.post("/images", content=raw, headers=JSON).status_code == 413


@pytest.mark.parametrize(
    ("raw", "parent", "status"),
    [
        (b"{}", None, 422),
        (b"", None, 422),
        (config(b"nothing"), None, 404),
        (config(TARS[0]), "nothing:1", 404),
        (config(TARS[0]), "Bad:1", 400),
        (config(TARS[0], history=[{}, {}]), None, 422),
    ],
    ids=["no rootfs", "empty", "no such layer", "no such parent", "no reference", "two steps"],
)
def test_it_is_refused(here: Api, raw: bytes, parent: str | None, status: int) -> None:
    params = {"parent": parent} if parent is not None else {}
    answer = here.post("/images", content=raw, params=params, headers=JSON)
    assert answer.status_code == status, answer.text
    assert len(here.get("/images", params={"all": True}).json()["items"]) == 2


def cached(here: Api, **body: Any) -> Any:
    return here.post("/images/cache", json=body)


def test_a_step_is_found_in_a_source(here: Api) -> None:
    body = {"parent": "base:1", "config": {"Cmd": ["step", "1"]}, "from": ["no:1", "built:1"]}
    assert cached(here, **body).json() == {
        "image_id": id_of(BUILT),
        "source": "built:1",
        "unknown": ["no:1"],
    }


def test_a_step_that_is_not_known_is_null(here: Api) -> None:
    answer = cached(here, parent="base:1", config={"Cmd": ["other"]})
    assert (answer.status_code, answer.json()) == (
        200,
        {"image_id": None, "source": None, "unknown": []},
    )


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"parent": "nothing:1", "config": {}}, 404),
        ({"parent": "base:1"}, 422),
        ({"config": {"Cmd": "x"}}, 422),
        ({"config": {}, "odd": 1}, 422),
        ({"config": {}, "from": ["x"] * 101}, 422),
    ],
    ids=str,
)
def test_a_step_is_refused(here: Api, body: dict[str, Any], status: int) -> None:
    assert cached(here, **body).status_code == status
