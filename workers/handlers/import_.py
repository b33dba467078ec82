"""Import: the tar of a file system becomes an image of one layer."""

from __future__ import annotations

from typing import Any

from transship.store.archives.manifests import made as made_manifest
from transship.store.catalog.access import credentials
from transship.store.catalog.content.layers import Pair
from transship.store.catalog.scheduling import jobs
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.errors import ContentError, Side
from transship.store.images.build.importing import imported_config
from transship.store.images.edit.publish import made, publish
from transship.store.layers.codecs.formats import Compression
from transship.store.oci.digest import Digest
from transship.workers.handlers.load import received
from transship.workers.jobs.intake import Meter, Metered, receive_layer
from transship.workers.jobs.service import RECEIVED
from transship.workers.registry.fetch import open_url
from transship.workers.runtime.context import WorkerContext
from transship.workers.runtime.leases import LeaseMonitor
from transship.workers.specs import ImportSpec
from transship.workers.steps import checkpoint, local_image
from transship.workers.steps.outcome import Done, Outcome


def advance(lease: JobLease, context: WorkerContext, monitor: LeaseMonitor) -> Outcome:
    """Fetch the tar, unless it came as the body; write config and manifest, and publish them."""
    published = lease.checkpoint.get("published")
    if published is not None:
        return Done(**published)
    spec = ImportSpec.model_validate(lease.spec)
    if spec.url is not None and RECEIVED not in lease.checkpoint:
        url = _whole_url(lease, context) or spec.url
        checkpoint.remember(
            lease, context, **{RECEIVED: _fetched(url, spec, lease, context, monitor)}
        )
    layer = received(lease)
    digest, diff_id = Digest.parse(layer["digest"]), Digest.parse(layer["diff_id"])
    config = imported_config(
        diff_id,
        platform=spec.for_platform,
        message=spec.message or f"Imported from {spec.source}",
        changes=spec.changes,
        created=lease.created_at if spec.source_date_epoch is None else spec.source_date_epoch,
    )
    manifest = made_manifest(config, [(digest, layer["size"], Compression.GZIP)])
    local_image.keep_documents((config, manifest.raw), lease, context)
    new = made(
        [manifest],
        context.content,
        names=[] if spec.target is None else [spec.target],
        verified=[Pair(str(digest), str(diff_id), layer["diff_size"])],
    )
    with context.catalog.write() as connection:
        jobs.save(connection, lease)
        became = publish(
            connection,
            lease.tenant,
            new,
            holder=lease.id,
            seq=lease.seq,
            now=context.now(),
            action="import",
            tags=True,
        )
        done: dict[str, Any] = {
            "result": {
                "reference": None if spec.target is None else str(spec.target),
                "digest": became.digest,
                "image_id": became.image_id,
            },
            "superseded_by": next(iter(became.superseded.values()), None),
        }
        lease.learn(published=done)
        jobs.save(connection, lease)
    return Done(**done)


def _whole_url(lease: JobLease, context: WorkerContext) -> str | None:
    """The URL as it was asked for, where the spec has it without what may be a secret."""
    with context.catalog.read() as connection:
        sealed = credentials.url_of(connection, lease.root)
    return None if sealed is None else str(context.sealer.open(sealed)["url"])


def _fetched(
    url: str, spec: ImportSpec, lease: JobLease, context: WorkerContext, monitor: LeaseMonitor
) -> dict[str, Any]:
    try:
        with open_url(url, context.registries.policy, monitor.check) as stream:
            monitor.unbounded()
            meter = Meter(lease, context, stream.size)
            layer = receive_layer(
                lease, context, monitor, Metered(stream, meter), subject=spec.source
            )
            meter.finish()
    except ContentError as error:
        error.at(Side.SOURCE)
        raise
    return layer
