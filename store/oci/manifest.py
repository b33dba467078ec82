"""Manifests and indexes: image-spec, manifest.md and image-index.md; Docker schema 2.

A document that could be read in two ways is refused (CVE-2021-41190): fields of a manifest and of
an index together, a mediaType that is not the Content-Type, keys in another case, keys twice.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from transship.store.errors import InvalidManifestError, UnsupportedMediaTypeError
from transship.store.oci import mediatypes
from transship.store.oci.descriptor import Descriptor
from transship.store.oci.digest import Digest
from transship.store.oci.strictjson import loads

MAX_MANIFEST_BYTES = 4 * 1024 * 1024  # distribution-spec: registries take at least this much

_KEYS = {
    "schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "subject",
    "annotations", "fsLayers",
}  # fmt: skip
# Folded and not lowered: Go's parser also takes the long s (U+017F) for an s.
_FOLDED = {key.casefold(): key for key in _KEYS}


@dataclass(frozen=True, slots=True)
class Manifest:
    """One image or artifact. *raw* is what its digest is of, and what is stored and sent."""

    raw: bytes
    media_type: str
    digest: Digest
    config: Descriptor
    layers: tuple[Descriptor, ...]
    subject: Descriptor | None
    artifact_type: str | None
    annotations: Mapping[str, str]

    @property
    def descriptor(self) -> Descriptor:
        """How others refer to it."""
        return Descriptor(media_type=self.media_type, digest=self.digest, size=len(self.raw))

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """The config and the layers, each digest once, in order."""
        unique: dict[Digest, Descriptor] = {}
        for blob in (self.config, *self.layers):
            unique.setdefault(blob.digest, blob)
        return tuple(unique.values())

    @property
    def has_image_config(self) -> bool:
        """Whether its config is that of an image, and not of another artifact.

        Docker's manifests have no other, and from old registries a type that says nothing.
        """
        type_ = self.config.media_type
        unsaid = self.media_type == mediatypes.DOCKER_MANIFEST and type_ in mediatypes.UNSAID
        return unsaid or mediatypes.is_config(type_)

    @property
    def has_image_layers(self) -> bool:
        """Whether its layers are those of an image: an attestation's are not."""
        return all(mediatypes.is_layer(layer.media_type) for layer in self.layers)


@dataclass(frozen=True, slots=True)
class Index:
    """A list of manifests, one a platform. *raw* is what its digest is of."""

    raw: bytes
    media_type: str
    digest: Digest
    manifests: tuple[Descriptor, ...]
    subject: Descriptor | None
    artifact_type: str | None
    annotations: Mapping[str, str]

    @property
    def descriptor(self) -> Descriptor:
        """How others refer to it."""
        return Descriptor(media_type=self.media_type, digest=self.digest, size=len(self.raw))

    def subset(self, keep: Collection[Digest]) -> Index:
        """A new index of only the children in *keep*, every other field and order as it was."""
        document = json.loads(self.raw)
        names = {str(digest) for digest in keep}
        document["manifests"] = [m for m in document["manifests"] if m["digest"] in names]
        raw = json.dumps(document, indent=2, ensure_ascii=False).encode()
        index = parse_manifest(raw, self.media_type)
        assert isinstance(index, Index)
        return index


