"""Push: from the store to a registry."""

from __future__ import annotations

from transship.store.catalog.content import blobs, references
from transship.store.catalog.scheduling import jobs
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.errors import Side
from transship.store.images.edit.records import happened
from transship.store.images.view.view import lead
from transship.store.layers.codecs.formats import Compression
from transship.store.oci.descriptor import Descriptor
from transship.store.oci.platform import Platform
from transship.store.oci.reference import Reference
from transship.workers.handlers import all_tags
from transship.workers.runtime.context import WorkerContext
from transship.workers.runtime.leases import LeaseMonitor
from transship.workers.specs import PushSpec
from transship.workers.steps import checkpoint, deliver, local_image
from transship.workers.steps.closure import Closure
from transship.workers.steps.compressed import compressed
from transship.workers.steps.needs import Steps, outside
from transship.workers.steps.outcome import Done, Outcome, Waiting
from transship.workers.steps.remote import Remote


def advance(lease: JobLease, context: WorkerContext, monitor: LeaseMonitor) -> Steps[Outcome]:
    """Upload what the target lacks of the image in the store; put manifests, the tag last."""
    spec = PushSpec.model_validate(lease.spec)
    if spec.all_tags:
        return (yield from outside(lambda: all_tags.push(spec, lease, context, monitor)))
    target = Remote.of(spec.target, Side.DESTINATION, lease, context, monitor)

    def held() -> tuple[Descriptor, Closure]:
        root = local_image.fixed_root(spec.reference, lease, context)
        closure = local_image.closure(
            root,
            spec.reference,
            spec.wanted_platforms(),
            lease,
            context,
            whole=spec.all_platforms,
        )
        compression = Compression(spec.compress)
        return root, compressed(closure, compression, lease, context, monitor)

    root, closure = yield from outside(held)
    sent = {str(blob.digest) for blob in closure.distributable_blobs()}
    layers = [digest for digest in checkpoint.layers(closure.images)[::-1] if digest in sent]
    absent = yield from deliver.absent_blobs(lease, target, closure, mount_from=None, layers=layers)
    left, idle = yield from deliver.left_to_upload(target, absent, lease)
    if left:
        yield from deliver.want_uploads(target, idle, lease)
        return Waiting()
    result = {
        "reference": str(spec.target),
        "digest": str(closure.root.digest),
        "source": {"reference": spec.reference, "digest": str(root.digest)},
        "size": len(closure.root.raw),
    }
    outcome = yield from deliver.put_manifests(closure, target, result)
    if isinstance(outcome, Done) and outcome.superseded_by is None:
        yield from outside(lambda: _record(root, closure, spec, lease, context))
    return outcome


def _record(
    here: Descriptor, sent: Closure, spec: PushSpec, lease: JobLease, context: WorkerContext
) -> None:
    """Write down, once, that the image was pushed.

    A repository that names the image *here* names it by what it is there called from now on, too:
    by the digest of what was *sent*, which is another where its layers had to be compressed.
    """
    if "recorded" in lease.checkpoint:
        return
    root, target, now = sent.root, spec.target, context.now()
    lease.learn(recorded=True)
    with context.catalog.write() as connection:
        jobs.save(connection, lease)
        blobs.lock(connection, [str(root.digest)])
        names = references.of_digest(connection, lease.tenant, str(here.digest))
        if any(Reference.parse(row.name).repository == target.repository for row in names):
            by_digest = str(target.with_digest(root.digest))
            references.add_digest(
                connection, lease.tenant, by_digest, str(root.digest), root.media_type, now
            )
        if lease.parent is None:
            happened(
                connection,
                lease.tenant,
                "push",
                target.familiar,
                name=target.without_identifier().familiar,
                now=now,
                image=lead(references.images_under(connection, str(root.digest)), Platform.host()),
            )
