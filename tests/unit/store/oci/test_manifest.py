from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transship.store.errors import InvalidManifestError, TransshipError, UnsupportedMediaTypeError
from transship.store.oci import mediatypes
from transship.store.oci.digest import Digest
from transship.store.oci.manifest import (
    MAX_MANIFEST_BYTES,
    Index,
    Manifest,
    parse_manifest,
)


def named(content: str, media_type: str = mediatypes.OCI_LAYER_GZIP) -> dict[str, Any]:
    raw = content.encode()
    return {"mediaType": media_type, "digest": str(Digest.of(raw)), "size": len(raw)}


CONFIG = named("config", mediatypes.OCI_CONFIG)
MANIFEST: dict[str, Any] = {
    "schemaVersion": 2,
    "mediaType": mediatypes.OCI_MANIFEST,
    "config": CONFIG,
    "layers": [named("one"), named("two")],
}
INDEX: dict[str, Any] = {
    "schemaVersion": 2,
    "mediaType": mediatypes.OCI_INDEX,
    "manifests": [
        named("amd64", mediatypes.OCI_MANIFEST) | {"platform": {"os": "linux"}},
        named("arm64", mediatypes.OCI_MANIFEST) | {"x-unknown": 1.5},
        named("attestation", mediatypes.OCI_MANIFEST),
    ],
}


def encoded(*parts: dict[str, Any]) -> bytes:
    document: dict[str, Any] = {}
    for part in parts:
        document |= part
    return json.dumps({key: value for key, value in document.items() if value != "-"}).encode()


def manifest(**changed: Any) -> Manifest:
    parsed = parse_manifest(encoded(MANIFEST, changed))
    assert isinstance(parsed, Manifest)
    return parsed


def index(**changed: Any) -> Index:
    parsed = parse_manifest(encoded(INDEX, changed))
    assert isinstance(parsed, Index)
    return parsed


# --- what is read ------------------------------------------------------------------------------


def test_the_digest_is_that_of_the_bytes() -> None:
    raw = b" \n" + encoded(MANIFEST) + b"\n"
    parsed = parse_manifest(raw)
    assert (parsed.raw, parsed.digest) == (raw, Digest.of(raw))


def test_the_descriptor_says_type_digest_and_length() -> None:
    parsed = manifest()
    assert parsed.descriptor.to_json() == {
        "mediaType": mediatypes.OCI_MANIFEST,
        "digest": str(Digest.of(parsed.raw)),
        "size": len(parsed.raw),
    }


def test_layers_are_in_order() -> None:
    assert [layer.to_json() for layer in manifest().layers] == MANIFEST["layers"]


def test_blobs_are_the_config_then_each_layer_once() -> None:
    parsed = manifest(layers=[named("one"), named("two"), named("one"), CONFIG])
    assert [blob.digest for blob in parsed.blobs] == [
        Digest.of(content) for content in (b"config", b"one", b"two")
    ]


def test_children_are_in_order() -> None:
    assert [child.to_json()["digest"] for child in index().manifests] == [
        child["digest"] for child in INDEX["manifests"]
    ]


@pytest.mark.parametrize("layers", [[], None, "-"])
def test_a_manifest_may_have_no_layers(layers: object) -> None:
    assert manifest(layers=layers).layers == ()


def test_an_index_may_be_empty() -> None:
    assert index(manifests=[]).manifests == ()


def test_subject_artifact_type_and_annotations_are_read() -> None:
    subject = named("subject", mediatypes.OCI_MANIFEST)
    parsed = manifest(subject=subject, artifactType="application/x", annotations={"a": "b"})
    assert parsed.subject is not None
    assert (parsed.subject.to_json(), parsed.artifact_type, parsed.annotations) == (
        subject,
        "application/x",
        {"a": "b"},
    )


def test_an_index_may_have_a_subject() -> None:
    subject = index(subject=named("subject", mediatypes.OCI_MANIFEST)).subject
    assert subject is not None
    assert subject.digest == Digest.of(b"subject")


def test_blobs_of_unknown_types_are_read() -> None:
    odd = named("odd", "application/vnd.nobody.knows")
    assert manifest(layers=[odd], config=odd).layers[0].media_type == odd["mediaType"]


# --- media types -------------------------------------------------------------------------------


@pytest.mark.parametrize("media_type", mediatypes.IMAGE_TYPES)
def test_manifests_of_both_kinds_are_read(media_type: str) -> None:
    assert manifest(mediaType=media_type).media_type == media_type


@pytest.mark.parametrize("media_type", mediatypes.INDEX_TYPES)
def test_indexes_of_both_kinds_are_read(media_type: str) -> None:
    assert index(mediaType=media_type).media_type == media_type


