"""Docker's own archive: a `manifest.json` that names configs and layers by their paths.

What is checked is what Docker checks, besides that each document means one thing only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from transship.store.archives.archive import ArchivedImage, ArchivedLayer, Root, manifest_of
from transship.store.archives.checks import check_count, checked_layer, parsed_config
from transship.store.archives.documents import Documents
from transship.store.archives.members import Member, Members, member_path, shown
from transship.store.errors import InvalidArchiveError, RequestError
from transship.store.oci.config import MAX_CONFIG_BYTES, ImageConfig
from transship.store.oci.digest import Digest
from transship.store.oci.reference import Reference

MANIFEST = "manifest.json"
MAX_MANIFEST_JSON_BYTES = 8 * 1024 * 1024  # it names every layer of every image
_MAX_LAYERS = 1000
_KEYS = {"Config", "RepoTags", "Layers", "Parent", "LayerSources"}
_FOLDED = {key.casefold(): key for key in _KEYS}


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """One image of `manifest.json`: paths in the archive, names, and the ID of its parent."""

    config: str
    layers: tuple[str, ...]
    names: tuple[Reference, ...]
    parent: Digest | None


def read_entries(members: Members, documents: Documents) -> tuple[ManifestEntry, ...]:
    """What `manifest.json` lists; nothing where there is none.

    Raises:
        InvalidArchiveError: it is not what Docker writes.
    """
    member = members.file(MANIFEST)
    if member is None:
        return ()
    listed = documents.json(MANIFEST, member, max_bytes=MAX_MANIFEST_JSON_BYTES)
    if not isinstance(listed, list):
        raise InvalidArchiveError("is not a list of images", subject=MANIFEST)
    return tuple(_entry(one) for one in listed)


def read_image(entry: ManifestEntry, members: Members, documents: Documents) -> ArchivedImage:
    """The image that *entry* names, its layers checked against its config.

    Raises:
        InvalidArchiveError: the config is missing or wrong, there are more or fewer layers than it
            has diffIDs, or a layer is not the one that its diffID names.
    """
    config = read_config(entry.config, members, documents)
    check_count(entry.config, config, len(entry.layers))
    layers = tuple(
        _layer(path, members.find(path), diff_id)
        for path, diff_id in zip(entry.layers, config.diff_ids, strict=True)
    )
    return ArchivedImage(
        config=config,
        layers=layers,
        manifest=manifest_of(config, layers),
        names=entry.names,
        parent=entry.parent,
    )


def read_config(path: str, members: Members, documents: Documents) -> ImageConfig:
    """The config at *path*.

    Raises:
        InvalidArchiveError: there is none, or it cannot be understood.
    """
    member = members.find(path)
    if member is None:
        raise InvalidArchiveError("the archive does not hold this config", subject=shown(path))
    return parsed_config(path, documents.raw(path, member, max_bytes=MAX_CONFIG_BYTES))


def merged(images: Sequence[ArchivedImage]) -> tuple[ArchivedImage, ...]:
    """*images* without repetitions, their names and parents added to the first."""
    unique: dict[Digest, ArchivedImage] = {}
    for image in images:
        assert image.image_id is not None
        if (known := unique.setdefault(image.image_id, image)) is image:
            continue
        names = tuple(dict.fromkeys((*known.names, *image.names)))
        unique[image.image_id] = replace(known, names=names, parent=known.parent or image.parent)
    return tuple(unique.values())


def with_parents(roots: Sequence[Root]) -> tuple[Root, ...]:
    """*roots*, the parents of images checked; one that is not among them is none, as with Docker.

    Raises:
        InvalidArchiveError: an image's history is not that of its parent and one step more.
    """
    images = {
        root.image_id: root
        for root in roots
        if isinstance(root, ArchivedImage) and root.image_id is not None
    }
    return tuple(
        _with_parent(root, images) if isinstance(root, ArchivedImage) else root for root in roots
    )


def _with_parent(image: ArchivedImage, others: Mapping[Digest, ArchivedImage]) -> ArchivedImage:
    parent = None if image.parent is None else others.get(image.parent)
    if parent is None:
        return replace(image, parent=None)
    assert image.config is not None
    assert parent.config is not None
    mine, theirs = image.config.history, parent.config.history
    follows = len(mine) == len(theirs) + 1 and mine[:-1] == theirs
    if parent.image_id == image.image_id or not (follows or not (mine or theirs)):
        raise InvalidArchiveError(
            f"its history is not that of its parent {image.parent} and one step more",
            subject=str(image.image_id),
        )
    return image


def _layer(path: str, member: Member | None, diff_id: Digest) -> ArchivedLayer:
    blob = None if member is None else checked_layer(path, member, diff_id)
    return ArchivedLayer(diff_id, blob)


def _entry(value: Any) -> ManifestEntry:
    if not isinstance(value, dict):
        raise InvalidArchiveError("an image is not an object", subject=MANIFEST)
    value = _as_spelt(value)
    parent = value.get("Parent")
    return ManifestEntry(
        config=_path(value.get("Config"), "Config"),
        layers=tuple(_path(one, "Layers") for one in _list(value, "Layers")),
        names=tuple(dict.fromkeys(_name(one) for one in _list(value, "RepoTags"))),
        parent=_image_id(parent) if parent not in (None, "") else None,
    )


def _as_spelt(given: Mapping[str, Any]) -> dict[str, Any]:
    """*given* with the names of its fields as Docker writes them: it reads them in any case."""
    value: dict[str, Any] = {}
    for key, item in given.items():
        spelt = _FOLDED.get(key.casefold(), key)
        if spelt in value:
            raise InvalidArchiveError(f"the field {key!r:.40} is there twice", subject=MANIFEST)
        value[spelt] = item
    return value


def _list(value: Mapping[str, Any], key: str) -> list[Any]:
    items = value.get(key)
    if items is None:
        return []
    if not isinstance(items, list):
        raise InvalidArchiveError(f"{key} is not a list", subject=MANIFEST)
    if len(items) > _MAX_LAYERS:
        raise InvalidArchiveError(f"{key} has more than {_MAX_LAYERS} entries", subject=MANIFEST)
    return items


def _path(value: Any, key: str) -> str:
    # From the root is from the archive's own directory.
    if not isinstance(value, str) or not (path := member_path(value.lstrip("/"))):
        raise InvalidArchiveError(f"{key} is {value!r:.40}, not a path", subject=MANIFEST)
    return path


def _name(value: Any) -> Reference:
    try:
        reference = Reference.parse(value) if isinstance(value, str) else None
    except RequestError as error:
        raise InvalidArchiveError(
            f"a tag of an image is wrong: {error}", subject=MANIFEST
        ) from None
    if reference is None or reference.tag is None or reference.digest is not None:
        raise InvalidArchiveError(
            f"a tag of an image is {value!r:.80}, not NAME:TAG", subject=MANIFEST
        )
    return reference


def _image_id(value: Any) -> Digest:
    try:
        return Digest.parse(value if isinstance(value, str) else "")
    except RequestError:
        raise InvalidArchiveError(f"Parent is {value!r:.80}, not an ID", subject=MANIFEST) from None
