"""Push: from the store to a registry."""

from __future__ import annotations

from functools import partial

from store.catalog import blobs, jobs, references
from store.catalog.jobs import JobLease
from store.errors import BlobMissingError, PlatformNotFoundError, Side
from store.images.held import read_manifest
from store.images.records import happened
from store.images.resolve import resolve_root
from store.images.shelf import lead
from store.oci.descriptor import Descriptor
from store.oci.manifest import Index
from store.oci.platform import Platform
from store.oci.reference import Reference
from workers.advance import deliver, plan
from workers.advance.closure import Closure, narrowed, resolve
from workers.advance.outcome import Done, Outcome, Waiting
from workers.advance.remote import Remote
from workers.leases import Held
from workers.specs import PushSpec
from workers.world import World


def advance(lease: JobLease, world: World, held: Held) -> Outcome:
    """Upload what the target lacks of the image in the store; put manifests, the tag last."""
    spec = PushSpec.model_validate(lease.spec)
    target = Remote.of(spec.target, Side.DESTINATION, lease, world, held)
    root = _fixed_root(spec, lease, world)
    closure = _held_closure(root, spec, lease, world)
    absent = deliver.absent_blobs(lease, target, closure, mount_from=None)
    states = plan.waits(lease, world)
    left, idle = deliver.left_to_upload(target, absent, states, lease, world)
    if left:
        deliver.want_uploads(target, idle, lease, world)
        return Waiting()
    result = {"reference": str(spec.target), "digest": str(closure.root.digest)}
    outcome = deliver.put_manifests(closure, target, lease, world, result)
    if isinstance(outcome, Done) and outcome.superseded_by is None:
        _record(closure, spec, lease, world)
    return outcome


def _record(closure: Closure, spec: PushSpec, lease: JobLease, world: World) -> None:
    """Write down, once, that the image was pushed.

    A repository that names the image here names it by what it is there called from now on, too.
    """
    if "recorded" in lease.plan:
        return
    root, target, now = closure.root, spec.target, world.now()
    lease.plan["recorded"] = True
    with world.catalog.write() as connection:
        jobs.save(connection, lease, plan=lease.plan)
        blobs.lock(connection, [str(root.digest)])
        names = references.of_digest(connection, str(root.digest))
        if any(Reference.parse(row.name).repository == target.repository for row in names):
            by_digest = str(target.with_digest(root.digest))
            references.add_digest(connection, by_digest, str(root.digest), root.media_type, now)
        happened(
            connection,
            "push",
            target.familiar,
            name=target.without_identifier().familiar,
            now=now,
            image=lead(references.images_under(connection, str(root.digest)), Platform.host()),
        )


def _fixed_root(spec: PushSpec, lease: JobLease, world: World) -> Descriptor:
    """What the name stood for in the store when the job first looked, leased from then on."""
    stored = lease.plan.get("root")
    if stored is not None:
        return Descriptor.from_json(stored)
    with world.catalog.write() as connection:
        root = resolve_root(connection, spec.reference)
        blobs.lease(connection, lease.id, [str(root.digest)])
    plan.remember(lease, world, root=root.to_json())
    return root


def _held_closure(root: Descriptor, spec: PushSpec, lease: JobLease, world: World) -> Closure:
    """The image as far as it is held and was asked for, every blob of it leased.

    An index of which only some children are held is pushed as these: one child as itself.

    Raises:
        PlatformNotFoundError: all platforms were asked for and some are not held.
    """
    with world.catalog.read() as connection:
        held_images = {row.digest for row in references.images_under(connection, str(root.digest))}
        edges = blobs.children(connection, str(root.digest))
    fetch = partial(read_manifest, content=world.content)

    platforms = spec.wanted_platforms()
    top = fetch(root)
    if isinstance(top, Index) and not platforms:
        lacking = [d for d in top.manifests if str(d.digest) not in edges]
        if lacking and spec.all_platforms:
            names = ", ".join(sorted(str(d.platform or d.digest) for d in lacking))
            raise PlatformNotFoundError(
                f"not all platforms are held: {names} missing",
                subject=spec.reference,
                hint="pull it with --all-platforms first",
                side=Side.STORE,
            )
        if lacking:
            platforms = tuple(
                d.platform for d in top.manifests if str(d.digest) in held_images and d.platform
            )
    try:
        closure = narrowed(resolve(root, platforms, fetch), platforms)
    except BlobMissingError as missing:
        raise PlatformNotFoundError(
            "this platform is not held",
            subject=spec.reference,
            hint="pull it with --platform first",
            side=Side.STORE,
        ) from missing
    except PlatformNotFoundError as missing:
        missing.at(Side.STORE)
        raise
    wanted = {str(m.digest) for m in closure.manifests} | {str(b.digest) for b in closure.blobs}
    with world.catalog.write() as connection:
        blobs.lease(connection, lease.id, wanted)
        absent = wanted - blobs.held(connection, wanted, world.now())
    absent -= {str(m.digest) for m in closure.manifests}  # read a moment ago
    if absent:
        raise BlobMissingError(
            "the store does not hold all of the image",
            subject=min(absent),
            hint="pull it again",
        )
    return closure
