"""The documents of a squashed image: config, manifest and index, made of those that it came from.

Layers are squashed by `store.layers.compose.squash`; here is what is written about it. History and
config are as Docker's SquashImage writes them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transship.store.archives.manifests import as_oci
from transship.store.errors import RequestError
from transship.store.layers.codecs.formats import Compression
from transship.store.oci import mediatypes
from transship.store.oci.config import ImageConfig
from transship.store.oci.descriptor import Descriptor
from transship.store.oci.digest import Digest
from transship.store.oci.manifest import Index, Manifest, parse_manifest
from transship.store.oci.timestamps import rfc3339


@dataclass(frozen=True, slots=True)
class Cut:
    """Where an image is divided: so many layers and history steps stay, the others become one.

    *comment* says in the new image's history what was done.
    """

    layers: int
    history: int
    comment: str


def cut_whole(config: ImageConfig) -> Cut:
    """All layers become one."""
    return Cut(0, 0, f"create new from {config.digest}")


def cut_at_parent(config: ImageConfig, parents: Iterable[ImageConfig], name: str) -> Cut:
    """The layers above a parent become one; *parents* are the images of which one is.

    Of several that would do, one for the same platform is taken.

    Args:
        config: Of the image to squash.
        parents: The configs of the images that *name* stands for.
        name: What errors call the parent.

    Raises:
        RequestError: none of them is below *config*, with fewer layers.
    """
    below = [one for one in parents if config.diff_ids[: len(one.diff_ids)] == one.diff_ids]
    fitting = [one for one in below if len(one.diff_ids) < len(config.diff_ids)]
    if not fitting:
        same = "the image has no layer above it" if below else "the image was not made from it"
        raise RequestError(f"not a parent of {config.digest}: {same}", subject=name)
    parent = max(fitting, key=lambda one: (one.platform == config.platform, len(one.diff_ids)))
    return Cut(
        len(parent.diff_ids), len(parent.history), f"merge {config.digest} to {parent.digest}"
    )


def cut_last(config: ImageConfig, count: int) -> Cut:
    """The last *count* layers become one.

    Raises:
        RequestError: there are not as many.
    """
    kept = len(config.diff_ids) - count
    if kept < 0:
        raise RequestError(
            f"{config.digest} has {len(config.diff_ids)} layers, which is fewer than {count}",
            subject="last",
        )
    if kept == 0:
        return cut_whole(config)
    return Cut(kept, _steps_of(config, kept), f"merge the last {count} layers of {config.digest}")


def squashed_config(config: ImageConfig, cut: Cut, layer: Digest, created: float) -> bytes:
    """The config of *config*'s image with *layer*, a diffID, on top of those that stay.

    The steps of what was squashed stay on record, without layers; one more says what was done.
    *created* is in seconds since the epoch.
    """
    time = rfc3339(created)
    history = [dict(step) for step in config.history]
    for step in history[cut.history :]:
        step["empty_layer"] = True
    diff_ids = [*config.diff_ids[: cut.layers], layer]
    document = {
        **config.document,
        "created": time,
        "history": [*history, {"created": time, "comment": cut.comment}],
        "rootfs": {"type": "layers", "diff_ids": [str(one) for one in diff_ids]},
    }
    return _encoded(document)


def squashed_manifest(
    manifest: Manifest, config: bytes, kept: int, layer: Descriptor, compression: Compression
) -> Manifest:
    """*manifest* with another config, and *layer* on top of the first *kept* layers.

    The media types stay those of the one family, but that Docker has none for zstd. *layer* needs
    none of its own.
    """
    oci = manifest.media_type == mediatypes.OCI_MANIFEST
    base = mediatypes.OCI_LAYER if oci else mediatypes.DOCKER_LAYER
    suffix = compression.media_type_suffix
    type_ = base + (suffix if oci else suffix.replace("+", "."))
    document = json.loads(manifest.raw)
    document.pop("subject", None)
    document["config"] = {
        "mediaType": manifest.config.media_type,
        "digest": str(Digest.of(config)),
        "size": len(config),
    }
    document["layers"] = [
        *document["layers"][:kept],
        {"mediaType": type_, "digest": str(layer.digest), "size": layer.size},
    ]
    made = parse_manifest(_encoded(document))
    assert isinstance(made, Manifest)
    return as_oci(made, lambda _: None) if compression is Compression.ZSTD else made


def squashed_index(index: Index, images: Mapping[Digest, Manifest]) -> Index:
    """*index* with other manifests in place of those in *images*; the rest is left out.

    What else it may hold, such as attestations, speaks of images that are not in it any more.
    """
    document = json.loads(index.raw)
    document.pop("subject", None)
    entries: list[dict[str, Any]] = []
    for child, described in zip(index.manifests, document["manifests"], strict=True):
        if (image := images.get(child.digest)) is None:
            continue
        described.pop("data", None)
        entries.append({**described, **image.descriptor.to_json()})
    document["manifests"] = entries
    made = parse_manifest(_encoded(document), index.media_type)
    assert isinstance(made, Index)
    return made


def squashable(manifest: Manifest) -> bool:
    """Whether it is an image with layers, and no attestation or other artifact."""
    return manifest.has_image_config and bool(manifest.layers) and manifest.has_image_layers


def _steps_of(config: ImageConfig, layers: int) -> int:
    """How many steps of the history made the first *layers* layers."""
    made = 0
    for number, step in enumerate(config.history):
        if made == layers:
            return number
        made += not step.get("empty_layer", False)
    return len(config.history)


def _encoded(document: Mapping[str, Any] | Sequence[Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
