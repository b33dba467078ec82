"""Writing archives: the same bytes each time, flat memory, and what comes back when read."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.images import (
    AMD64,
    ARM64,
    Image,
    ImageIndex,
    big_image,
    build_artifact,
    build_image,
    build_index,
    put_image,
)
from tests.support.memory_store import MemoryStore
from tests.unit.store.archives.archives import blob_name, encoded, read
from transship.store.archives.archive import Archive, ArchivedIndex
from transship.store.archives.plan import ArchiveFormat, Plan, SavedImage
from transship.store.archives.write import write_archive
from transship.store.content.local import LocalStore
from transship.store.errors import (
    BlobMissingError,
    CancelledError,
    DigestMismatchError,
    InvalidManifestError,
    PlatformNotFoundError,
    RequestError,
    Side,
    SizeMismatchError,
)
from transship.store.layers.codecs.formats import Compression
from transship.store.oci import mediatypes
from transship.store.oci.digest import Digest
from transship.store.oci.platform import Platform
from transship.store.oci.reference import Reference

DOCKER, OCI = ArchiveFormat.DOCKER, ArchiveFormat.OCI
IMAGE = build_image("saved", layers=2, layer_bytes=5000, media="docker")
OTHER = build_image("saved", layers=1, layer_bytes=5000, base=IMAGE, media="docker")
ZSTD = build_image("zstd", layers=2, layer_bytes=5000, compression=("zstd", "gzip"))
ARM = build_image("saved", layers=1, layer_bytes=5000, platform=ARM64)
INDEX = build_index([build_image("saved", layers=1, layer_bytes=5000), ARM], attestations=True)
DOCKER_ARM = build_image("saved", layers=1, layer_bytes=5000, platform=ARM64, media="docker")
LIST = build_index([IMAGE, DOCKER_ARM], media="docker")
EVERYTHING = (IMAGE, OTHER, ZSTD, INDEX, LIST)


def held(*roots: Image | ImageIndex) -> MemoryStore:
    store = MemoryStore()
    for root in roots:
        put_image(store, root)
    return store


def saved(root: Image | ImageIndex, *names: str, parent: Image | None = None) -> SavedImage:
    document = root.index if isinstance(root, ImageIndex) else root.manifest
    return SavedImage(
        root.digest,
        document.media_type,
        tuple(Reference.parse(name) for name in names),
        parent.manifest.config.digest if parent else None,
    )


def write(
    images: Sequence[SavedImage], store: MemoryStore | LocalStore, **options: Any
) -> tuple[bytes, Plan]:
    packed = io.BytesIO()
    plan = write_archive(images, store, packed.write, **options)
    return packed.getvalue(), plan


def archived(root: Image | ImageIndex, *names: str, **options: Any) -> Archive:
    return read(write([saved(root, *names)], held(root), platform=AMD64, **options)[0])


def files_in(packed: bytes) -> dict[str, bytes]:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for member in archive:
            if (file := archive.extractfile(member)) is not None:
                found[member.name] = file.read()
    return found


def entries(packed: bytes) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(files_in(packed)["manifest.json"])
    return listed


def digests(archive: Archive) -> list[Digest]:
    return [
        root.index.digest if isinstance(root, ArchivedIndex) else root.complete({}).digest
        for root in archive.roots
    ]


# --- there and back ----------------------------------------------------------------------------


@pytest.mark.parametrize("root", [IMAGE, OTHER, INDEX, LIST], ids=["one", "two", "index", "list"])
def test_an_image_that_is_saved_for_docker_and_loaded_keeps_its_digest(
    root: Image | ImageIndex,
) -> None:
    archive = archived(root, "app:1", "r.test/app:2")
    assert digests(archive) == [root.digest]
    assert [str(name) for name in archive.roots[0].names] == [
        "docker.io/library/app:1",
        "r.test/app:2",
    ]


@pytest.mark.parametrize("root", [ZSTD, INDEX], ids=["image", "index"])
def test_an_oci_image_that_is_saved_as_oci_keeps_its_digest(root: Image | ImageIndex) -> None:
    assert digests(archived(root, "app:1", format=OCI)) == [root.digest]


def test_dockers_media_types_are_mapped_and_config_and_layers_are_not() -> None:
    (image,) = archived(IMAGE, format=OCI).images
    assert image.manifest is not None
    assert image.manifest.media_type == mediatypes.OCI_MANIFEST
    assert image.manifest.config.media_type == mediatypes.OCI_CONFIG
    assert {layer.media_type for layer in image.manifest.layers} == {mediatypes.OCI_LAYER_GZIP}
    assert [blob.digest for blob in image.manifest.blobs] == [
        blob.digest for blob in IMAGE.manifest.blobs
    ]


def test_a_list_of_docker_becomes_an_index_of_the_mapped_children() -> None:
    packed, plan = write([saved(LIST)], held(LIST), format=OCI)
    (index,) = read(packed).roots
    assert isinstance(index, ArchivedIndex)
    assert index.index.media_type == mediatypes.OCI_INDEX
    assert [child.platform for child in index.index.manifests] == [AMD64, ARM64]
    assert {child.media_type for child in index.index.manifests} == {mediatypes.OCI_MANIFEST}
    assert plan.digests == {LIST.digest: index.index.digest}


def test_the_plan_says_under_which_digest_an_image_is_held() -> None:
    packed, plan = write([saved(IMAGE), saved(ZSTD)], held(IMAGE, ZSTD), format=OCI)
    assert plan.digests[ZSTD.digest] == ZSTD.digest
    assert plan.digests[IMAGE.digest] != IMAGE.digest
    assert sorted(digests(read(packed))) == sorted(plan.digests.values())


def test_a_plain_type_that_hides_gzip_is_put_right_where_it_is_mapped() -> None:
    document = json.loads(IMAGE.manifest.raw)
    document["layers"][0]["mediaType"] = mediatypes.DOCKER_LAYER
    raw = encoded(document)
    store = held(IMAGE)
    root = SavedImage(store.put(raw), mediatypes.DOCKER_MANIFEST)
    (image,) = read(write([root], store, format=OCI)[0]).images
    assert image.manifest is not None
    assert {layer.media_type for layer in image.manifest.layers} == {mediatypes.OCI_LAYER_GZIP}


def test_layers_that_old_dockers_cannot_read_are_decompressed_for_docker() -> None:
    packed, plan = write([saved(ZSTD, "app:1")], held(ZSTD))
    (image,) = read(packed).images
    assert image.image_id == ZSTD.manifest.config.digest
    assert [layer.blob.compression for layer in image.layers if layer.blob] == [
        Compression.NONE,
        Compression.GZIP,
    ]
    assert image.manifest is not None
    assert image.manifest.media_type == mediatypes.OCI_MANIFEST
    assert plan.digests == {ZSTD.digest: image.manifest.digest}


def test_a_zstd_layer_below_an_index_changes_the_index() -> None:
    index = build_index([ZSTD, ARM])
    packed, plan = write([saved(index)], held(index), platform=AMD64)
    (root,) = read(packed).roots
    assert isinstance(root, ArchivedIndex)
    assert plan.digests[index.digest] == root.index.digest != index.digest
    assert root.index.manifests[1] == index.index.manifests[1]


def test_an_artifact_is_kept_and_is_not_for_docker_to_load() -> None:
    artifact = build_artifact(b"a bill of materials")
    packed, _ = write([saved(artifact)], held(artifact))
    assert entries(packed) == []
    assert digests(read(packed)) == [artifact.digest]


@settings(max_examples=40)
@given(
    roots=st.lists(st.sampled_from(EVERYTHING), min_size=1, max_size=5),
    tags=st.lists(st.sampled_from(["a:1", "a:2", "b:1", "r.test/c:x"]), min_size=5, max_size=5),
    format=st.sampled_from(ArchiveFormat),
    compression=st.sampled_from([Compression.NONE, Compression.GZIP, Compression.ZSTD]),
)
def test_whatever_is_saved_is_what_is_loaded(
    roots: list[Image | ImageIndex],
    tags: list[str],
    format: ArchiveFormat,  # noqa: A002
    compression: Compression,
) -> None:
    owner = {tag: root for root, tag in zip(roots, tags, strict=False)}
    images = [saved(root, *(tag for tag, of in owner.items() if of is root)) for root in roots]
    packed, plan = write(
        images, held(*roots), format=format, compression=compression, platform=AMD64
    )
    archive = read(packed)
    assert set(digests(archive)) == set(plan.digests.values())
    assert plan.digests.keys() == {root.digest for root in roots}
    found = {
        name.familiar: digest
        for root, digest in zip(archive.roots, digests(archive), strict=True)
        for name in root.names
    }
    assert found == {tag: plan.digests[root.digest] for tag, root in owner.items()}


# --- determinism -------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ArchiveFormat)
@pytest.mark.parametrize("compression", [Compression.NONE, Compression.GZIP, Compression.ZSTD])
def test_the_same_images_give_the_same_bytes(
    format: ArchiveFormat,  # noqa: A002
    compression: Compression,
) -> None:
    images = [saved(IMAGE, "a:2", "a:1"), saved(INDEX, "b:1"), saved(ZSTD)]
    again = [saved(ZSTD), saved(INDEX, "b:1"), saved(IMAGE, "a:1"), saved(IMAGE, "a:2")]
    options: dict[str, Any] = {"format": format, "compression": compression, "platform": AMD64}
    first, _ = write(images, held(IMAGE, INDEX, ZSTD), **options)
    second, _ = write(again, held(ZSTD, INDEX, IMAGE, OTHER), **options)
    assert first == second


def test_nothing_but_names_sizes_and_bytes_is_in_the_tar() -> None:
    packed, _ = write([saved(IMAGE, "a:1")], held(IMAGE))
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        members = archive.getmembers()
    names = [member.name for member in members if not member.isdir()]
    assert names == sorted(names)
    assert [member.name for member in members if member.isdir()] == ["blobs", "blobs/sha256"]
    for member in members:
        assert (member.uid, member.gid, member.mtime, member.uname, member.gname) == (
            0,
            0,
            0,
            "",
            "",
        )
        assert member.pax_headers == {}
        blob = member.name.startswith("blobs/sha256/")
        assert member.mode == (0o755 if member.isdir() else 0o444 if blob else 0o644)


def test_a_blob_of_several_images_is_there_once() -> None:
    packed, _ = write([saved(IMAGE), saved(OTHER)], held(IMAGE, OTHER))
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        names = archive.getnames()
    assert len(names) == len(set(names))
    assert blob_name(IMAGE.manifest.layers[0].digest) in names


@pytest.mark.parametrize(
    ("compression", "decompress"),
    [(Compression.GZIP, gzip.decompress), (Compression.ZSTD, zstandard.decompress)],
)
def test_the_archive_as_a_whole_is_compressed_if_asked(
    compression: Compression, decompress: Any
) -> None:
    plain, _ = write([saved(IMAGE)], held(IMAGE))
    packed, _ = write([saved(IMAGE)], held(IMAGE), compression=compression)
    if compression is Compression.ZSTD:
        packed = zstandard.ZstdDecompressor().stream_reader(packed).read()
    else:
        packed = decompress(packed)
    assert packed == plain


# --- what the lists say ------------------------------------------------------------------------


def test_docker_finds_config_and_layers_among_the_blobs() -> None:
    packed, _ = write([saved(IMAGE, "app:1", "r.test/app:2")], held(IMAGE))
    assert entries(packed) == [
        {
            "Config": blob_name(IMAGE.manifest.config.digest),
            "RepoTags": ["app:1", "r.test/app:2"],
            "Layers": [blob_name(layer.digest) for layer in IMAGE.manifest.layers],
        }
    ]
    assert json.loads(files_in(packed)["repositories"]) == {
        "app": {"1": IMAGE.diff_ids[-1].hex},
        "r.test/app": {"2": IMAGE.diff_ids[-1].hex},
    }


def test_an_image_without_a_name_is_listed_all_the_same() -> None:
    packed, _ = write([saved(IMAGE), saved(OTHER)], held(IMAGE, OTHER))
    assert [entry["RepoTags"] for entry in entries(packed)] == [None, None]
    assert "repositories" not in files_in(packed)
    assert len(json.loads(files_in(packed)["index.json"])["manifests"]) == 2


def test_docker_loads_an_image_without_layers() -> None:
    empty = build_image("empty", layers=0)
    packed, _ = write([saved(empty, "app:1")], held(empty))
    assert entries(packed)[0]["Layers"] == []
    assert digests(read(packed)) == [empty.digest]


def test_a_parent_is_named_if_it_is_saved_too() -> None:
    both = [saved(IMAGE), saved(OTHER, parent=IMAGE)]
    by_id = {
        entry["Config"]: entry.get("Parent")
        for entry in entries(write(both, held(IMAGE, OTHER))[0])
    }
    assert by_id == {
        blob_name(IMAGE.manifest.config.digest): None,
        blob_name(OTHER.manifest.config.digest): str(IMAGE.manifest.config.digest),
    }
    alone, _ = write(both[1:], held(OTHER))
    assert "Parent" not in entries(alone)[0]


def test_oci_layouts_have_no_lists_of_dockers() -> None:
    packed, _ = write([saved(IMAGE, "app:1")], held(IMAGE), format=OCI)
    assert {name for name in files_in(packed) if not name.startswith("blobs/")} == {
        "index.json",
        "oci-layout",
    }


def names_in(packed: bytes) -> list[tuple[str, str]]:
    return [
        (
            entry["annotations"]["io.containerd.image.name"],
            entry["annotations"]["org.opencontainers.image.ref.name"],
        )
        for entry in json.loads(files_in(packed)["index.json"])["manifests"]
    ]


def test_a_name_is_given_in_full_and_as_its_tag() -> None:
    packed, _ = write([saved(IMAGE, "app:1", "app:2")], held(IMAGE))
    assert names_in(packed) == [
        ("docker.io/library/app:1", "1"),
        ("docker.io/library/app:2", "2"),
    ]


def test_a_tag_that_two_images_have_would_find_either_and_is_given_in_full() -> None:
    packed, _ = write([saved(IMAGE, "a:1"), saved(OTHER, "b:1", "b:2")], held(IMAGE, OTHER))
    assert [short for _, short in names_in(packed)] == [
        "docker.io/library/a:1",
        "docker.io/library/b:1",
        "2",
    ]


def test_an_image_says_its_platform_in_the_list() -> None:
    packed, _ = write([saved(ARM)], held(ARM), format=OCI)
    (entry,) = json.loads(files_in(packed)["index.json"])["manifests"]
    assert Platform.from_json(entry["platform"]) == ARM64


def test_there_are_not_more_names_than_an_index_holds() -> None:
    names = [f"app:{number}" for number in range(1001)]
    with pytest.raises(RequestError, match="at most 1000 names"):
        write([saved(IMAGE, *names)], held(IMAGE))


# --- indexes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("platform", [AMD64, ARM64])
def test_docker_loads_the_child_for_the_platform(platform: Platform) -> None:
    (entry,) = entries(write([saved(INDEX, "app:1")], held(INDEX), platform=platform)[0])
    wanted = next(image for image in INDEX.images if image.platform == platform)
    assert entry["Config"] == blob_name(wanted.manifest.config.digest)
    assert entry["RepoTags"] == ["app:1"]


def test_docker_loads_the_only_child_whatever_its_platform() -> None:
    store = held(INDEX)
    store.remove(INDEX.images[0].digest)
    (entry,) = entries(write([saved(INDEX)], store, platform=AMD64)[0])
    assert entry["Config"] == blob_name(ARM.manifest.config.digest)


def test_an_index_without_a_child_for_the_platform_is_not_for_docker() -> None:
    with pytest.raises(PlatformNotFoundError, match="none for linux/s390x") as caught:
        write([saved(INDEX)], held(INDEX), platform=Platform("linux", "s390x"))
    assert caught.value.side is Side.STORE
    archive = archived(INDEX, format=OCI)
    assert digests(archive) == [INDEX.digest]


@pytest.mark.parametrize("root", [INDEX, LIST], ids=["index", "list"])
def test_children_that_are_not_held_are_left_out_and_still_named(root: ImageIndex) -> None:
    lost = root.images[1]
    packed, _ = write(
        [saved(root)], held(root), format=OCI, held=lambda digest: digest != lost.digest
    )
    (index,) = read(packed).roots
    assert isinstance(index, ArchivedIndex)
    assert [absent.digest for absent in index.absent] == [lost.digest]
    assert blob_name(lost.digest) not in files_in(packed)


# --- failures ----------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ArchiveFormat)
@pytest.mark.parametrize("lost", [ZSTD.digest, *(blob.digest for blob in ZSTD.manifest.blobs)])
def test_what_is_missing_is_known_before_the_first_byte(
    format: ArchiveFormat,  # noqa: A002
    lost: Digest,
) -> None:
    store = held(ZSTD)
    store.remove(lost)
    written: list[bytes] = []
    with pytest.raises(BlobMissingError, match=str(lost)):
        write_archive([saved(ZSTD)], store, written.append, format=format)
    assert written == []


def test_a_layer_of_another_size_is_known_before_the_first_byte() -> None:
    document = json.loads(IMAGE.manifest.raw)
    document["layers"][0]["size"] += 1
    store = held(IMAGE)
    root = SavedImage(store.put(encoded(document)), mediatypes.DOCKER_MANIFEST)
    written: list[bytes] = []
    with pytest.raises(SizeMismatchError):
        write_archive([root], store, written.append)
    assert written == []


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda raw: raw[:-1] + b"\1", DigestMismatchError),
        (lambda raw: raw[:-1], SizeMismatchError),
        (lambda raw: raw + b"\0", SizeMismatchError),
    ],
    ids=["changed", "shorter", "longer"],
)
def test_rotten_bytes_are_not_passed_on_as_good(
    tmp_path: Path, spoil: Any, error: type[Exception]
) -> None:
    class Rotten(LocalStore):
        rotten = False

        def open(self, digest: Digest) -> Any:
            source = super().open(digest)
            if not self.rotten or digest != IMAGE.manifest.layers[0].digest:
                return source
            with source:
                return io.BytesIO(spoil(source.read()))

    store = Rotten(tmp_path)
    put_image(store, IMAGE)
    store.rotten = True
    packed = io.BytesIO()
    with pytest.raises(error) as caught:
        write_archive([saved(IMAGE)], store, packed.write)
    assert caught.value.side is Side.STORE  # type: ignore[attr-defined]
    assert not packed.getvalue().endswith(bytes(1024))


def test_a_zstd_layer_that_is_not_its_diff_id_is_refused() -> None:
    other = build_image("other", layers=2, layer_bytes=5000)
    document = json.loads(ZSTD.manifest.raw)
    document["config"] |= other.manifest.config.to_json()
    store = held(ZSTD, other)
    root = SavedImage(store.put(encoded(document)), mediatypes.OCI_MANIFEST)
    with pytest.raises(DigestMismatchError):
        write([root], store)


def test_an_image_with_too_few_layers_is_not_for_docker() -> None:
    document = json.loads(IMAGE.manifest.raw)
    del document["layers"][1]
    store = held(IMAGE)
    root = SavedImage(store.put(encoded(document)), mediatypes.DOCKER_MANIFEST)
    with pytest.raises(InvalidManifestError, match="1 layers, and 2 diffIDs"):
        write([root], store)


@pytest.mark.parametrize("limit", [0, 3, 9])
def test_what_check_raises_ends_the_writing(limit: int) -> None:
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls > limit:
            raise CancelledError("a stop was requested")

    with pytest.raises(CancelledError):
        write([saved(IMAGE), saved(OTHER), saved(ZSTD)], held(IMAGE, OTHER, ZSTD), check=check)


def test_memory_stays_flat_however_long_a_layer_is(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    root = big_image(tmp_path / "image", 120 * 2**20, layers=2, compression="zstd")
    put_image(store, root)
    tracemalloc.start()
    try:
        write_archive([saved(root)], store, len)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 24 * 2**20
