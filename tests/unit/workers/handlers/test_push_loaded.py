"""Layers that were loaded uncompressed are compressed for a registry, once, and nothing else is."""

from __future__ import annotations

import gzip
import io
import json
from typing import Any

import pytest
from sqlalchemy import select

from tests.contract.catalog.shelves import id_of, small
from tests.support.images import Image, build_image
from tests.unit.store.archives.archives import docker_files, layout_files, tar
from tests.unit.workers.handlers.local import Local, local
from tests.unit.workers.handlers.test_pull_again import NAME, harness
from tests.unit.workers.handlers.test_records import Taker
from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.db.schema import layers as layer_rows
from transship.store.images.build.new_layer import NewLayer
from transship.store.images.edit.delete import Deletion
from transship.store.layers.codecs.formats import open_reader
from transship.store.oci import mediatypes
from transship.store.oci.digest import Digest
from transship.store.oci.manifest import Manifest, parse_manifest
from transship.store.workspaces.workspaces import create

__all__ = ["harness", "local"]

APP = small("app", media="docker")


def stream_of(body: bytes) -> tuple[str, bytes]:
    """How a layer is compressed, and its tar."""
    with open_reader(io.BytesIO(body)) as reader:
        return str(reader.compression), b"".join(iter(lambda: reader.read(65536), b""))


def plain(*images: Image, tag: str = "to.test/app:1") -> bytes:
    """A docker-archive as Docker saves it: its layers are tars."""
    files = docker_files(*images, tags=(tag,))
    return tar(
        {
            path: gzip.decompress(body) if path.endswith("layer.tar") else body
            for path, body in files.items()
        }
    )


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The layers that are compressed from here on, by diffID."""
    seen: list[str] = []
    commit = NewLayer.commit

    def watched(layer: NewLayer) -> Any:
        made = commit(layer)
        seen.append(str(made.diff_id))
        return made

    monkeypatch.setattr(NewLayer, "commit", watched)
    return seen


@pytest.fixture
def taking(local: Local) -> Local:
    """A registry that takes every manifest, and has every blob."""
    local.harness.fake_registry.routes["https://to.test/v2/app/"] = Taker().accept
    return local


def push(local: Local, reference: str = "to.test/app:1", **more: Any) -> dict[str, Any]:
    return local.result(local.submit(kind="push", reference=reference, **more))


def sent(local: Local) -> dict[str, Any]:
    """The manifest that was put last."""
    puts = [one for one in local.harness.fake_registry.requests if one.method == "PUT"]
    document: dict[str, Any] = json.loads(puts[-1].content)
    return document


@pytest.mark.parametrize(
    ("compress", "layer_type", "manifest_type"),
    [
        ("gzip", mediatypes.DOCKER_LAYER_GZIP, mediatypes.DOCKER_MANIFEST),
        ("zstd", mediatypes.OCI_LAYER_ZSTD, mediatypes.OCI_MANIFEST),
    ],
)
def test_plain_layers_are_compressed(
    taking: Local, compress: str, layer_type: str, manifest_type: str
) -> None:
    loaded = taking.result(taking.send(plain(APP), kind="load"))
    result = push(taking, compress=compress)
    document = sent(taking)
    assert result["source"]["digest"] == loaded["images"][0]["digest"] != result["digest"]
    assert document["mediaType"] == manifest_type
    assert document["config"]["digest"] == id_of(APP)
    assert [one["mediaType"] for one in document["layers"]] == [layer_type] * 2
    streams = []
    for layer in document["layers"]:
        body = taking.content.open(Digest.parse(layer["digest"])).read()
        assert len(body) == layer["size"]
        how, stream = stream_of(body)
        assert how == compress
        streams.append(Digest.of(stream))
    assert streams == list(APP.diff_ids)


def test_the_image_here_stays_what_it_was(taking: Local) -> None:
    taking.result(taking.send(plain(APP), kind="load"))
    before = taking.names()
    result = push(taking)
    by_digest = f"to.test/app@{result['digest']}"
    assert taking.names() == {**before, by_digest: result["digest"]}
    assert taking.images() == {id_of(APP)}
    names = taking.shelves.find("to.test/app:1").local.names
    assert [row.name for row in names] == ["to.test/app:1", by_digest]


def test_no_layer_is_compressed_twice(taking: Local, made: list[str]) -> None:
    """Not for another registry, and not for another image that has it, too."""
    more = build_image("more", layers=1, layer_bytes=500, base=APP, media="docker")
    taking.harness.fake_registry.routes["https://other.test/v2/app/"] = Taker().accept
    taking.result(taking.send(plain(APP), kind="load"))
    taking.result(taking.send(plain(more, tag="to.test/app:2"), kind="load"))
    first = push(taking)
    assert made == [str(one) for one in APP.diff_ids]
    again = push(taking, destination="other.test/app:1")
    assert again["digest"] == first["digest"]
    push(taking, "to.test/app:2")
    assert made == [str(one) for one in more.diff_ids]
    push(taking, compress="zstd")
    assert len(made) == len(more.diff_ids) + len(APP.diff_ids)
    with taking.catalog.read() as connection:
        rows = connection.execute(
            select(layer_rows.c.digest).where(
                layer_rows.c.diff_id == str(APP.diff_ids[0]), layer_rows.c.verified
            )
        ).all()
    assert len(rows) == len(("plain", "gzip", "zstd"))


def test_a_claim_about_a_stream_is_not_believed(taking: Local, made: list[str]) -> None:
    """A config that was pulled says which diffIDs its layers have, and may lie."""
    taking.result(taking.send(plain(APP), kind="load"))
    liar = gzip.compress(b"something else")
    digest = taking.content.put(liar)
    with taking.catalog.write() as connection:
        connection.execute(
            layer_rows.insert().values(
                digest=str(digest), diff_id=str(APP.diff_ids[0]), verified=False
            )
        )
    push(taking)
    assert str(digest) not in [one["digest"] for one in sent(taking)["layers"]]
    assert made == [str(one) for one in APP.diff_ids]


@pytest.mark.parametrize(
    "archive",
    [
        tar(docker_files(APP, tags=("to.test/app:1",))),
        tar(layout_files(APP, annotations={"io.containerd.image.name": "to.test/app:1"})),
    ],
    ids=["gzip in a docker-archive", "layout"],
)
def test_what_is_compressed_already_stays(taking: Local, made: list[str], archive: bytes) -> None:
    loaded = taking.result(taking.send(archive, kind="load"))
    assert push(taking)["digest"] == loaded["images"][0]["digest"]
    assert made == []


def test_what_came_from_a_registry_keeps_its_digest(taking: Local, made: list[str]) -> None:
    """Plain layers under Docker's types are of no specification, and there are some."""
    image = _with_plain_layers(small("odd", media="docker"))
    taking.harness.fake_registry.put(image)
    taking.result(taking.submit(kind="pull", reference=NAME))
    assert push(taking, NAME, destination="to.test/app:1")["digest"] == str(image.digest)
    assert made == []


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_a_death_while_it_compresses_costs_the_layer_at_hand(
    taking: Local, made: list[str], steps: int
) -> None:
    taking.result(taking.send(plain(APP), kind="load"))
    job = taking.submit(kind="push", reference="to.test/app:1")
    taking.harness.broker.waiting.clear()
    with taking.dying(steps), pytest.raises(BaseException):  # noqa: B017, PT011 -- DiedError
        taking.run(job)
    taking.harness.dies()
    result = taking.result(job)
    assert [one["mediaType"] for one in sent(taking)["layers"]] == [
        mediatypes.DOCKER_LAYER_GZIP
    ] * 2
    assert len(made) <= len(APP.diff_ids) + 1
    assert taking.content.discard_drafts(job) == 0
    assert result["digest"] == str(Digest.of(_last_put(taking)))


