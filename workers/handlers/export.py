"""Export: pins images, and sees to it that an archive can be made of them.

Its bytes are made as they are downloaded, and are nowhere before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row

from transship.store.archives.plan import ArchiveFormat, Plan, SavedImage, lay_out
from transship.store.catalog.content import blobs, references
from transship.store.catalog.scheduling import exports, jobs
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.content.ports import ContentStore
from transship.store.errors import BlobMissingError
from transship.store.images.edit.records import happened
from transship.store.images.edit.saving import chosen, held_under
from transship.store.images.view.view import lead
from transship.store.oci.digest import Digest
from transship.store.oci.platform import Platform
from transship.store.oci.reference import Reference
from transship.workers.runtime.context import WorkerContext
from transship.workers.runtime.leases import LeaseMonitor
from transship.workers.specs import ExportSpec
from transship.workers.steps.outcome import Done, Outcome


def advance(lease: JobLease, context: WorkerContext, monitor: LeaseMonitor) -> Outcome:
    """Choose the images, pin them, and lay their archive out, to say now what would go wrong."""
    published = lease.checkpoint.get("published")
    if published is not None:
        return Done(**published)
    spec = ExportSpec.model_validate(lease.spec)
    with context.catalog.write() as connection:
        jobs.save(connection, lease)
        images = chosen(connection, lease.tenant, spec.references)
        parts = {part for one in images for part in held_under(connection, str(one.digest))}
        exports.pin(connection, lease.id, parts)
        lost = parts - blobs.held(connection, parts, context.now())
    if lost:
        raise BlobMissingError(
            "the store does not hold all of the image", subject=min(lost), hint="pull it again"
        )
    monitor.unbounded()
    archive = laid_out(images, parts, spec, context.content, monitor)
    with context.catalog.write() as connection:
        now = context.now()
        for image in images:
            under = references.images_under(connection, str(image.digest))
            leading = lead(under, Platform.host())
            id_ = str(image.digest) if leading is None else str(leading.image_id)
            happened(connection, lease.tenant, "save", id_, name=id_, now=now, image=leading)
        done: dict[str, Any] = {
            "result": {
                "references": list(spec.references),
                "format": spec.format,
                "size": sum(file.size for file in archive.files),
                "digests": {str(old): str(new) for old, new in archive.digests.items()},
                "expires_at": exports.expiry(now),
            }
        }
        lease.learn(published=done, images=[_as_json(image) for image in images])
        jobs.save(connection, lease)
    return Done(**done)


def laid_out(
    images: Sequence[SavedImage],
    parts: set[str],
    spec: ExportSpec,
    content: ContentStore,
    monitor: LeaseMonitor | None = None,
) -> Plan:
    """The archive that *spec* asks for of *images*, which hold on to *parts*."""
    return lay_out(
        images,
        content,
        format=ArchiveFormat(spec.format),
        platform=Platform.parse(spec.platform) if spec.platform is not None else None,
        held=lambda digest: str(digest) in parts,
        check=(lambda: None) if monitor is None else monitor.check,
    )


def of_export(row: Row[Any], parts: set[str], content: ContentStore) -> Plan:
    """The archive of an export whose job, *row*, has succeeded, and which pins *parts*."""
    images = [_from_json(one) for one in row.checkpoint["images"]]
    return laid_out(images, parts, ExportSpec.model_validate(row.spec), content)


def _as_json(image: SavedImage) -> dict[str, Any]:
    return {
        "digest": str(image.digest),
        "media_type": image.media_type,
        "names": [str(name) for name in image.names],
        "parent": None if image.parent is None else str(image.parent),
    }


def _from_json(value: Mapping[str, Any]) -> SavedImage:
    return SavedImage(
        Digest.parse(value["digest"]),
        value["media_type"],
        tuple(Reference.parse(name) for name in value["names"]),
        None if value["parent"] is None else Digest.parse(value["parent"]),
    )
