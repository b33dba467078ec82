"""Image configs: image-spec, config.md."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transship.store.errors import InvalidDigestError, InvalidManifestError
from transship.store.oci.digest import Digest
from transship.store.oci.platform import Platform
from transship.store.oci.strictjson import loads

MAX_CONFIG_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What an image says of itself. Its digest is the image's ID."""

    raw: bytes
    digest: Digest
    platform: Platform
    created: str | None
    labels: Mapping[str, str]
    diff_ids: tuple[Digest, ...]
    history: tuple[Mapping[str, Any], ...]
    document: Mapping[str, Any]

    @classmethod
    def parse(cls, raw: bytes) -> ImageConfig:
        """Read a config; fields that are not known here stay in *document*.

        Raises:
            InvalidManifestError: it is none, or its layers are not named by digests.
        """
        document = loads(raw, what="image config", max_bytes=MAX_CONFIG_BYTES, halves=True)
        if not isinstance(document, dict):
            raise InvalidManifestError("an image config is not an object")
        created = document.get("created")
        history = document.get("history")
        history = [] if history is None else history
        if not isinstance(history, list) or not all(isinstance(one, dict) for one in history):
            raise InvalidManifestError("an image config's history is not a list of objects")
        return cls(
            raw=raw,
            digest=Digest.of(raw),
            platform=Platform.from_json(document),
            created=created if isinstance(created, str) else None,
            labels=_labels(document),
            diff_ids=_diff_ids(document),
            history=tuple(history),
            document=document,
        )

    def chain_ids(self) -> tuple[Digest, ...]:
        """For each layer the digest of it and all below it (config.md §Layer ChainID)."""
        chain: list[Digest] = []
        for diff_id in self.diff_ids:
            if not chain:
                chain.append(diff_id)
                continue
            hashed = hashlib.sha256(f"{chain[-1]} {diff_id}".encode())
            chain.append(Digest.from_hash(hashed))
        return tuple(chain)


def _labels(document: Mapping[str, Any]) -> dict[str, str]:
    config = document.get("config")
    labels = config.get("Labels") if isinstance(config, dict) else None
    if not isinstance(labels, dict):
        return {}
    return {key: value for key, value in labels.items() if isinstance(value, str)}


def _diff_ids(document: Mapping[str, Any]) -> tuple[Digest, ...]:
    rootfs = document.get("rootfs")
    # There is no other type, and some builders leave it out.
    if not isinstance(rootfs, dict) or rootfs.get("type", "layers") != "layers":
        raise InvalidManifestError("an image config has no rootfs of the type layers")
    listed = rootfs.get("diff_ids")
    listed = [] if listed is None else listed
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise InvalidManifestError("an image config's diff_ids are not a list of text")
    try:
        return tuple(Digest.parse(one) for one in listed)
    except InvalidDigestError as error:
        raise InvalidManifestError(f"an image config's diff_id is wrong: {error}") from None