def test_with_its_last_name_all_of_it_goes(taking: Local) -> None:
    taking.result(taking.send(plain(APP), kind="load"))
    push(taking)
    with taking.catalog.write() as connection:
        Deletion(connection, HOUSE, taking.content, now=1.0).delete("to.test/app:1")
    assert (taking.names(), taking.images()) == ({}, set())


def _last_put(local: Local) -> bytes:
    puts = [one for one in local.harness.fake_registry.requests if one.method == "PUT"]
    return bytes(puts[-1].content)


def _with_plain_layers(image: Image) -> Image:
    document = json.loads(image.manifest.raw)
    blobs = {image.manifest.config.digest: image.read(image.manifest.config.digest)}
    for layer, described in zip(image.manifest.layers, document["layers"], strict=True):
        body = gzip.decompress(image.read(layer.digest))
        blobs[Digest.of(body)] = body
        described.update(
            mediaType=mediatypes.DOCKER_LAYER, digest=str(Digest.of(body)), size=len(body)
        )
    parsed = parse_manifest(json.dumps(document).encode())
    assert isinstance(parsed, Manifest)
    return Image(parsed, blobs, image.diff_ids)


def test_what_is_made_on_top_of_a_loaded_image_is_compressed_too(taking: Local) -> None:
    """A commit takes over the layers of its base as they are."""
    taking.result(taking.send(plain(APP), kind="load"))
    with taking.catalog.write() as connection:
        host = taking.shelves.host
        create(connection, HOUSE, "work", "to.test/app:1", busy=False, now=1.0, host=host)
    taking.result(taking.submit(kind="commit", workspace="work", reference="to.test/app:2"))
    push(taking, "to.test/app:2")
    types = [one["mediaType"] for one in sent(taking)["layers"]]
    assert types == [mediatypes.DOCKER_LAYER_GZIP] * len(APP.diff_ids)
