"""Copy: from one registry to another, through the store."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from transship.store.catalog.scheduling import targets
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.errors import BlobMissingError, Side
from transship.store.images.view.local_content import read_manifests
from transship.store.oci.descriptor import Descriptor
from transship.workers.runtime.context import WorkerContext
from transship.workers.runtime.leases import LeaseMonitor
from transship.workers.specs import CopySpec
from transship.workers.steps import checkpoint, deliver
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
        coming = {
            digest for (way, digest), wait in states.items() if way == "download" and not wait.ended
        }
        deliver.want_uploads(target, ready, lease, context)
        deliver.want_downloads(
            source, [blob for blob in missing if str(blob.digest) not in coming], lease, context
        )
        return Waiting()
    result = _result(spec, root, str(closure.root.digest), up_to_date=False)
    outcome = deliver.put_manifests(closure, target, lease, context, result)
    if isinstance(outcome, Done) and closure.root.digest != root.digest:
        with context.catalog.write() as connection:
            targets.record_derivation(
                connection,
                str(root.digest),
                _transform(spec.platforms),
                str(closure.root.digest),
                context.now(),
            )
    return outcome


def expected_digest(root: Descriptor, platforms: Sequence[str], context: WorkerContext) -> str:
    """What the target stands for once it has *platforms* of *root*, as far as that is known."""
    if not platforms:
        return str(root.digest)
    with context.catalog.read() as connection:
        derived = targets.derived(connection, str(root.digest), _transform(platforms))
    return derived or str(root.digest)


def _up_to_date(
    spec: CopySpec, root: Descriptor, target: Remote, lease: JobLease, context: WorkerContext
) -> Done | None:
    """The job is done if the target stands already for what the source would become."""
    expected = expected_digest(root, spec.platforms, context)
    there = target.head()
    if there is None or str(there.digest) != expected:
        return None
    blobs = _known_blobs(there, context)
    checkpoint.count(lease, context, blobs, ())
    return Done(_result(spec, root, expected, up_to_date=True))


def _known_blobs(root: Descriptor, context: WorkerContext) -> list[Descriptor]:
    """The blobs of an image whose manifests the store still holds; else none. For the figures."""
    try:
        return resolve(
            root, (), partial(read_manifests, content=context.content)
        ).distributable_blobs()
    except BlobMissingError:
        return []


def _transform(platforms: Sequence[str]) -> str:
    return f"platforms={','.join(sorted(platforms))}"


def _result(spec: CopySpec, root: Descriptor, digest: str, *, up_to_date: bool) -> dict[str, Any]:
    return {
        "reference": str(spec.target),
        "digest": digest,
        "source_digest": str(root.digest),
        "up_to_date": up_to_date,
    }