@pytest.mark.parametrize(
    ("served", "inside", "read_as"),
    [
        (mediatypes.OCI_MANIFEST, mediatypes.OCI_MANIFEST, mediatypes.OCI_MANIFEST),
        (f"{mediatypes.OCI_MANIFEST}; charset=utf-8", "-", mediatypes.OCI_MANIFEST),
        (mediatypes.OCI_MANIFEST.upper(), mediatypes.OCI_MANIFEST, mediatypes.OCI_MANIFEST),
        (mediatypes.DOCKER_MANIFEST, "-", mediatypes.DOCKER_MANIFEST),
        (mediatypes.DOCKER_MANIFEST, None, mediatypes.DOCKER_MANIFEST),
        ("application/json", mediatypes.DOCKER_MANIFEST, mediatypes.DOCKER_MANIFEST),
        ("application/json", "-", mediatypes.OCI_MANIFEST),
        (None, mediatypes.DOCKER_MANIFEST, mediatypes.DOCKER_MANIFEST),
        (None, "-", mediatypes.OCI_MANIFEST),
    ],
)
def test_the_type_is_the_one_that_is_told(
    served: str | None, inside: str | None, read_as: str
) -> None:
    assert parse_manifest(encoded(MANIFEST, {"mediaType": inside}), served).media_type == read_as


def test_an_index_that_is_told_nothing_of_is_known_by_its_fields() -> None:
    assert isinstance(parse_manifest(encoded(INDEX, {"mediaType": "-"})), Index)


@pytest.mark.parametrize(
    "served", ["text/html", "application/octet-stream", mediatypes.OCI_LAYER, "nonsense"]
)
def test_what_is_served_as_something_else_is_refused(served: str) -> None:
    with pytest.raises(UnsupportedMediaTypeError):
        parse_manifest(encoded(MANIFEST), served)


@pytest.mark.parametrize("inside", ["text/html", mediatypes.OCI_CONFIG])
def test_what_calls_itself_something_else_is_refused(inside: str) -> None:
    with pytest.raises(UnsupportedMediaTypeError):
        manifest(mediaType=inside)


SCHEMA1 = {"schemaVersion": 1, "name": "a", "tag": "b", "fsLayers": [], "history": []}


@pytest.mark.parametrize("served", [*mediatypes.SCHEMA1, "application/json", None])
def test_schema_1_is_refused_with_advice(served: str | None) -> None:
    with pytest.raises(UnsupportedMediaTypeError) as caught:
        parse_manifest(encoded(SCHEMA1), served)
    assert caught.value.hint


# --- what could be read in two ways ------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "served"),
    [
        (encoded(MANIFEST, {"manifests": []}), None),
        (encoded(MANIFEST, {"manifests": INDEX["manifests"]}), mediatypes.OCI_MANIFEST),
        (encoded(MANIFEST, {"fsLayers": []}), None),
        (encoded(INDEX, {"layers": []}), None),
        (encoded(INDEX, {"config": CONFIG}), mediatypes.OCI_INDEX),
        (encoded(INDEX, {"fsLayers": []}), None),
        (encoded(MANIFEST, INDEX, {"mediaType": "-"}), None),
        (encoded(MANIFEST, INDEX, {"mediaType": "-"}), mediatypes.OCI_MANIFEST),
        (encoded(MANIFEST), mediatypes.OCI_INDEX),
        (encoded(MANIFEST), mediatypes.DOCKER_MANIFEST),
        (encoded(INDEX), mediatypes.OCI_MANIFEST),
        (encoded(INDEX), mediatypes.DOCKER_LIST),
        (encoded(MANIFEST, {"mediaType": "-"}), mediatypes.OCI_INDEX),
        (encoded(INDEX, {"mediaType": "-"}), mediatypes.OCI_MANIFEST),
        (encoded(MANIFEST, {"Layers": []}), None),
        (encoded(MANIFEST, {"MANIFESTS": []}), None),
        (encoded(MANIFEST, {"mediatype": mediatypes.OCI_INDEX}), None),
        (encoded(MANIFEST, {"manife\u017fts": []}), None),
        (encoded(INDEX, {"Config": CONFIG}), None),
        (encoded(MANIFEST)[:-1] + b', "layers": []}', None),
        (encoded(MANIFEST)[:-1] + b', "la\\u0079ers": []}', None),
    ],
)
def test_ambiguous_documents_are_refused(raw: bytes, served: str | None) -> None:
    with pytest.raises(InvalidManifestError):
        parse_manifest(raw, served)


@pytest.mark.parametrize(
    "document",
    [
        [],
        "manifest",
        None,
        {},
        {"schemaVersion": 2},
        {**MANIFEST, "schemaVersion": "2"},
        {**MANIFEST, "schemaVersion": 2.0},
        {**MANIFEST, "schemaVersion": 3},
        {**MANIFEST, "mediaType": 7},
        {**MANIFEST, "config": None},
        {**MANIFEST, "config": "config"},
        {**MANIFEST, "layers": {}},
        {**MANIFEST, "layers": [None]},
        {**MANIFEST, "layers": [{**named("one"), "size": -1}]},
        {**MANIFEST, "layers": [{**named("one"), "digest": "../../etc/passwd"}]},
        {**MANIFEST, "subject": {**named("one"), "digest": "sha256:short"}},
        {**MANIFEST, "subject": []},
        {**MANIFEST, "artifactType": 7},
        {**MANIFEST, "annotations": []},
        {**MANIFEST, "annotations": {"a": None}},
        {**INDEX, "manifests": None},
        {**INDEX, "manifests": {}},
        {**INDEX, "manifests": [[]]},
    ],
)
def test_wrong_documents_are_refused(document: object) -> None:
    with pytest.raises(InvalidManifestError):
        parse_manifest(json.dumps(document).encode())


