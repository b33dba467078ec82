from __future__ import annotations

import pytest

from transship.store.oci import mediatypes


@pytest.mark.parametrize(
    ("written", "essence"),
    [
        ("application/json", "application/json"),
        ("application/json; charset=utf-8", "application/json"),
        ("Application/JSON ;q=1", "application/json"),
        ("", ""),
    ],
)
def test_parameters_and_case_do_not_count(written: str, essence: str) -> None:
    assert mediatypes.essence(written) == essence


@pytest.mark.parametrize("media_type", [mediatypes.OCI_INDEX, mediatypes.DOCKER_LIST])
def test_indexes_are_known(media_type: str) -> None:
    assert mediatypes.is_index(media_type)
    assert not mediatypes.is_manifest(media_type)


@pytest.mark.parametrize("media_type", [mediatypes.OCI_MANIFEST, mediatypes.DOCKER_MANIFEST])
def test_manifests_are_known(media_type: str) -> None:
    assert mediatypes.is_manifest(media_type)
    assert not mediatypes.is_index(media_type)


@pytest.mark.parametrize(
    "media_type",
    [
        mediatypes.OCI_LAYER,
        mediatypes.OCI_LAYER_GZIP,
        mediatypes.OCI_LAYER_ZSTD,
        mediatypes.DOCKER_LAYER,
        mediatypes.DOCKER_LAYER_GZIP,
        f"{mediatypes.OCI_NONDISTRIBUTABLE}+gzip",
        f"{mediatypes.DOCKER_FOREIGN}.gzip",
    ],
)
def test_layers_are_known(media_type: str) -> None:
    assert mediatypes.is_layer(media_type)


@pytest.mark.parametrize("media_type", [mediatypes.OCI_CONFIG, mediatypes.OCI_EMPTY, "text/plain"])
def test_other_blobs_are_no_layers(media_type: str) -> None:
    assert not mediatypes.is_layer(media_type)


@pytest.mark.parametrize(
    "media_type",
    [
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ],
)
def test_layers_that_may_not_be_uploaded_are_known(media_type: str) -> None:
    assert mediatypes.is_nondistributable(media_type)


@pytest.mark.parametrize("media_type", [mediatypes.OCI_LAYER_GZIP, mediatypes.DOCKER_LAYER_GZIP])
def test_other_layers_may_be_uploaded(media_type: str) -> None:
    assert not mediatypes.is_nondistributable(media_type)


@pytest.mark.parametrize("media_type", mediatypes.SCHEMA1)
def test_schema_1_is_asked_for_and_not_taken(media_type: str) -> None:
    assert mediatypes.is_schema1(media_type)
    assert media_type in mediatypes.ACCEPT
    assert media_type not in mediatypes.MANIFEST_TYPES
