"""What the API shows of images: Docker's own facts, in snake case."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row

from transship.api.models.images import (
    HistoryStep,
    ImageDetails,
    ImagesTotal,
    ImageSummary,
    ImageUsageView,
    RootFs,
    StoreView,
    UsageView,
)
from transship.api.views.jobs import rfc3339
from transship.store.images.view.details import Details, Step
from transship.store.images.view.listing import Summary
from transship.store.images.view.usage import ImageUsage, StoreStatus, Usage
from transship.store.images.view.view import familiar, platform_of
from transship.store.oci.timestamps import NO_TIME


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
    container = details.field("container_config")
    row = details.row
    return ImageDetails(
        id=row.image_id,
        repo_tags=[familiar(name) for name in tags],
        repo_digests=[familiar(name) for name in digests],
        parent=details.parent,
        comment=details.comment,
        created=row.created or NO_TIME,
        author=_text(details.field("author")),
        config=config if isinstance(config, dict) else None,
        container_config=container if isinstance(container, dict) else None,
        docker_version=_text(details.field("docker_version")),
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
        created=step.created or NO_TIME,
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
        "created": (row.created if row is not None else "") or NO_TIME,
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