@pytest.mark.parametrize("key", ["schemaVersion", "config"])
def test_no_field_that_must_be_there_may_lack(key: str) -> None:
    with pytest.raises(InvalidManifestError):
        manifest(**{key: "-"})


# --- bounds ------------------------------------------------------------------------------------


def test_a_manifest_may_have_four_mebibytes() -> None:
    raw = encoded(MANIFEST)
    padded = raw + b" " * (MAX_MANIFEST_BYTES - len(raw))
    assert len(parse_manifest(padded).raw) == MAX_MANIFEST_BYTES


def test_one_byte_more_is_refused() -> None:
    raw = encoded(MANIFEST)
    with pytest.raises(InvalidManifestError):
        parse_manifest(raw + b" " * (MAX_MANIFEST_BYTES - len(raw) + 1))


def test_layers_and_children_are_bounded_by_bytes_alone() -> None:
    assert len(manifest(layers=[named("one")] * 5000).layers) == 5000
    children = [named("one", mediatypes.OCI_MANIFEST)] * 5000
    assert len(index(manifests=children).manifests) == 5000


def test_deep_nesting_is_refused() -> None:
    deep = b'{"a":' * 5000 + b"0" + b"}" * 5000
    with pytest.raises(InvalidManifestError):
        parse_manifest(encoded(MANIFEST)[:-1] + b', "x": ' + deep + b"}")


# --- subset ------------------------------------------------------------------------------------


def test_a_subset_holds_what_was_asked_for_in_the_old_order() -> None:
    keep = [Digest.of(b"attestation"), Digest.of(b"amd64")]
    kept = index().subset(keep)
    assert [child.digest for child in kept.manifests] == [*reversed(keep)]


def test_a_subset_keeps_every_other_field() -> None:
    changed = {"annotations": {"ä": "b"}, "x-more": [1, 2.5], "artifactType": "application/x"}
    kept = index(**changed).subset([Digest.of(b"arm64")])
    assert json.loads(kept.raw) == {**INDEX, **changed, "manifests": [INDEX["manifests"][1]]}


@pytest.mark.parametrize("media_type", mediatypes.INDEX_TYPES)
def test_a_subset_keeps_the_media_type(media_type: str) -> None:
    whole = parse_manifest(encoded(INDEX, {"mediaType": "-"}), media_type)
    assert isinstance(whole, Index)
    assert whole.subset([]).media_type == media_type


def test_a_subset_has_a_digest_of_its_own() -> None:
    kept = index().subset([Digest.of(b"arm64")])
    assert kept.digest == Digest.of(kept.raw)


def test_the_same_subset_has_the_same_digest() -> None:
    keep = [Digest.of(b"arm64"), Digest.of(b"amd64")]
    assert index().subset(keep).digest == index().subset([*reversed(keep)]).digest


def test_a_subset_leaves_the_index_as_it_was() -> None:
    whole = index()
    whole.subset([])
    assert len(whole.manifests) == 3


# --- fuzz --------------------------------------------------------------------------------------

KEYS = st.sampled_from([*MANIFEST, *INDEX, "fsLayers", "subject", "annotations", "artifactType"])
ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from([CONFIG]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
SERVED = st.none() | st.sampled_from([*mediatypes.ACCEPT, "application/json", "x"])


@settings(max_examples=200)
@given(st.sampled_from([MANIFEST, INDEX]), st.dictionaries(KEYS, ODD, max_size=3), SERVED)
def test_any_change_to_a_field_is_read_or_refused(
    document: dict[str, Any], changed: dict[str, Any], served: str | None
) -> None:
    raw = encoded(document, changed)
    try:
        parsed = parse_manifest(raw, served)
    except TransshipError:
        return
    assert parsed.digest == Digest.of(raw)


@settings(max_examples=150)
@given(st.sampled_from([MANIFEST, INDEX]), st.integers(0, 900), st.binary(max_size=6), SERVED)
def test_any_bytes_put_in_are_read_or_refused(
    document: dict[str, Any], position: int, put_in: bytes, served: str | None
) -> None:
    raw = encoded(document)
    raw = raw[:position] + put_in + raw[position + len(put_in) :]
    try:
        parsed = parse_manifest(raw, served)
    except TransshipError:
        return
    assert parsed.digest == Digest.of(raw)
