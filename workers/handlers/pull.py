"""Pull: from a registry into the store."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection

from transship.store.catalog.access import tenants
from transship.store.catalog.content import blobs, layers, references
from transship.store.catalog.content.references import HeldImage
from transship.store.catalog.scheduling import events, jobs
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.errors import Side
from transship.store.images.edit.records import happened
from transship.store.images.view.local_content import describe, opened
from transship.store.images.view.resolve import stored_name
from transship.store.images.view.view import lead
from transship.store.oci.digest import Digest
from transship.store.oci.manifest import Index
from transship.store.oci.platform import Platform
from transship.workers.handlers import all_tags
from transship.workers.runtime.context import WorkerContext
from transship.workers.runtime.leases import LeaseMonitor
from transship.workers.specs import PullSpec
from transship.workers.steps import checkpoint
from transship.workers.steps.closure import Closure, resolve_by_steps
from transship.workers.steps.needs import Steps, outside
from transship.workers.steps.outcome import Done, Outcome, Waiting
from transship.workers.steps.remote import Remote


def advance(lease: JobLease, context: WorkerContext, monitor: LeaseMonitor) -> Steps[Outcome]:
    """Pull an image, or every tag of a repository by a child each."""
    spec = PullSpec.model_validate(lease.spec)
    if spec.all_tags:
        return (yield from outside(lambda: all_tags.pull(spec, lease, context, monitor)))
    return (yield from pull(spec, lease, context, monitor))


def pull(
    spec: PullSpec, lease: JobLease, context: WorkerContext, monitor: LeaseMonitor
) -> Steps[Outcome]:
    """Resolve once, ask for the blobs that are missing, and publish the reference last.

    Kinds that need an image in the store pull it as a part of theirs.
    """
    published = lease.checkpoint.get("published")
    if published is not None:
        return Done(**published)
    source = Remote.of(spec.source, Side.SOURCE, lease, context, monitor)
    root = yield from checkpoint.fixed_root(lease, source)
    closure = yield from resolve_by_steps(root, spec.wanted_platforms(), source.manifests)
    wanted = closure.blobs
    usable = yield from source.usable(wanted)
    missing = {blob.digest: blob for blob in wanted if blob.digest not in usable}
    yield from checkpoint.count(
        lease,
        wanted,
        missing,
        absent=[str(digest) for digest in missing],
        layers=_fetched_layers(closure, missing),
        manifests=[str(manifest.digest) for manifest in closure.manifests],
    )
    yield from checkpoint.waits()
    if missing:
        downloads = [source.wanted("download", blob) for blob in missing.values()]
        yield from checkpoint.want(downloads, context)
        return Waiting()
    return (yield from outside(lambda: _publish(closure, spec, lease, context)))


def _publish(closure: Closure, spec: PullSpec, lease: JobLease, context: WorkerContext) -> Done:
    """Let the reference stand for what has arrived, in one transaction, and once.

    The repository with the root's digest becomes a name as well.
    """
    images = [describe(manifest, context.content) for manifest in closure.images]
    pairs = [pair for m in closure.images for pair in opened(m, context.content).pairs]
    root, now = closure.root, context.now()
    name = stored_name(spec.source)
    with context.catalog.write() as connection:
        jobs.save(connection, lease)
        blobs.lock(connection, [str(manifest.digest) for manifest in closure.manifests])
        before = references.own(connection, lease.tenant, name)
        known = references.images_of(connection, [image.digest for image in images])
        for manifest in closure.manifests:
            below = (
                [d.digest for d in manifest.manifests if _included(d.digest, closure)]
                if isinstance(manifest, Index)
                else [blob.digest for blob in manifest.blobs]
            )
            blobs.link(connection, str(manifest.digest), map(str, below))
        tenants.hold(connection, lease.tenant, (str(one.digest) for one in closure.manifests))
        for image in images:
            references.add_image(connection, image)
        layers.record(connection, pairs, verified=False)
        by_digest = str(spec.source.with_digest(root.digest))
        became = str(root.digest), root.media_type
        references.add_digest(connection, lease.tenant, by_digest, *became, now)
        newer = references.publish(connection, lease.tenant, name, *became, seq=lease.seq, now=now)
        same = before is not None and before.digest == str(root.digest)
        up_to_date = same and len(known) == len(images)
        done = Done(_result(closure, spec, images, up_to_date=up_to_date), superseded_by=newer)
        if lease.parent is None:
            _record(connection, lease.tenant, spec, closure, now)
        _warn_of_platform(connection, spec, images, lease, now)
        lease.learn(published=asdict(done))
        jobs.save(connection, lease)
    return done


def _result(
    closure: Closure, spec: PullSpec, images: list[HeldImage], *, up_to_date: bool
) -> dict[str, Any]:
    return {
        "reference": str(spec.source),
        "digest": str(closure.root.digest),
        "image_id": images[0].image_id if len(images) == 1 else None,
        "images": [
            {"digest": image.digest, "image_id": image.image_id, "platform": _platform(image)}
            for image in images
        ],
        "up_to_date": up_to_date,
    }


def _record(
    connection: Connection, tenant: str, spec: PullSpec, closure: Closure, now: float
) -> None:
    held = references.images_under(connection, str(closure.root.digest))
    happened(
        connection,
        tenant,
        "pull",
        spec.source.familiar,
        name=spec.source.without_identifier().familiar,
        now=now,
        image=lead(held, Platform.host()),
    )


def _fetched_layers(closure: Closure, missing: Collection[Digest]) -> list[str]:
    """The layers to tell of: those of images that are not here in whole already."""
    return checkpoint.layers(
        image for image in closure.images if any(blob.digest in missing for blob in image.blobs)
    )


def _included(digest: Digest, closure: Closure) -> bool:
    return any(manifest.digest == digest for manifest in closure.manifests)


def _platform(image: HeldImage) -> str:
    return "/".join(part for part in (image.os, image.architecture, image.variant) if part)


def _warn_of_platform(
    connection: Connection, spec: PullSpec, images: list[HeldImage], lease: JobLease, now: float
) -> None:
    """An image that is no index is pulled as it is; say so where it is for another platform."""
    if len(images) != 1 or len(spec.platforms) != 1 or not images[0].os:
        return
    if _platform(images[0]) != spec.platforms[0]:
        events.record(
            connection,
            lease.id,
            "warning",
            now,
            message=f"the image is for {_platform(images[0])}, not for {spec.platforms[0]}",
        )
