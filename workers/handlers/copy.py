"""Copy: from one registry to another, through the store."""

from __future__ import annotations

from transship.store.catalog.scheduling import targets
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.errors import Side
from transship.store.oci.descriptor import Descriptor
from transship.workers.runtime.context import WorkerContext
from transship.workers.runtime.leases import LeaseMonitor
from transship.workers.specs import CopySpec
from transship.workers.steps import checkpoint, compare, deliver
from transship.workers.steps.closure import narrowed, resolve
from transship.workers.steps.outcome import Done, Outcome, Waiting
from transship.workers.steps.remote import Remote


def advance(lease: JobLease, context: WorkerContext, monitor: LeaseMonitor) -> Outcome:
    """Compare digests first; move what the target lacks; put manifests, the tag last.

    A blob that the target has, or can mount, is never downloaded.
    """
    spec = CopySpec.model_validate(lease.spec)
    source = Remote.of(spec.origin, Side.SOURCE, lease, context, monitor)
    target = Remote.of(spec.target, Side.DESTINATION, lease, context, monitor)
    root = checkpoint.fixed_root(lease, source)
    if "absent" not in lease.checkpoint:
        there = _up_to_date(spec, root, target, lease, context)
        if there is not None:
            return there
    whole = resolve(root, spec.wanted_platforms(), source.manifests)
    closure = narrowed(whole, spec.wanted_platforms())
    same_registry = source.source.registry == target.source.registry
    absent = deliver.absent_blobs(
        lease, target, closure, mount_from=source.source.repository if same_registry else None
    )
    states = checkpoint.waits(lease, context)
    left, idle = deliver.left_to_upload(target, absent, states, lease, context)
    if left:
        usable = source.usable(idle)
        ready = [blob for blob in idle if blob.digest in usable]
        missing = [blob for blob in idle if blob.digest not in usable]
        deliver.want_uploads(target, ready, lease, context, source=source, missing=missing)
        return Waiting()
    result = compare.result(spec, root, str(closure.root.digest), up_to_date=False)
    outcome = deliver.put_manifests(closure, target, lease, context, result)
    if isinstance(outcome, Done) and closure.root.digest != root.digest:
        with context.catalog.write() as connection:
            targets.record_derivation(
                connection,
                str(root.digest),
                compare.transform(spec.platforms),
                str(closure.root.digest),
                context.now(),
            )
    return outcome


def _up_to_date(
    spec: CopySpec, root: Descriptor, target: Remote, lease: JobLease, context: WorkerContext
) -> Done | None:
    """The job is done if the target stands already for what the source would become."""
    expected = compare.expected_digest(root, spec.platforms, context)
    there = target.head()
    if there is None or str(there.digest) != expected:
        return None
    checkpoint.count(lease, context, compare.known_blobs(there, context), ())
    with context.catalog.write() as connection:
        targets.found_up_to_date(connection, {lease.id: str(target.reference)})
    return Done(compare.result(spec, root, expected, up_to_date=True))
