from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from transship.store.errors import InvalidManifestError
from transship.store.oci.config import MAX_CONFIG_BYTES, ImageConfig
from transship.store.oci.digest import Digest
from transship.store.oci.platform import Platform

DIFF_IDS = [str(Digest.of(bytes([number]))) for number in range(3)]
CONFIG: dict[str, Any] = {
    "architecture": "arm64",
    "os": "linux",
    "variant": "v8",
    "created": "2024-05-01T12:00:00Z",
    "config": {"Labels": {"a": "b"}, "Env": ["PATH=/bin"]},
    "rootfs": {"type": "layers", "diff_ids": DIFF_IDS},
    "history": [{"created_by": "COPY"}, {"created_by": "CMD", "empty_layer": True}],
    "moby.buildkit.buildinfo.v1": "unknown",
}


def config(**changed: Any) -> ImageConfig:
    return ImageConfig.parse(json.dumps({**CONFIG, **changed}).encode())


def test_the_digest_is_that_of_the_bytes() -> None:
    raw = b"\n" + json.dumps(CONFIG).encode()
    assert ImageConfig.parse(raw).digest == Digest.of(raw)


def test_the_platform_is_read() -> None:
    assert config().platform == Platform("linux", "arm64", "v8")


def test_the_layers_are_read_in_order() -> None:
    assert [str(diff_id) for diff_id in config().diff_ids] == DIFF_IDS


def test_the_history_is_read_in_order() -> None:
    assert list(config().history) == CONFIG["history"]


def test_the_time_is_kept_as_written() -> None:
    assert config().created == "2024-05-01T12:00:00Z"


def test_the_labels_are_read() -> None:
    assert config().labels == {"a": "b"}


def test_unknown_fields_are_kept() -> None:
    assert config().document["moby.buildkit.buildinfo.v1"] == "unknown"


@pytest.mark.parametrize(
    "changed",
    [
        {"config": None},
        {"config": {}},
        {"config": {"Labels": None}},
        {"config": []},
        {"config": {"Labels": {"a": 1}}},
    ],
)
def test_labels_may_lack(changed: dict[str, Any]) -> None:
    assert config(**changed).labels == {}


@pytest.mark.parametrize("created", [None, 7])
def test_a_time_that_is_no_text_is_none(created: object) -> None:
    assert config(created=created).created is None


@pytest.mark.parametrize("diff_ids", [None, []])
def test_an_image_may_have_no_layers(diff_ids: object) -> None:
    assert config(rootfs={"type": "layers", "diff_ids": diff_ids}).chain_ids() == ()


def test_the_type_of_a_rootfs_may_lack_for_there_is_but_one() -> None:
    assert list(map(str, config(rootfs={"diff_ids": DIFF_IDS}).diff_ids)) == DIFF_IDS


def test_a_history_may_lack() -> None:
    assert config(history=None).history == ()


@pytest.mark.parametrize(
    "changed",
    [
        {"rootfs": None},
        {"rootfs": []},
        {"rootfs": {"type": "tarball", "diff_ids": DIFF_IDS}},
        {"rootfs": {"type": "layers", "diff_ids": "sha256:abc"}},
        {"rootfs": {"type": "layers", "diff_ids": 0}},
        {"rootfs": {"type": "layers", "diff_ids": ["sha256:abc"]}},
        {"rootfs": {"type": "layers", "diff_ids": [None]}},
        {"history": {}},
        {"history": ["COPY"]},
        {"architecture": 64},
    ],
)
def test_wrong_fields_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(InvalidManifestError):
        config(**changed)


@pytest.mark.parametrize("raw", [b"[]", b"null", b"", b'{"os": "a", "os": "b"}'])
def test_what_is_no_config_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidManifestError):
        ImageConfig.parse(raw)


def test_more_than_eight_mebibytes_are_refused() -> None:
    raw = json.dumps(CONFIG).encode()
    with pytest.raises(InvalidManifestError):
        ImageConfig.parse(raw + b" " * (MAX_CONFIG_BYTES - len(raw) + 1))


def test_a_chain_id_is_of_the_layer_and_all_below() -> None:
    first, second, third = DIFF_IDS
    two = "sha256:" + hashlib.sha256(f"{first} {second}".encode()).hexdigest()
    three = "sha256:" + hashlib.sha256(f"{two} {third}".encode()).hexdigest()
    assert [str(chain_id) for chain_id in config().chain_ids()] == [first, two, three]
