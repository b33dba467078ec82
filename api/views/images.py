"""What the API shows of images: Docker's own facts, in snake case."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field
from sqlalchemy import Row

from transship.api.views.jobs import rfc3339
from transship.store.images.view.details import Details, Step
from transship.store.images.view.listing import Summary
from transship.store.images.view.usage import ImageUsage, StoreStatus, Usage
from transship.store.images.view.view import familiar, platform_of

_SIZE = "of config and layers as held, mostly compressed, for nothing is unpacked"


class ImageSummary(BaseModel):
    """An image, with all the names that stand for it.

    `reference`, `digest`, `media_type` and `updated_at` are of its first name: a tag, or else a
    digest. `images` are those that are held under its names, one a platform, and the one that all
    other fields are about first.
    """

    id: str = Field(description="the digest of its config")
    parent_id: str = Field(description="the image it was made from here; empty for none")
    repo_tags: list[str]
    repo_digests: list[str]
    created: str = Field(description="as its config has it")
    size: int = Field(description=_SIZE)
    shared_size: int = Field(description="of blobs that other images have too; -1: see /usage")
    labels: dict[str, str]
    containers: int = Field(description="how many workspaces there are over it")
    reference: str | None
    familiar: str | None
    digest: str = Field(description="of the manifest or index that its name stands for")
    media_type: str | None
    updated_at: str | None
    images: list[dict[str, Any]]


class ImageList(BaseModel):
    """The images in the store, the newest first."""

    items: list[ImageSummary]
    next: str | None = None


class RootFs(BaseModel):
    """The layers of an image by what they contain, from the bottom up."""

    type: str = "layers"
    diff_ids: list[str]


class ImageDetails(BaseModel):
    """What is held of an image.

    The first fields are Docker's, about the image of one platform. `digest`, `media_type` and
    `manifest` are of what its name stands for, an index perhaps; `references` are its names;
    `images` has the manifest and the config of each platform that is held.
    """

    id: str
    repo_tags: list[str]
    repo_digests: list[str]
    parent: str
    comment: str
    created: str
    author: str
    config: dict[str, Any] | None
    architecture: str
    variant: str
    os: str
    os_version: str
    size: int = Field(description=_SIZE)
    uncompressed_size: int | None = Field(description="of all layers, once each was read")
    rootfs: RootFs
    last_tag_time: str | None = Field(description="when `tag` last named it")
    digest: str
    media_type: str
    references: list[str]
    manifest: dict[str, Any]
    images: list[dict[str, Any]]


class HistoryStep(BaseModel):
    """A step of an image's history; `id` is `<missing>` where that image is not here."""

    id: str
    created: str
    created_by: str
    comment: str
    size: int = Field(description="of its layer as held; 0 where it made none")
    tags: list[str]


class HistoryList(BaseModel):
    """How an image came about, the newest step first."""

    items: list[HistoryStep]
    next: str | None = None


class ChildList(BaseModel):
    """The IDs of images that were made here from another, direct ones only."""

    items: list[str]
    next: str | None = None


class Tagged(BaseModel):
    """A name in its familiar form, with its tag."""

    reference: str


class ImageUsageView(ImageSummary):
    """An image with what it takes up."""

    unique_size: int = Field(description="what only this image has")


class ImagesTotal(BaseModel):
    """All images together; a blob counts once, however many images have it."""

    total: int
    active: int = Field(description="how many a workspace or a job uses")
    layers_size: int
    reclaimable: int = Field(description="what of these `prune --all` and `gc` would free")


class StoreView(BaseModel):
    """The store itself."""

    blobs: int
    blob_bytes: int
    partials: int = Field(description="blobs of which a part has arrived")
    partial_bytes: int
    trash: int = Field(description="removed blobs that can still be taken back")
    trash_bytes: int
    free_bytes: int


class UsageView(BaseModel):
    """Disk usage. Sizes are of blobs as held, mostly compressed: nothing is unpacked here."""

    images: ImagesTotal
    store: StoreView | None = Field(description="null for who does not see all of it")
    items: list[ImageUsageView]


def platform_view(row: Row[Any]) -> dict[str, Any]:
    """One platform's image as shown."""
    return {
        "digest": row.digest,
        "image_id": row.image_id,
        "platform": str(platform_of(row)),
        "created": row.created,
        "size": row.size,
        "layers": row.layers,
    }


def summary_view(summary: Summary) -> ImageSummary:
    """An image as a list shows it."""
    return ImageSummary(**_summary(summary), shared_size=-1)


def usage_view(usage: Usage) -> UsageView:
    """Disk usage as shown."""
    return UsageView(
        images=ImagesTotal(
            total=len(usage.images),
            active=usage.active,
            layers_size=usage.layers_size,
            reclaimable=usage.reclaimable,
        ),
        store=None if usage.store is None else _store_view(usage.store),
        items=[_usage(image) for image in usage.images],
    )


def details_view(
    details: Details,
    *,
    tags: list[str],
    digests: list[str],
    root: Mapping[str, Any],
    images: list[dict[str, Any]],
) -> ImageDetails:
    """An image as `inspect` shows it; *root* has what its name stands for."""
    config = details.field("config")
    row = details.row
    return ImageDetails(
        id=row.image_id,
        repo_tags=[familiar(name) for name in tags],
        repo_digests=[familiar(name) for name in digests],
        parent=details.parent,
        comment=details.comment,
        created=row.created,
        author=_text(details.field("author")),
        config=config if isinstance(config, dict) else None,
        architecture=row.architecture,
        variant=row.variant,
        os=row.os,
        os_version=_text(details.field("os.version")),
        size=row.size,
        uncompressed_size=details.uncompressed_size,
        rootfs=RootFs(diff_ids=details.diff_ids),
        last_tag_time=rfc3339(details.tagged_at),
        references=[*tags, *digests],
        images=images,
        **root,
    )


def step_view(step: Step) -> HistoryStep:
    """A step as shown."""
    return HistoryStep(
        id=step.id,
        created=step.created,
        created_by=step.created_by,
        comment=step.comment,
        size=step.size,
        tags=list(step.tags),
    )


def _summary(summary: Summary) -> dict[str, Any]:
    image = summary.image
    by_name = {row.name: row for row in summary.names}
    first = next((by_name[name] for name in (*summary.tags, *summary.digests)), None)
    row = image.manifest
    root = first.digest if first is not None else image.roots[0]
    return {
        "id": image.id,
        "parent_id": summary.parent_id,
        "repo_tags": [familiar(name) for name in summary.tags],
        "repo_digests": [familiar(name) for name in summary.digests],
        "created": row.created if row is not None else "",
        "size": row.size if row is not None else 0,
        "labels": dict(summary.labels),
        "containers": summary.containers,
        "reference": first.name if first is not None else None,
        "familiar": familiar(first.name) if first is not None else None,
        "digest": root,
        "media_type": first.media_type if first is not None else row and row.media_type,
        "updated_at": rfc3339(first.updated_at) if first is not None else None,
        "images": [platform_view(member) for member in image.members],
    }


def _usage(image: ImageUsage) -> ImageUsageView:
    values = {**_summary(image.summary), "size": image.size}
    return ImageUsageView(**values, shared_size=image.shared, unique_size=image.unique)


def _store_view(status: StoreStatus) -> StoreView:
    return StoreView(
        blobs=status.blobs,
        blob_bytes=status.blob_bytes,
        partials=status.partials,
        partial_bytes=status.partial_bytes,
        trash=status.trash,
        trash_bytes=status.trash_bytes,
        free_bytes=status.free_bytes,
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
