"""Squash by the command line: file for file what umoci makes of the original; across registries."""

from __future__ import annotations

import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.file_images import image_of
from tests.support.images import ARM64, build_image, build_index, push_index, push_to_registry
from tests.support.registries import RegistryProcess
from tests.support.server import environment, run
from tests.support.tars import (
    facts_of,
    file,
    folder,
    hardlink,
    needs_umoci,
    symlink,
    tar_of,
)
from transship.store.oci import mediatypes

BASE = build_image("base", layers=2, layer_bytes=20_000)
APP = build_image("app", layers=3, layer_bytes=20_000, base=BASE)
EPOCH = "1600000000"

# Deletes, exchanges files and directories, links across layers, repeats entries.
TRICKY = [
    tar_of(
        folder("etc"), file("etc/kept", b"kept\n"), file("etc/gone", b"gone\n"), folder("srv"),
        file("srv/one", b"1"), folder("srv/sub"), file("srv/sub/two", b"2"), folder("var"),
        file("var/file", b"f"), file("becomes-a-directory", b"x"), folder("becomes-a-file"),
        file("becomes-a-file/in", b"in"),
    ),
    tar_of(
        file("etc/.wh.gone"), hardlink("etc/linked", "etc/kept"), folder("srv"),
        file("srv/.wh..wh..opq"), file("srv/new", b"n"), file(".wh.becomes-a-directory"),
        folder("becomes-a-directory"), file("becomes-a-directory/in", b"in"),
        file(".wh.becomes-a-file"), file("becomes-a-file", b"a file"),
    ),
    tar_of(
        symlink("etc/soft", "kept"), file("etc/twice", b"first"), file("etc/twice", b"second"),
        file("etc/set", b"s", mode=0o4755, uid=7, gid=8), file("var/.wh.file"),
    ),
]  # fmt: skip


def ok(*arguments: str, environ: dict[str, str]) -> str:
    """Run `transship`, which succeeds, and return what it wrote."""
    done = run(*arguments, environ=environ)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path / "home", SOURCE_DATE_EPOCH=EPOCH)


def pulled(source: RegistryProcess, environ: dict[str, str]) -> str:
    """Pull an image of the tricky layers, and return its name.

    Docker refuses to load them, for they link to what is in another layer, and have a path twice.
    """
    history = [{"created_by": f"layer {number}"} for number in range(len(TRICKY))]
    push_to_registry(source.url, "team/tricky", "1", image_of(*TRICKY, history=history))
    name = f"{source.host}/team/tricky:1"
    ok("pull", name, "-q", environ=environ)
    return name


def unpacked(name: str, directory: Path, environ: dict[str, str]) -> Path:
    """What umoci makes of an image of the store."""
    directory.mkdir()
    saved, layout, bundle = directory / "saved.tar", directory / "layout", directory / "bundle"
    ok("save", name, "-o", str(saved), "--format", "oci", environ=environ)
    with tarfile.open(saved) as opened:
        opened.extractall(layout)
    index = json.loads((layout / "index.json").read_text())
    tag = index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"]
    done = subprocess.run(
        ["umoci", "unpack", "--image", f"{layout}:{tag}", str(bundle)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return bundle / "rootfs"


@needs_umoci
@pytest.mark.parametrize("how", [(), ("--last", "2")], ids=["whole", "the last two"])
def test_a_squashed_image_has_the_files_of_the_original(
    tmp_path: Path, source: RegistryProcess, how: tuple[str, ...]
) -> None:
    plain = environment(tmp_path / "home")  # times are not clamped
    name = pulled(source, plain)
    ok("squash", name, "-t", "squashed:1", *how, environ=plain)
    original = facts_of(unpacked(name, tmp_path / "original", plain))
    assert facts_of(unpacked("squashed:1", tmp_path / "squashed", plain)) == original
    assert len(original) > 10


def test_it_is_said_what_was_done(source: RegistryProcess, environ: dict[str, str]) -> None:
    name = pulled(source, environ)
    first = json.loads(ok("squash", name, "-t", "a:1", "--json", environ=environ))
    second = json.loads(ok("squash", name, "-t", "b:1", "--json", environ=environ))
    assert first["result"]["digest"] == second["result"]["digest"]
    history = json.loads(ok("history", "a:1", "--json", environ=environ))["items"]
    assert [step["created_by"] for step in history] == ["", "layer 2", "layer 1", "layer 0"]
    assert history[0]["comment"].startswith("create new from sha256:")
    said = ok("squash", name, "-t", "a:1", environ=environ)
    assert said == f"docker.io/library/a:1@{first['result']['digest']}: squashed\n"


def manifest(registry: RegistryProcess, name: str) -> dict[str, Any]:
    answer = httpx.get(
        f"{registry.url}/v2/team/app/manifests/{name}",
        headers={"Accept": f"{mediatypes.OCI_MANIFEST}, {mediatypes.OCI_INDEX}"},
    )
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def blob(registry: RegistryProcess, digest: str) -> bytes:
    return httpx.get(f"{registry.url}/v2/team/app/blobs/{digest}").raise_for_status().content


def test_from_registry_to_registry_in_one_job(
    source: RegistryProcess, target: RegistryProcess, environ: dict[str, str]
) -> None:
    push_to_registry(source.url, "team/app", "1", APP)
    push_to_registry(source.url, "team/base", "1", BASE)
    job = json.loads(
        ok(
            *("squash", f"registry:{source.host}/team/app:1"),
            *("-t", f"registry:{target.host}/team/app:sq"),
            *("--parent", f"registry:{source.host}/team/base:1", "--json"),
            environ=environ,
        )
    )
    made = manifest(target, "sq")
    kept = [str(layer.digest) for layer in BASE.manifest.layers]
    assert [layer["digest"] for layer in made["layers"][:-1]] == kept
    config = json.loads(blob(target, made["config"]["digest"]))
    assert config["history"][-1]["comment"].startswith("merge sha256:")
    assert config["created"] == "2020-09-13T12:26:40Z"
    assert job["result"]["image_id"] == made["config"]["digest"]
    for layer in made["layers"]:
        assert len(blob(target, layer["digest"])) == layer["size"]
    assert json.loads(ok("images", "--json", environ=environ))["items"] == []


def test_an_index_from_a_registry_is_squashed_for_every_platform(
    source: RegistryProcess, environ: dict[str, str]
) -> None:
    images = [
        build_image("multi", layers=3, layer_bytes=9000),
        build_image("multi", platform=ARM64),
    ]
    push_index(source.url, "team/app", "multi", build_index(images, attestations=True))
    ok(
        *("squash", f"registry:{source.host}/team/app:multi"),
        *("-t", f"registry:{source.host}/team/app:sq", "--compress", "zstd"),
        environ=environ,
    )
    made = manifest(source, "sq")
    assert [child["platform"]["architecture"] for child in made["manifests"]] == ["amd64", "arm64"]
    for child in made["manifests"]:
        (layer,) = manifest(source, child["digest"])["layers"]
        assert layer["mediaType"] == mediatypes.OCI_LAYER_ZSTD
        assert blob(source, layer["digest"])


def test_a_name_that_reads_as_a_reference_is_one_of_the_store(environ: dict[str, str]) -> None:
    done = run("squash", "registry:2", "-t", "x", environ=environ)
    assert done.returncode == 1
    assert "No such image: " in done.stderr
