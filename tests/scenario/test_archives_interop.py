"""Archives between Transship and what else there is: Docker 20.10, skopeo, umoci.

What one writes the others read, and the image is the same: its ID, which is its config's digest,
and the files of its layers.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.dockerd import Dockerd, daemon_or_skip
from tests.support.images import (
    AMD64,
    ARM64,
    Image,
    ImageIndex,
    build_image,
    build_index,
    put_image,
)
from tests.support.memory_store import MemoryStore
from tests.unit.store.archives.archives import MemorySink, read
from transship.store.archives.archive import Archive
from transship.store.archives.plan import ArchiveFormat, SavedImage
from transship.store.archives.write import write_archive
from transship.store.layers.codecs.formats import Compression
from transship.store.oci.digest import Digest
from transship.store.oci.reference import Reference

DOCKER, OCI = ArchiveFormat.DOCKER, ArchiveFormat.OCI

GZIP = build_image("gzip", layers=3, layer_bytes=60_000, media="docker", repeated_layer=True)
PLAIN = build_image("plain", layers=2, layer_bytes=60_000, media="docker", compression="none")
ZSTD = build_image("zstd", layers=2, layer_bytes=60_000, compression=("zstd", "gzip"))
ZERO = build_image("zero", layers=0)
MANY = build_image("many", layers=40, layer_bytes=4000, media="docker")
INDEX = build_index(
    [build_image("multi", layers=1), build_image("multi", layers=1, platform=ARM64)],
    attestations=True,
)
IMAGES = {"gzip": GZIP, "plain": PLAIN, "zstd": ZSTD, "zero": ZERO, "many": MANY}
TAGS = {image.manifest.config.digest: f"test/{name}:v1" for name, image in IMAGES.items()}

needs_skopeo = pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
needs_umoci = pytest.mark.skipif(
    shutil.which("umoci") is None or os.geteuid() != 0, reason="needs umoci, and to be root"
)


def write(
    path: Path,
    roots: dict[str, Image | ImageIndex],
    *,
    format: ArchiveFormat,  # noqa: A002
    compression: Compression = Compression.NONE,
) -> Path:
    """Write an archive of *roots*, by the names to save each under."""
    store = MemoryStore()
    images = []
    for name, root in roots.items():
        put_image(store, root)
        document = root.index if isinstance(root, ImageIndex) else root.manifest
        images.append(SavedImage(root.digest, document.media_type, (Reference.parse(name),)))
    with path.open("wb") as file:
        write_archive(
            images, store, file.write, format=format, compression=compression, platform=AMD64
        )
    return path


def named() -> dict[str, Image | ImageIndex]:
    return {TAGS[image.manifest.config.digest]: image for image in IMAGES.values()}


def ids(archive: Archive) -> dict[str, Digest | None]:
    return {name.familiar: one.image_id for one in archive.images for name in one.names}


def run(*command: str | Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def skopeo(*arguments: str) -> str:
    return run("skopeo", "--insecure-policy", *arguments)


# --- Docker ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def docker() -> Iterator[Dockerd]:
    with daemon_or_skip() as daemon:
        yield daemon


def load(docker: Dockerd, packed: bytes) -> str:
    items = docker.stream("POST", "/images/load", params={"quiet": 1}, content=packed)
    return "".join(item.get("stream", "") for item in items)


def docker_save(docker: Dockerd, *names: str) -> bytes:
    return docker.request("GET", "/images/get", params={"names": list(names)})


@pytest.mark.parametrize("compression", [Compression.NONE, Compression.GZIP])
def test_docker_loads_what_we_save(
    docker: Dockerd, tmp_path: Path, compression: Compression
) -> None:
    path = write(tmp_path / "a.tar", named(), format=DOCKER, compression=compression)
    said = load(docker, path.read_bytes())
    for image_id, tag in TAGS.items():
        assert f"Loaded image: {tag}\n" in said
        found = docker.json("GET", f"/images/{tag}/json")
        assert found["Id"] == str(image_id)
        image = next(one for one in IMAGES.values() if one.manifest.config.digest == image_id)
        layers = found["RootFS"].get("Layers") or []
        assert layers == [str(diff_id) for diff_id in image.diff_ids]


def test_docker_loads_one_platform_of_an_index(docker: Dockerd, tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", {"test/multi:v1": INDEX}, format=DOCKER)
    load(docker, path.read_bytes())
    found = docker.json("GET", "/images/test/multi:v1/json")
    assert found["Id"] == str(INDEX.images[0].manifest.config.digest)


def test_we_load_what_docker_saves_and_docker_loads_it_again(
    docker: Dockerd, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.tar", named(), format=DOCKER)
    load(docker, path.read_bytes())
    with_layers = {image_id: tag for image_id, tag in TAGS.items() if "zero" not in tag}
    archive = read(docker_save(docker, *with_layers.values()))
    assert ids(archive) == {tag: image_id for image_id, tag in with_layers.items()}
    for image in archive.images:
        assert image.missing == ()
        assert image.config is not None
        assert [layer.diff_id for layer in image.layers] == list(image.config.diff_ids)

    for tag in with_layers.values():
        docker.json("DELETE", f"/images/{tag}", params={"force": 1})
    load(docker, path.read_bytes())
    for image_id, tag in with_layers.items():
        assert docker.json("GET", f"/images/{tag}/json")["Id"] == str(image_id)


def test_we_save_again_what_docker_saved(docker: Dockerd, tmp_path: Path) -> None:
    """Docker to Transship to Docker: the layers come uncompressed, and the ID is the same."""
    path = write(tmp_path / "a.tar", {"test/many:v1": MANY}, format=DOCKER)
    load(docker, path.read_bytes())
    from_docker = docker_save(docker, "test/many:v1")
    docker.json("DELETE", "/images/test/many:v1", params={"force": 1})
    sink = MemorySink()
    (image,) = read(from_docker, sink).images
    manifest = image.complete({})
    sink.put(manifest.raw)
    packed = io.BytesIO()
    write_archive(
        [SavedImage(manifest.digest, manifest.media_type, image.names)], sink, packed.write
    )
    load(docker, packed.getvalue())
    found = docker.json("GET", "/images/test/many:v1/json")
    assert found["Id"] == str(MANY.manifest.config.digest)


# --- skopeo ------------------------------------------------------------------------------------


def single(
    image: Image | ImageIndex,
    directory: Path,
    *,
    format: ArchiveFormat,  # noqa: A002
) -> Path:
    return write(directory / "one.tar", {"test/one:v1": image}, format=format)


def written_by_skopeo(directory: Path) -> tuple[Digest, ...]:
    """The blobs that skopeo left in *directory*, each what its name says."""
    found = []
    for path in directory.iterdir():
        if len(path.name) == 64:
            assert Digest.of(path.read_bytes()).hex == path.name
            found.append(Digest("sha256", path.name))
    return tuple(found)


@needs_skopeo
@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
def test_skopeo_reads_our_docker_archives(tmp_path: Path, image: Image) -> None:
    path = single(image, tmp_path, format=DOCKER)
    skopeo("copy", f"docker-archive:{path}:docker.io/test/one:v1", f"dir:{tmp_path / 'out'}")
    assert image.manifest.config.digest in written_by_skopeo(tmp_path / "out")


@needs_skopeo
@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
def test_skopeo_reads_our_oci_archives(tmp_path: Path, image: Image) -> None:
    path = single(image, tmp_path, format=OCI)
    skopeo("copy", f"oci-archive:{path}:v1", f"dir:{tmp_path / 'out'}")
    assert set(written_by_skopeo(tmp_path / "out")) == set(image.blobs)


@needs_skopeo
def test_skopeo_reads_every_platform_of_our_oci_archives(tmp_path: Path) -> None:
    path = single(INDEX, tmp_path, format=OCI)
    skopeo("copy", "--all", f"oci-archive:{path}:v1", f"oci-archive:{tmp_path / 'out.tar'}:v1")
    (index,) = read((tmp_path / "out.tar").read_bytes()).indexes
    assert index.index.digest == INDEX.digest


@needs_skopeo
@pytest.mark.parametrize("image", [GZIP, PLAIN, ZSTD, MANY], ids=["gzip", "plain", "zstd", "many"])
@pytest.mark.parametrize("transport", ["docker-archive", "oci-archive"])
def test_we_read_what_skopeo_writes(tmp_path: Path, image: Image, transport: str) -> None:
    ours = single(image, tmp_path, format=DOCKER)
    out = tmp_path / "out.tar"
    skopeo("copy", f"docker-archive:{ours}", f"{transport}:{out}:test/other:v2")
    (found,) = read(out.read_bytes()).images
    assert [str(name) for name in found.names] == ["docker.io/test/other:v2"]
    assert [layer.diff_id for layer in found.layers] == list(image.diff_ids)
    if transport == "docker-archive":
        assert found.image_id == image.manifest.config.digest


# --- umoci -------------------------------------------------------------------------------------


def unpacked(archive: Path, directory: Path) -> Path:
    directory.mkdir()
    run("tar", "-xf", archive, "-C", directory)
    return directory


@needs_umoci
@pytest.mark.parametrize("image", [GZIP, PLAIN, MANY], ids=["gzip", "plain", "many"])
def test_umoci_reads_our_oci_archives(tmp_path: Path, image: Image) -> None:
    layout = unpacked(single(image, tmp_path, format=OCI), tmp_path / "layout")
    assert run("umoci", "ls", "--layout", layout).split() == ["v1"]
    run("umoci", "unpack", "--image", f"{layout}:v1", tmp_path / "bundle")
    rootfs = tmp_path / "bundle" / "rootfs"
    last = len(set(image.diff_ids)) - 1
    if image is GZIP:  # its first layer comes once more, on top
        last = 0
    assert (rootfs / "etc/layers" / str(last)).read_text().endswith(f"layer {last}\n")


def repacked(layout: Path, archive: Path, members: Sequence[str]) -> bytes:
    run("tar", "-cf", archive, "-C", layout, *members)
    return archive.read_bytes()


@needs_umoci
def test_we_read_what_umoci_changes(tmp_path: Path) -> None:
    layout = unpacked(single(GZIP, tmp_path, format=OCI), tmp_path / "layout")
    run("umoci", "config", "--author", "someone", "--image", f"{layout}:v1", "--tag", "v2")
    run("umoci", "gc", "--layout", layout)
    members = ["./index.json", "./blobs", "./oci-layout"]
    archive = read(repacked(layout, tmp_path / "out.tar", members))
    by_name = {name.familiar: one for one in archive.images for name in one.names}
    assert by_name.keys() == {"test/one:v1", "test/one:v2"}
    changed = by_name["test/one:v2"]
    assert changed.config is not None
    assert changed.config.document["author"] == "someone"
    assert [layer.diff_id for layer in changed.layers] == list(GZIP.diff_ids)
