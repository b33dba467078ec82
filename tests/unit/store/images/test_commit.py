"""The config of a commit, as Docker writes it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.images import AMD64, ARM64
from transship.store.errors import RequestError
from transship.store.images.build.commit import Commit, child_config, child_platform
from transship.store.oci.config import ImageConfig
from transship.store.oci.digest import Digest

LAYER = Digest.of(b"a layer")
BELOW = str(Digest.of(b"below"))
NOW = 1_700_000_000.0
BASE_DOCUMENT: dict[str, Any] = {
    "architecture": "arm64",
    "variant": "v8",
    "os": "linux",
    "os.version": "1",
    "author": "Bea",
    "created": "2024-01-01T00:00:00Z",
    "container": "0123",
    "docker_version": "20.10",
    "config": {"Cmd": ["/bin/app", "--fast"], "Env": ["A=1"], "Entrypoint": None},
    "history": [{"created_by": "COPY"}],
    "rootfs": {"type": "layers", "diff_ids": [BELOW]},
}
BASE = ImageConfig.parse(json.dumps(BASE_DOCUMENT).encode())


def made(wanted: Commit, layer: Digest | None = LAYER) -> dict[str, Any]:
    raw = child_config(BASE, layer, wanted, child_platform(BASE, AMD64))
    assert ImageConfig.parse(raw).platform == BASE.platform
    document: dict[str, Any] = json.loads(raw)
    return document


def test_a_commit_adds_a_layer_and_a_step() -> None:
    document = made(Commit(created=NOW, author="Ann", message="said"))
    assert document == {
        "architecture": "arm64",
        "variant": "v8",
        "os": "linux",
        "os.version": "1",
        "author": "Ann",
        "created": "2023-11-14T22:13:20Z",
        "config": {"Cmd": ["/bin/app", "--fast"], "Env": ["A=1"]},
        "history": [
            {"created_by": "COPY"},
            {
                "created": "2023-11-14T22:13:20Z",
                "author": "Ann",
                "created_by": "/bin/app --fast",
                "comment": "said",
            },
        ],
        "rootfs": {"type": "layers", "diff_ids": [BELOW, str(LAYER)]},
    }


def test_without_a_layer_the_step_is_empty() -> None:
    document = made(Commit(created=NOW), None)
    assert document["rootfs"]["diff_ids"] == [BELOW]
    assert document["history"][-1]["empty_layer"] is True


def test_changes_are_made_to_the_config_of_the_base() -> None:
    config = made(Commit(created=NOW, changes=("ENV A=2", "CMD x")))["config"]
    assert (config["Env"], config["Cmd"]) == (["A=2"], ["/bin/sh", "-c", "x"])


def test_a_config_that_is_given_takes_over_what_it_leaves_out() -> None:
    given = {"Env": ["B=2"], "User": "5"}
    config = made(Commit(created=NOW, config=given, changes=("USER 6",)))["config"]
    assert (config["Env"], config["User"]) == (["B=2", "A=1"], "6")
    assert config["Cmd"] == ["/bin/app", "--fast"]


def test_a_step_of_a_build_brings_its_container() -> None:
    container = {"Cmd": ["/bin/sh", "-c", "make"], "Image": BELOW}
    document = made(Commit(created=NOW, container_config=container))
    assert document["container_config"] == container
    assert document["history"][-1]["created_by"] == "/bin/sh -c make"
    assert document["config"]["Cmd"] == ["/bin/app", "--fast"]


def test_a_step_of_a_build_sets_and_drops_any_field() -> None:
    config = {"Env": ["B=2"], "OnBuild": ["RUN x"], "Shell": ["/bin/other"]}
    step = Commit(created=NOW, container_config={"Cmd": ["x"]}, config=config, changes=("USER 5",))
    assert made(step)["config"] == {**config, "User": "5"}


def test_what_made_it_can_be_said() -> None:
    document = made(Commit(created=NOW, created_by="RUN make", container_config={"Cmd": ["x"]}))
    assert document["history"][-1]["created_by"] == "RUN make"


def test_an_image_without_a_base_is_for_the_host() -> None:
    raw = child_config(None, LAYER, Commit(created=NOW), child_platform(None, ARM64))
    config = ImageConfig.parse(raw)
    assert config.platform == ARM64
    assert (config.diff_ids, len(config.history)) == ((LAYER,), 1)


@pytest.mark.parametrize("system", ["windows", "plan10", ""])
def test_images_for_other_systems_are_refused(system: str) -> None:
    other = ImageConfig.parse(json.dumps({**BASE_DOCUMENT, "os": system}).encode())
    with pytest.raises(RequestError):
        child_platform(other, AMD64)
