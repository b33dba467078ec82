"""Images, in the store and in registries: Docker's own facts, in snake case."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

_CREATED = "as its config has it; 0001-01-01T00:00:00Z if it does not"
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
    created: str = Field(description=_CREATED)
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
    created: str = Field(description=_CREATED)
    author: str
    config: dict[str, Any] | None
    container_config: dict[str, Any] | None = Field(
        description="of the container that it was committed from, where its maker wrote that down"
    )
    docker_version: str = Field(description="of the Docker that made it, or empty")
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


class TagBody(BaseModel):
    """The name that an image is to get."""

    model_config = ConfigDict(extra="forbid")

    reference: str = Field(min_length=1, max_length=1024)


class DescriptorView(BaseModel):
    """What a reference stands for in its registry."""

    media_type: str
    digest: str
    size: int


class RemoteImage(BaseModel):
    """An image in a registry. A platform has at least `os` and `architecture`."""

    reference: str
    descriptor: DescriptorView
    platforms: list[dict[str, Any]]


class RemoteDigest(DescriptorView):
    """What a reference stands for in its registry, or its image for one platform."""

    reference: str


class TagList(BaseModel):
    """A page of a repository's tags; *next* is the cursor of the one that follows."""

    items: list[str]
    next: str | None
