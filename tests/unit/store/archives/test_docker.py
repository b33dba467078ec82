"""Docker's archives, as strangers write them."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import tarfile
from typing import Any

import pytest

from tests.support.images import Image, build_image
from tests.unit.store.archives.archives import (
    Files,
    MemorySink,
    docker_files,
    encoded,
    read,
    tar,
)
from transship.store.archives.archive import ArchivedImage, StoredLayer
from transship.store.archives.limits import ArchiveLimits
from transship.store.errors import InvalidArchiveError
from transship.store.layers.codecs.formats import Compression
from transship.store.oci import mediatypes
from transship.store.oci.config import ImageConfig
from transship.store.oci.digest import Digest
from transship.store.oci.manifest import Manifest

IMAGE = build_image("docker", layers=2, layer_bytes=5000, media="docker")
PLAIN = build_image("plain", layers=2, layer_bytes=5000, media="docker", compression="none")


def only(files: Files, **options: Any) -> ArchivedImage:
    (image,) = read(files, **options).images
    return image


def changed(files: Files, number: int = 0, **fields: Any) -> Files:
    """*files* with other fields in an entry of their `manifest.json`."""
    entries = json.loads(files["manifest.json"])
    entries[number] |= fields
    return files | {"manifest.json": encoded(entries)}


def child_of(parent: Image, *, history: list[dict[str, Any]]) -> Files:
    """The files of an image that is *parent* with another history, and says so."""
    files = docker_files(parent, tags=("parent:1",))
    config = json.loads(parent.read(parent.manifest.config.digest)) | {"history": history}
    (entry,) = json.loads(files["manifest.json"])
    child = entry | {
        "Config": "child.json",
        "RepoTags": ["child:1"],
        "Parent": str(parent.manifest.config.digest),
    }
    return files | {"child.json": encoded(config), "manifest.json": encoded([entry, child])}


def history_of(image: Image) -> list[dict[str, Any]]:
    config = ImageConfig.parse(image.read(image.manifest.config.digest))
    return [dict(step) for step in config.history]


# --- what is read ------------------------------------------------------------------------------


@pytest.mark.parametrize("image", [IMAGE, PLAIN], ids=["gzip", "plain"])
def test_an_image_has_its_id_and_its_layers_as_they_are_stored(image: Image) -> None:
    sink = MemorySink()
    found = only(docker_files(image), sink=sink)
    assert found.image_id == image.manifest.config.digest
    assert [layer.diff_id for layer in found.layers] == list(image.diff_ids)
    for layer, wanted in zip(found.layers, image.manifest.layers, strict=True):
        assert layer.blob is not None
        assert layer.blob.digest == wanted.digest
        assert sink.read(layer.blob.digest, max_bytes=10**6) == image.read(wanted.digest)


@pytest.mark.parametrize("image", [IMAGE, PLAIN], ids=["gzip", "plain"])
def test_the_manifest_that_is_made_is_dockers(image: Image) -> None:
    assert only(docker_files(image)).manifest == image.manifest


def test_layers_of_zstd_make_it_an_oci_manifest() -> None:
    image = build_image("z", layers=1, layer_bytes=5000, compression="zstd")
    manifest = only(docker_files(image)).manifest
    assert manifest is not None
    assert manifest.media_type == mediatypes.OCI_MANIFEST
    assert [layer.media_type for layer in manifest.layers] == [mediatypes.OCI_LAYER_ZSTD]


def test_files_may_come_in_any_order() -> None:
    files = docker_files(IMAGE)
    assert read(dict(reversed(files.items()))) == read(files)


def test_names_are_given_in_full() -> None:
    image = only(docker_files(IMAGE, tags=("app:1", "r.test/team/app:2")))
    assert [str(name) for name in image.names] == ["docker.io/library/app:1", "r.test/team/app:2"]


def test_an_image_may_have_no_name() -> None:
    assert only(docker_files(IMAGE, tags=None)).names == ()


def test_an_image_listed_twice_is_one_image_under_all_names() -> None:
    files = docker_files(IMAGE, IMAGE)
    assert len(only(changed(files, RepoTags=["other:1"])).names) == 2


def test_a_name_given_twice_belongs_to_the_last() -> None:
    first, second = read(docker_files(IMAGE, PLAIN)).images
    assert (len(first.names), len(second.names)) == (0, 1)


def test_an_empty_list_is_an_archive_of_nothing() -> None:
    assert read({"manifest.json": b"[]"}).roots == ()


@pytest.mark.parametrize("layers", [None, []])
def test_an_image_may_have_no_layers(layers: list[str] | None) -> None:
    image = build_image("empty", layers=0, media="docker")
    assert only(changed(docker_files(image), Layers=layers)).layers == ()


def test_unknown_files_and_fields_are_ignored() -> None:
    files = changed(docker_files(IMAGE), Future={"a": 1}, LayerSources={})
    files |= {"README": b"hello", "broken.gz": b"\x1f\x8b\x08\0 no gzip"}
    assert only(files).manifest == IMAGE.manifest


def test_the_relics_of_old_programs_are_no_matter_beside_a_manifest() -> None:
    sink = MemorySink()
    directory = "0" * 64
    relics = {f"{directory}/json": b"{", f"{directory}/VERSION": b"1.0", "repositories": b"["}
    assert only(docker_files(IMAGE) | relics, sink=sink).manifest == IMAGE.manifest
    assert sink.size(Digest.of(b"1.0")) is None


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress], ids=["gzip", "xz"])
def test_the_archive_as_a_whole_may_be_compressed(compress: Any) -> None:
    assert read(compress(tar(docker_files(IMAGE)))) == read(docker_files(IMAGE))


# --- links -------------------------------------------------------------------------------------


def with_links(links: dict[str, str], *, kind: bytes = tarfile.SYMTYPE) -> bytes:
    """An archive of PLAIN, whose layers are moved to `real/0` and `real/1` behind *links*."""
    files = docker_files(PLAIN)
    (entry,) = json.loads(files["manifest.json"])
    moved = {f"real/{n}": files.pop(path) for n, path in enumerate(entry["Layers"])}
    files["manifest.json"] = encoded([entry | {"Layers": ["a/layer.tar", "b/layer.tar"]}])
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, target in links.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
        for name, content in (files | moved).items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def test_layers_may_be_links_to_files_that_come_later() -> None:
    packed = with_links({"a/layer.tar": "../real/0", "b/layer.tar": "../c", "c": "real/1"})
    (image,) = read(packed).images
    assert image.manifest == PLAIN.manifest


def test_layers_may_be_hard_links() -> None:
    links = {"a/layer.tar": "real/0", "b/layer.tar": "./real/1"}
    (image,) = read(with_links(links, kind=tarfile.LNKTYPE)).images
    assert image.manifest == PLAIN.manifest


@pytest.mark.parametrize("target", ["../../real/1", "/real/1", "../..", "../../../etc/passwd"])
def test_links_do_not_lead_out_of_the_archive(target: str) -> None:
    with pytest.raises(InvalidArchiveError, match=r"b/layer\.tar: links to a place outside"):
        read(with_links({"a/layer.tar": "../real/0", "b/layer.tar": target}))


def test_hard_links_do_not_lead_out_of_the_archive() -> None:
    with pytest.raises(InvalidArchiveError, match=r"leads out of the archive"):
        read(with_links({"a/layer.tar": "../real/0"}, kind=tarfile.LNKTYPE))


def test_links_in_a_circle_are_refused() -> None:
    links = {"a/layer.tar": "../c", "c": "a/layer.tar", "b/layer.tar": "../real/1"}
    with pytest.raises(InvalidArchiveError, match="links to itself"):
        read(with_links(links))


# --- what does not hold together ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        (b"null", "not a list"),
        (b"{}", "not a list"),
        (b"[1]", "not an object"),
        (b"[{}]", "Config is None"),
        (b'[{"Config":"a","Config":"b"}]', "same key twice"),
        (b'[{"config":"a","Config":"a"}]', "twice"),
        (b'[{"Config":""}]', "Config is ''"),
        (b'[{"Config":7}]', "Config is 7"),
        (b'[{"Config":"../x"}]', "leads out"),
        (b'[{"Config":"/etc/passwd"}]', "does not hold this config"),
        (b'[{"Config":"/../etc/passwd"}]', "leads out"),
        (b'[{"Config":"a\\u0000"}]', "leads out"),
        (b'[{"Config":"none.json"}]', "does not hold this config"),
        (b'[{"Config":"manifest.json"}]', "not an object"),
        (b'[{"Config":"a","Layers":"b"}]', "Layers is not a list"),
        (b'[{"Config":"a","Layers":["a/../../b"]}]', "leads out"),
        (b'[{"Config":"a","RepoTags":"a:b"}]', "RepoTags is not a list"),
        (b'[{"Config":"a","RepoTags":["app"]}]', "not NAME:TAG"),
        (b'[{"Config":"a","RepoTags":["App:1"]}]', "lower case"),
        (b'[{"Config":"a","RepoTags":["a:1@sha256:' + b"0" * 64 + b'"]}]', "not NAME:TAG"),
        (b'[{"Config":"a","RepoTags":[3]}]', "not NAME:TAG"),
        (b'[{"Config":"a","Parent":"x"}]', "not an ID"),
        (b"[" * 100 + b"]" * 100, "nested too deep"),
        (b"[\xff]", "not JSON"),
        (b"", "not JSON"),
    ],
)
def test_a_list_that_is_not_dockers_is_refused(manifest: bytes, why: str) -> None:
    with pytest.raises(InvalidArchiveError, match=why):
        read({"manifest.json": manifest})


def test_a_list_too_long_is_not_read() -> None:
    with pytest.raises(InvalidArchiveError, match=r"manifest\.json: longer than"):
        read({"manifest.json": b" " * (8 * 1024 * 1024 + 1)})


def test_all_documents_have_a_bound_together() -> None:
    files = docker_files(IMAGE)
    bound = len(files["manifest.json"])
    with pytest.raises(InvalidArchiveError, match="too much JSON"):
        read(files, limits=ArchiveLimits(max_documents_bytes=bound))


def test_layers_and_diff_ids_are_as_many() -> None:
    files = docker_files(IMAGE)
    (entry,) = json.loads(files["manifest.json"])
    with pytest.raises(InvalidArchiveError, match="1 layers, and 2 diffIDs"):
        read(changed(files, Layers=entry["Layers"][:1]))


@pytest.mark.parametrize("image", [IMAGE, PLAIN], ids=["gzip", "plain"])
def test_a_layer_is_what_its_diff_id_says(image: Image) -> None:
    files = docker_files(image)
    (entry,) = json.loads(files["manifest.json"])
    with pytest.raises(InvalidArchiveError, match="the config says"):
        read(changed(files, Layers=entry["Layers"][::-1]))


def test_a_config_that_is_none_is_refused() -> None:
    files = docker_files(IMAGE)
    config = f"{IMAGE.manifest.config.digest.hex}.json"
    with pytest.raises(InvalidArchiveError, match="no rootfs"):
        read(files | {config: b"{}"})


@pytest.mark.parametrize(
    "damage",
    [lambda raw: raw[:-9], lambda raw: raw[:40] + b"\xff" * 9 + raw[49:], lambda raw: raw + b"x"],
    ids=["cut", "overwritten", "trailing"],
)
def test_a_damaged_layer_is_refused(damage: Any) -> None:
    files = docker_files(IMAGE)
    layer = next(name for name in files if name.endswith("layer.tar"))
    with pytest.raises(InvalidArchiveError, match=layer):
        read(files | {layer: damage(files[layer])})


def test_a_layer_that_no_manifest_can_name_has_to_be_packed_anew() -> None:
    files = docker_files(PLAIN)
    name = next(name for name in files if name.endswith("layer.tar"))
    packed = lzma.compress(files[name])
    found = only(files | {name: packed})
    assert found.manifest is None
    assert found.missing == ()
    ((diff_id, blob),) = found.unnamed.items()
    assert diff_id == PLAIN.diff_ids[0]
    assert blob == StoredLayer(Digest.of(packed), len(packed), Compression.XZ)
    plain = StoredLayer(diff_id, len(files[name]), Compression.NONE)
    assert found.complete({diff_id: plain}) == only(files).manifest
    with pytest.raises(InvalidArchiveError):
        found.complete({})


def test_a_tar_of_something_else_is_no_archive_of_images() -> None:
    with pytest.raises(InvalidArchiveError, match=r"no manifest\.json, no oci-layout") as caught:
        read({"etc/passwd": b"root"})
    assert "transship import" in caught.value.hint


# --- archives without layers -------------------------------------------------------------------


def stripped_files() -> Files:
    files = docker_files(IMAGE)
    return {name: raw for name, raw in files.items() if not name.startswith("1-")}


def test_a_missing_layer_is_an_error() -> None:
    with pytest.raises(InvalidArchiveError, match="does not hold layer 2"):
        read(stripped_files())


def test_a_stripped_archive_says_which_layers_it_lacks() -> None:
    image = only(stripped_files(), stripped=True)
    assert image.missing == (IMAGE.diff_ids[1],)
    assert image.manifest is None


def test_a_stripped_archive_is_completed_with_what_is_elsewhere() -> None:
    image = only(stripped_files(), stripped=True)
    layer = IMAGE.manifest.layers[1]
    found = {IMAGE.diff_ids[1]: StoredLayer(layer.digest, layer.size, Compression.GZIP)}
    assert image.complete(found) == IMAGE.manifest


def test_what_is_nowhere_cannot_be_completed() -> None:
    with pytest.raises(InvalidArchiveError, match=str(IMAGE.diff_ids[1])):
        only(stripped_files(), stripped=True).complete({})


def test_a_whole_image_needs_nothing_to_be_complete() -> None:
    manifest: Manifest = only(docker_files(IMAGE)).complete({})
    assert manifest == IMAGE.manifest


# --- parents -----------------------------------------------------------------------------------


def test_a_parent_in_the_archive_is_kept() -> None:
    step = {"created_by": "CMD more", "empty_layer": True}
    _, child = read(child_of(IMAGE, history=[*history_of(IMAGE), step])).images
    assert child.parent == IMAGE.manifest.config.digest


def test_a_parent_elsewhere_is_none() -> None:
    assert only(changed(docker_files(IMAGE), Parent=f"sha256:{'0' * 64}")).parent is None


@pytest.mark.parametrize("steps", [0, 2])
def test_a_parent_is_one_step_back(steps: int) -> None:
    history = [*history_of(IMAGE), *[{"created_by": "more", "empty_layer": True}] * steps]
    files = child_of(IMAGE, history=history)
    if steps == 0:
        config = json.loads(files["child.json"]) | {"author": "someone else"}
        files["child.json"] = encoded(config)
    with pytest.raises(InvalidArchiveError, match="one step more"):
        read(files)


def test_a_parent_has_the_same_steps_before() -> None:
    history = history_of(IMAGE)
    other = [{**history[0], "created_by": "something else"}, *history[1:]]
    with pytest.raises(InvalidArchiveError, match="one step more"):
        read(child_of(IMAGE, history=[*other, {"empty_layer": True}]))


def test_nothing_is_its_own_parent() -> None:
    image_id = str(IMAGE.manifest.config.digest)
    with pytest.raises(InvalidArchiveError, match="one step more"):
        read(changed(docker_files(IMAGE), Parent=image_id))


def test_names_are_compared_and_not_their_spelling() -> None:
    first, second = read(
        changed(docker_files(IMAGE, PLAIN), 0, RepoTags=["docker.io/library/app:1"])
    ).images
    assert (first.names, len(second.names)) == ((), 1)