def parse_manifest(
    raw: bytes, media_type: str | None = None, *, described_as: str | None = None
) -> Manifest | Index:
    """Read a manifest or index.

    Args:
        raw: The bytes as received.
        media_type: The Content-Type they came with; parameters are ignored. Without it, and
            without one inside, the fields decide.
        described_as: The type in a descriptor, whose digest proves the bytes: counts where they
            leave two types of their kind open.

    Raises:
        InvalidManifestError: it is none, is too long, or could be read in two ways.
        UnsupportedMediaTypeError: schema 1, or a type that is no manifest's.
    """
    document = loads(raw, what="manifest", max_bytes=MAX_MANIFEST_BYTES)
    if not isinstance(document, dict):
        raise InvalidManifestError("a manifest is not an object")
    outside = mediatypes.essence(media_type) if media_type else None
    type_ = _media_type(document, outside, described_as)
    _refuse_ambiguity(document, type_)
    digest = Digest.of(raw)
    subject = document.get("subject")
    artifact_type = document.get("artifactType")
    if artifact_type is not None and not isinstance(artifact_type, str):
        raise InvalidManifestError("artifactType is not text", subject=str(digest))
    common: dict[str, Any] = {
        "raw": raw,
        "media_type": type_,
        "digest": digest,
        "subject": None if subject is None else Descriptor.from_json(subject),
        "artifact_type": artifact_type,
        "annotations": _annotations(document),
    }
    if mediatypes.is_index(type_):
        return Index(manifests=_descriptors(document, "manifests"), **common)
    if "config" not in document:
        raise InvalidManifestError("a manifest has no config", subject=str(digest))
    return Manifest(
        config=Descriptor.from_json(document["config"]),
        layers=_descriptors(document, "layers"),
        **common,
    )


def _media_type(document: Mapping[str, Any], outside: str | None, described_as: str | None) -> str:
    inside = document.get("mediaType")
    if inside is not None and not isinstance(inside, str):
        raise InvalidManifestError("mediaType is not text")
    if outside is not None and outside not in (*mediatypes.ACCEPT, "application/json"):
        raise UnsupportedMediaTypeError(f"{outside} is not the type of a manifest")
    if outside == "application/json":  # says nothing
        outside = None
    if inside and outside and inside != outside:
        raise InvalidManifestError(f"served as {outside}, but calls itself {inside}")
    type_ = inside or outside
    if not type_:
        type_ = _inferred(document)
        alike = mediatypes.is_index(described_as or "") == mediatypes.is_index(type_)
        if described_as in mediatypes.MANIFEST_TYPES and alike:
            type_ = described_as
    if mediatypes.is_schema1(type_) or (document.get("schemaVersion") == 1):
        raise UnsupportedMediaTypeError(
            "the image is in Docker's first manifest format, which is not supported",
            hint="push it again with a current Docker",
        )
    if type_ not in mediatypes.MANIFEST_TYPES:
        raise UnsupportedMediaTypeError(f"{type_} is not the type of a manifest")
    return type_


def _inferred(document: Mapping[str, Any]) -> str:
    if "fsLayers" in document:
        return mediatypes.SCHEMA1[0]
    if "manifests" in document:
        return mediatypes.OCI_INDEX
    if "config" in document or "layers" in document:
        return mediatypes.OCI_MANIFEST
    raise InvalidManifestError("neither a manifest nor an index")


def _refuse_ambiguity(document: Mapping[str, Any], type_: str) -> None:
    for key in document:
        folded = _FOLDED.get(key.casefold())
        if folded is not None and folded != key:
            raise InvalidManifestError(f"the field {key!r} may be read as {folded!r}")
    version = document.get("schemaVersion")
    if type(version) is not int or version != 2:  # a strict reader refuses 2.0
        raise InvalidManifestError(f"schemaVersion is {version!r:.20}, not 2")
    wrong = {"config", "layers"} if mediatypes.is_index(type_) else {"manifests"}
    wrong.add("fsLayers")
    found = sorted(wrong & document.keys())
    if found:
        raise InvalidManifestError(f"{type_} has no field {found[0]!r}")


def _descriptors(document: Mapping[str, Any], key: str) -> tuple[Descriptor, ...]:
    items = document.get(key)
    if items is None and key == "layers":
        items = []
    if not isinstance(items, list):
        raise InvalidManifestError(f"{key} is not a list")
    return tuple(Descriptor.from_json(item) for item in items)


def _annotations(document: Mapping[str, Any]) -> dict[str, str]:
    annotations = document.get("annotations")
    if annotations is None:
        return {}
    if not isinstance(annotations, dict) or not all(
        isinstance(value, str) for value in annotations.values()
    ):
        raise InvalidManifestError("annotations are not text")
    return annotations
