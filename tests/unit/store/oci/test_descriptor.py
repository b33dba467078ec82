from __future__ import annotations

import base64
from typing import Any

import pytest

from transship.store.errors import InvalidManifestError
from transship.store.oci.descriptor import LARGEST, Descriptor
from transship.store.oci.digest import Digest
from transship.store.oci.platform import Platform

CONTENT = b"content"
MINIMAL: dict[str, Any] = {
    "mediaType": "application/vnd.oci.image.layer.v1.tar",
    "digest": str(Digest.of(CONTENT)),
    "size": len(CONTENT),
}
FULL: dict[str, Any] = {
    **MINIMAL,
    "platform": {"architecture": "arm64", "os": "linux", "variant": "v9"},
    "annotations": {"a": "b", "empty": ""},
    "urls": ["https://example.com/layer"],
    "artifactType": "application/vnd.example",
    "data": base64.b64encode(CONTENT).decode(),
    "org.example.unknown": {"kept": [1, None]},
}


def test_the_fields_are_read() -> None:
    assert Descriptor.from_json(FULL) == Descriptor(
        media_type="application/vnd.oci.image.layer.v1.tar",
        digest=Digest.of(CONTENT),
        size=7,
        platform=Platform("linux", "arm64", "v9"),
        annotations={"a": "b", "empty": ""},
        urls=("https://example.com/layer",),
        artifact_type="application/vnd.example",
        data=CONTENT,
        extra={"org.example.unknown": {"kept": [1, None]}},
    )


@pytest.mark.parametrize("value", [MINIMAL, FULL])
def test_json_survives_both_ways(value: dict[str, Any]) -> None:
    assert Descriptor.from_json(value).to_json() == value


@pytest.mark.parametrize("field", ["platform", "annotations", "urls", "artifactType", "data"])
def test_null_is_as_good_as_absent(field: str) -> None:
    assert Descriptor.from_json({**MINIMAL, field: None}) == Descriptor.from_json(MINIMAL)


@pytest.mark.parametrize("size", [0, LARGEST])
def test_every_size_that_a_file_can_have_is_read(size: int) -> None:
    assert Descriptor.from_json({**MINIMAL, "size": size}).size == size


@pytest.mark.parametrize("missing", ["mediaType", "digest", "size"])
def test_no_field_that_must_be_there_may_lack(missing: str) -> None:
    with pytest.raises(InvalidManifestError):
        Descriptor.from_json({key: value for key, value in MINIMAL.items() if key != missing})


@pytest.mark.parametrize(
    "changed",
    [
        {"size": -1},
        {"size": LARGEST + 1},
        {"size": 10**400},
        {"size": 7.0},
        {"size": True},
        {"size": "7"},
        {"size": None},
        {"digest": 7},
        {"digest": "sha256:abc"},
        {"digest": "../../etc/passwd"},
        {"digest": "sha256:" + "A" * 64},
        {"digest": "md5:" + "a" * 32},
        {"mediaType": ""},
        {"mediaType": 7},
        {"mediaType": "a" * 256},
        {"mediaType": "text/plain\r\nX-Injected: yes"},
        {"platform": "linux/amd64"},
        {"platform": {"os": ["linux"]}},
        {"annotations": []},
        {"annotations": ["a"]},
        {"annotations": 0},
        {"annotations": {"a": 1}},
        {"urls": ""},
        {"urls": "https://example.com"},
        {"urls": {}},
        {"urls": [None]},
        {"artifactType": 0},
        {"artifactType": []},
        {"data": 7},
        {"data": "not base64!"},
        {"data": "ä"},
        {"data": base64.b64encode(b"another").decode()},
        {"data": base64.b64encode(b"longer content").decode()},
        {"Digest": str(Digest.of(b"another"))},
        {"SIZE": 8},
        {"mediatype": "text/plain"},
        {"\u017fize": 8},
    ],
)
def test_wrong_fields_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(InvalidManifestError):
        Descriptor.from_json({**MINIMAL, **changed})


@pytest.mark.parametrize("value", [None, [], "sha256:abc", 7])
def test_what_is_no_object_is_refused(value: object) -> None:
    with pytest.raises(InvalidManifestError):
        Descriptor.from_json(value)


def test_embedded_data_is_checked_by_the_algorithm_of_the_digest() -> None:
    value = {**FULL, "digest": str(Digest.of(CONTENT, "sha512"))}
    assert Descriptor.from_json(value).data == CONTENT
