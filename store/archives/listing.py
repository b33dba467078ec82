"""The files by which an archive says what it holds: `index.json`, `manifest.json` and the rest."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from transship.store.archives import docker, layout, legacy
from transship.store.errors import RequestError
from transship.store.oci import mediatypes
from transship.store.oci.config import ImageConfig
from transship.store.oci.digest import Digest
from transship.store.oci.manifest import Index, Manifest
from transship.store.oci.platform import Platform
from transship.store.oci.reference import Reference

MAX_NAMES: Final = 1000


@dataclass(frozen=True, slots=True)
class Loadable:
    """An image as `docker load` takes it."""

    manifest: Manifest
    config: ImageConfig
    parent: Digest | None


@dataclass(frozen=True, slots=True)
class Saved:
    """One root of an archive. *loadable* is what Docker is to load of it, if it can."""

    names: tuple[Reference, ...]
    root: Manifest | Index
    platform: Platform | None
    loadable: Loadable | None = None


def listings(saved: Sequence[Saved], *, for_docker: bool) -> dict[str, bytes]:
    """The files that list *saved*, by their paths; with *for_docker* also those that Docker reads.

    Raises:
        RequestError: there are more names than an index can hold.
    """
    files = {
        layout.MARKER: _encoded({"imageLayoutVersion": "1.0.0"}),
        layout.INDEX: _encoded(_index(saved)),
    }
    if for_docker:
        files |= _docker_files(saved)
    return files


def _index(saved: Sequence[Saved]) -> dict[str, Any]:
    tags = Counter(name.tag for one in saved for name in one.names)
    entries = [
        replace(one.root.descriptor, platform=one.platform, annotations=annotations).to_json()
        for one in saved
        for annotations in [_annotations(name, tags) for name in one.names] or [{}]
    ]
    if len(entries) > MAX_NAMES:
        raise RequestError(
            f"an archive holds at most {MAX_NAMES} names", hint="save to several archives"
        )
    return {"schemaVersion": 2, "mediaType": mediatypes.OCI_INDEX, "manifests": entries}


def _annotations(name: Reference, tags: Mapping[str | None, int]) -> dict[str, str]:
    """What an entry says of its *name*: in full, and as the tag by which most programs find it.

    Where two images have the same tag, that would find either, so that the name is in full twice.
    """
    short = name.tag if name.tag is not None and tags[name.tag] == 1 else str(name)
    return {layout.FULL_NAME: str(name), layout.REF_NAME: short}


def _docker_files(saved: Sequence[Saved]) -> dict[str, bytes]:
    entries: dict[Digest, dict[str, Any]] = {}
    repositories: dict[str, dict[str, str]] = {}
    for one in saved:
        if one.loadable is None:
            continue
        config = one.loadable.config
        entry = entries.setdefault(config.digest, _entry(one.loadable))
        for name in one.names:
            entry["RepoTags"] = [*(entry["RepoTags"] or ()), name.familiar]
            if config.diff_ids:
                tags = repositories.setdefault(name.without_identifier().familiar, {})
                tags[name.tag or ""] = config.diff_ids[-1].hex
    for one in saved:
        loadable = one.loadable
        if loadable is not None and loadable.parent in entries:
            entries[loadable.config.digest]["Parent"] = str(loadable.parent)
    files = {docker.MANIFEST: _encoded(list(entries.values()))}
    if repositories:
        files[legacy.REPOSITORIES] = _encoded(repositories)
    return files


def _entry(loadable: Loadable) -> dict[str, Any]:
    return {
        "Config": layout.blob_path(loadable.config.digest),
        "RepoTags": None,
        "Layers": [layout.blob_path(layer.digest) for layer in loadable.manifest.layers],
    }


def _encoded(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
