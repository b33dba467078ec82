"""Descriptors: image-spec, descriptor.md."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from transship.store.errors import InvalidDigestError, InvalidManifestError
from transship.store.oci.digest import Digest
from transship.store.oci.platform import Platform

LARGEST = 2**63 - 1
_KNOWN = {"mediaType", "digest", "size", "platform", "annotations", "urls", "artifactType", "data"}
_FOLDED = {key.casefold() for key in _KNOWN}


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """What a blob is, how long it is, and what it must hash to. *extra* keeps unknown fields."""

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    urls: tuple[str, ...] = ()
    artifact_type: str | None = None
    data: bytes | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, value: Any) -> Descriptor:
        """Read a descriptor.

        Raises:
            InvalidManifestError: a field is missing, of the wrong type, or out of range; or the
                embedded data is not what the digest says.
        """
        if not isinstance(value, dict):
            raise InvalidManifestError("a descriptor is not an object")
        for key in value.keys() - _KNOWN:
            if key.casefold() in _FOLDED:  # parsers that ignore case would read it
                raise InvalidManifestError(f"a descriptor's field {key!r:.40} is misspelt")
        size = value.get("size")
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= LARGEST:
            raise InvalidManifestError(f"a descriptor's size is {size!r:.40}")
        platform = value.get("platform")
        descriptor = cls(
            media_type=_text(value, "mediaType"),
            digest=_digest(value),
            size=size,
            platform=None if platform is None else Platform.from_json(platform),
            annotations=_annotations(value),
            urls=_urls(value),
            artifact_type=_artifact_type(value),
            data=_data(value),
            extra={key: item for key, item in value.items() if key not in _KNOWN},
        )
        if descriptor.data is not None and (
            len(descriptor.data) != size
            or Digest.of(descriptor.data, descriptor.digest.algorithm) != descriptor.digest
        ):
            raise InvalidManifestError(
                "a descriptor's data is not what its digest says", subject=str(descriptor.digest)
            )
        return descriptor

    def to_json(self) -> dict[str, Any]:
        """The descriptor as JSON has it."""
        value: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": str(self.digest),
            "size": self.size,
        }
        if self.platform is not None:
            value["platform"] = self.platform.to_json()
        if self.annotations:
            value["annotations"] = dict(self.annotations)
        if self.urls:
            value["urls"] = list(self.urls)
        if self.artifact_type is not None:
            value["artifactType"] = self.artifact_type
        if self.data is not None:
            value["data"] = base64.b64encode(self.data).decode()
        return {**value, **self.extra}


def _text(value: Mapping[str, Any], key: str) -> str:
    text = value.get(key)
    if not isinstance(text, str) or not 0 < len(text) <= 255 or not text.isprintable():
        raise InvalidManifestError(f"a descriptor's {key} is {text!r:.40}")
    return text


def _artifact_type(value: Mapping[str, Any]) -> str | None:
    if value.get("artifactType") in (None, ""):
        return None
    return _text(value, "artifactType")


def _digest(value: Mapping[str, Any]) -> Digest:
    text = value.get("digest")
    if not isinstance(text, str):
        raise InvalidManifestError("a descriptor has no digest")
    try:
        return Digest.parse(text)
    except InvalidDigestError as error:
        raise InvalidManifestError(f"a descriptor's digest is wrong: {error}") from None


def _annotations(value: Mapping[str, Any]) -> dict[str, str]:
    annotations = value.get("annotations")
    if annotations is None:
        return {}
    if not isinstance(annotations, dict) or not all(
        isinstance(item, str) for item in annotations.values()
    ):
        raise InvalidManifestError("a descriptor's annotations are not text")
    return annotations


def _urls(value: Mapping[str, Any]) -> tuple[str, ...]:
    urls = value.get("urls")
    if urls is None:
        return ()
    if not isinstance(urls, list) or not all(isinstance(item, str) for item in urls):
        raise InvalidManifestError("a descriptor's urls are not a list of text")
    return tuple(urls)


def _data(value: Mapping[str, Any]) -> bytes | None:
    data = value.get("data")
    if data is None:
        return None
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise InvalidManifestError("a descriptor's data is not base64") from None
