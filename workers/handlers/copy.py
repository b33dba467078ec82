"""Copy: from one registry to another, through the store."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection

from transship.store.catalog.scheduling import targets
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.errors import Side
from transship.store.oci.descriptor import Descriptor
from transship.workers.runtime.context import WorkerContext
from transship.workers.runtime.leases import LeaseMonitor
from transship.workers.specs import NONE, CopySpec
from transship.workers.steps import checkpoint, compare, deliver, referrers
from transship.workers.steps.closure import narrowed, resolve_by_steps
from transship.workers.steps.needs import Steps, transact
from transship.workers.steps.outcome import Done, Outcome, Waiting
from transship.workers.steps.remote import Remote

LACKING_SECONDS: Final = 3600.0  # so long what a mirror saw of a destination is not asked again


def advance(lease: JobLease, context: WorkerContext, monitor: LeaseMonitor) -> Steps[Outcome]:
    """Compare digests first; move what the target lacks; put manifests, the tag last.

    A blob that the target has, or can mount, is never downloaded.
    """
    spec = CopySpec.model_validate(lease.spec)
    source = Remote.of(spec.origin, Side.SOURCE, lease, context, monitor)
    target = Remote.of(spec.target, Side.DESTINATION, lease, context, monitor)
    lacks = _lacks(lease, context)
    root = yield from checkpoint.fixed_root(lease, source, whole=lacks is not None)
    if spec.overwrite == "never" and "absent" not in lease.checkpoint:
        expected = compare.expected_digest(root, spec.platforms, context)
        kept = yield from _kept(spec, root, target, [str(root.digest), expected])
        if kept is not None:
            return kept
    there: Descriptor | None = None
    if "absent" not in lease.checkpoint and lacks is None and not spec.force:
        there = yield from _as_expected(spec, root, target, context)
        tagged = referrers.may_be_tagged(source)
        if there is not None and not referrers.may_have_some(spec.referrers, source, tagged=tagged):
            return (yield from _up_to_date(spec, root, there, target, lease, context))
    platforms = spec.wanted_platforms()
    whole = yield from resolve_by_steps(root, platforms, source.manifests)
    closure = narrowed(whole, platforms)
    yield from referrers.refuse_or_tell_rewrite(
        root, closure, spec.referrers, source, fail=spec.on_rewrite == "fail"
    )
    attached = yield from referrers.attached_to(
        [one.digest for one in whole.manifests if one in closure.manifests], spec.referrers, source
    )
    if there is not None:
        (unfound,) = yield from target.ask(
            lambda _: list(referrers.missing_of(attached.referrers, target.repository)), [None]
        )
        if not unfound:
            return (yield from _up_to_date(spec, root, there, target, lease, context))
    closure = replace(closure, attached=attached.manifests)
    same_registry = source.source.registry == target.source.registry
    absent = yield from deliver.absent_blobs(
        lease,
        target,
        closure,
        mount_from=source.source.repository if same_registry else None,
        new_at=lacks["at"] if lacks is not None and lacks["repository"] else None,
    )
    left, idle = yield from deliver.left_to_upload(target, absent, lease)
    if left:
        if idle:
            usable = yield from source.usable(idle)
            ready = [blob for blob in idle if blob.digest in usable]
            missing = [blob for blob in idle if blob.digest not in usable]
            yield from deliver.want_uploads(target, ready, lease, source=source, missing=missing)
        return Waiting()
    if spec.overwrite == "never":  # the last look before it is written
        kept = yield from _kept(spec, root, target, [str(closure.root.digest)])
        if kept is not None:
            return kept
    result = compare.result(spec, root, str(closure.root.digest), up_to_date=False)
    if spec.referrers != NONE:
        result["referrers"] = len(attached.referrers)
    outcome = yield from deliver.put_manifests(
        closure, target, result, attached, some_are_there=spec.force
    )
    if isinstance(outcome, Done) and closure.root.digest != root.digest:
        became = (str(root.digest), compare.transform(spec.platforms), str(closure.root.digest))
        yield from transact(_derived, became)
    return outcome


def _lacks(lease: JobLease, context: WorkerContext) -> dict[str, Any] | None:
    """What a mirror has found its destination to lack, as long as that is worth something."""
    found: dict[str, Any] | None = lease.checkpoint.get(compare.LACKS)
    if found is None or context.now() - found["at"] > LACKING_SECONDS:
        return None
    return found


def _kept(
    spec: CopySpec, root: Descriptor, target: Remote, ours: Collection[str]
) -> Steps[Done | None]:
    """The target stands for none of *ours*, and that is to stay; None: it may be written.

    A registry that does not say what is there is not written to.
    """
    (there,) = yield from target.ask(lambda _: target.head(), [None])
    if there is None or str(there.digest) in ours:
        return None
    result = compare.result(spec, root, str(there.digest), up_to_date=False)
    return Done({**result, "kept": True})


def _as_expected(
    spec: CopySpec, root: Descriptor, target: Remote, context: WorkerContext
) -> Steps[Descriptor | None]:
    """What the target stands for, if that is what the source would become."""
    there = yield from target.stands_for()
    if there is None or str(there.digest) != compare.expected_digest(root, spec.platforms, context):
        return None
    return there


def _up_to_date(
    spec: CopySpec,
    root: Descriptor,
    there: Descriptor,
    target: Remote,
    lease: JobLease,
    context: WorkerContext,
) -> Steps[Done]:
    """The target has everything: the job is done."""
    yield from checkpoint.count(lease, compare.known_blobs(there, context), ())
    yield from transact(_found_up_to_date, str(target.reference))
    return Done(compare.result(spec, root, str(there.digest), up_to_date=True))


# --- pieces of transactions ----------------------------------------------------------------------


def _found_up_to_date(
    connection: Connection, now: float, names: Sequence[tuple[JobLease, str]]
) -> list[None]:
    del now
    targets.found_up_to_date(connection, {lease.id: name for lease, name in names})
    return [None] * len(names)


def _derived(
    connection: Connection, now: float, became: Sequence[tuple[JobLease, tuple[str, str, str]]]
) -> list[None]:
    for _, (source, transform, target) in became:
        targets.record_derivation(connection, source, transform, target, now)
    return [None] * len(became)
