"""Pull: from a registry into the store."""

from __future__ import annotations

from sqlalchemy import Connection

from store.catalog import blobs, events, references, transfers
from store.catalog.jobs import JobLease
from store.catalog.references import HeldImage
from store.errors import Side
from store.images.held import describe
from store.oci.digest import Digest
from store.oci.manifest import Index
from workers.advance import plan
from workers.advance.closure import Closure, resolve
from workers.advance.outcome import Done, Outcome, Waiting
from workers.advance.remote import Remote
from workers.leases import Held
from workers.specs import PullSpec
from workers.world import World


def advance(lease: JobLease, world: World, held: Held) -> Outcome:
    """Resolve once, ask for the blobs that are missing, and publish the reference last."""
    spec = PullSpec.model_validate(lease.spec)
    source = Remote.of(spec.source, Side.SOURCE, lease, world, held)
    root = plan.fixed_root(lease, source)
    closure = resolve(root, spec.wanted_platforms(), source.manifest)
    wanted = closure.blobs
    usable = source.usable(wanted)
    missing = [blob for blob in wanted if blob.digest not in usable]
    plan.count(
        lease,
        world,
        wanted,
        {blob.digest for blob in missing},
        manifests=[str(manifest.digest) for manifest in closure.manifests],
    )
    plan.waits(lease, world)
    if missing:
        with world.change() as change:
            transfers.want(
                change.connection,
                lease,
                (source.wanted("download", blob) for blob in missing),
                change.now,
            )
        return Waiting()
    held.check()
    return _publish(closure, spec, lease, world)


def _publish(closure: Closure, spec: PullSpec, lease: JobLease, world: World) -> Done:
    """Let the reference stand for what has arrived, in one transaction."""
    images = [describe(manifest, world.content) for manifest in closure.images]
    name = str(spec.source)
    with world.change() as change:
        connection = change.connection
        before = references.get(connection, name)
        for manifest in closure.manifests:
            below = (
                [d.digest for d in manifest.manifests if _included(d.digest, closure)]
                if isinstance(manifest, Index)
                else [blob.digest for blob in manifest.blobs]
            )
            blobs.link(connection, str(manifest.digest), map(str, below))
        for image in images:
            references.add_image(connection, image)
        newer = references.publish(
            connection,
            name,
            str(closure.root.digest),
            closure.root.media_type,
            seq=lease.seq,
            now=change.now,
        )
        _warn_of_platform(connection, spec, images, lease, change.now)
    current = before is not None and before.digest == str(closure.root.digest)
    return Done(
        {
            "reference": name,
            "digest": str(closure.root.digest),
            "image_id": images[0].image_id if len(images) == 1 else None,
            "images": [
                {
                    "digest": image.digest,
                    "image_id": image.image_id,
                    "platform": _platform(image),
                }
                for image in images
            ],
            "up_to_date": current,
        },
        superseded_by=newer,
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
