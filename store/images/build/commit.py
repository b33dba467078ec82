"""What a commit makes of a config: Docker's CommitImage and CommitBuildStep."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from transship.store.errors import RequestError
from transship.store.images.build.changes import apply_changes
from transship.store.images.build.container_config import command, complete, of_container
from transship.store.oci.config import ImageConfig
from transship.store.oci.digest import Digest
from transship.store.oci.platform import Platform
from transship.store.oci.timestamps import rfc3339

SYSTEM: Final = "linux"  # layers of others hold more than files: a registry, say
KEPT: Final = ("architecture", "variant", "os", "os.version", "os.features")


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """What is asked for.

    Attributes:
        created: When, in seconds since the epoch.
        changes: Instructions, see `changes`; made to *config*, or else to what a container has of
            the base's.
        config: The `config` object of the new image; what it leaves out is that of the container,
            unless this is a build step.
        container_config: Of a build step, that of its container: the build cache goes by it.
        created_by: What the history says made it; by default the command of the container, which
            is the base's where no build step says otherwise.
    """

    created: float
    author: str = ""
    message: str = ""
    changes: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    container_config: Mapping[str, Any] | None = None
    created_by: str | None = None


def child_platform(base: ImageConfig | None, host: Platform) -> dict[str, Any]:
    """What a child of *base* is for, as configs write it: what its base is for, or else *host*.

    Raises:
        RequestError: it is an operating system whose layers cannot be made here.
    """
    platform = host.to_json() if base is None else kept(base)
    if platform.get("os") != SYSTEM:
        raise RequestError(
            f"images for {platform.get('os', 'no operating system')} cannot be made here",
            hint=f"only those for {SYSTEM}",
        )
    return platform


def child_config(
    base: ImageConfig | None,
    layer: Digest | None,
    wanted: Commit,
    platform: Mapping[str, Any],
) -> bytes:
    """The config of *base*'s image with one more step, whose layer has the diffID *layer*.

    Without a layer it is an empty step. *platform* is that of `child_platform`.

    Raises:
        InvalidSpecError: a change cannot be understood.
    """
    inherited = of_container(inherited_config(base))
    config = apply_changes(wanted.config or inherited, wanted.changes)
    container = wanted.container_config
    if container is None:  # a build step says all there is to be
        container, config = inherited, complete(config, inherited)
    created = rfc3339(wanted.created)
    step = {
        "created": created,
        "author": wanted.author,
        "created_by": command(container) if wanted.created_by is None else wanted.created_by,
        "comment": wanted.message,
        "empty_layer": layer is None,
    }
    diff_ids = [] if base is None else [str(diff_id) for diff_id in base.diff_ids]
    child = {
        **platform,
        "author": wanted.author,
        "container_config": wanted.container_config,
        "config": config,
        "created": created,
        "history": [
            *([] if base is None else base.history),
            {key: value for key, value in step.items() if value},
        ],
        "rootfs": {"type": "layers", "diff_ids": [*diff_ids, *([str(layer)] if layer else [])]},
    }
    return encoded({key: value for key, value in child.items() if value or key == "config"})


def kept(base: ImageConfig) -> dict[str, Any]:
    """What every child of *base* has as that has it: what it runs on."""
    return {key: base.document[key] for key in KEPT if base.document.get(key)}


def inherited_config(base: ImageConfig | None) -> dict[str, Any]:
    """The `config` object of *base*; empty where there is none."""
    config = None if base is None else base.document.get("config")
    return dict(config) if isinstance(config, dict) else {}


def encoded(document: Mapping[str, Any]) -> bytes:
    """A config as it is stored."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
