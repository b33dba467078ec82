"""Pull and push of every tag of a repository: a child for each.

The children run side by side. What they have in common moves once, as of any jobs.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import Row

from transship.store.catalog.content import references
from transship.store.catalog.scheduling import jobs
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.errors import (
    ConflictError,
    ManifestNotFoundError,
    NotFoundError,
    PartialError,
    Side,
)
from transship.store.images.edit.records import happened
from transship.store.images.view.view import lead
from transship.store.oci.platform import Platform
from transship.store.oci.reference import Reference
from transship.workers.runtime.context import WorkerContext
from transship.workers.runtime.leases import LeaseMonitor
from transship.workers.specs import PullSpec, PushSpec
from transship.workers.steps import checkpoint, children
from transship.workers.steps.outcome import Done, Outcome, Waiting
from transship.workers.steps.remote import Remote


def pull(spec: PullSpec, lease: JobLease, context: WorkerContext, monitor: LeaseMonitor) -> Outcome:
    """Ask the registry once which tags there are, and pull each."""
    if "tags" not in lease.checkpoint:
        source = Remote.of(spec.source, Side.SOURCE, lease, context, monitor)
        checkpoint.remember(lease, context, tags=_in_registry(source))
    pulls = (
        (
            tag,
            PullSpec(
                reference=str(spec.repository.with_tag(tag)),
                platforms=spec.platforms,
                all_platforms=spec.all_platforms,
                priority=spec.priority,
            ),
        )
        for tag in lease.checkpoint["tags"]
    )
    children.make(pulls, lease, context, monitor)
    ended = children.ended(lease, context)
    if ended is None:
        return Waiting()
    result = _result(spec.repository, ended, lease, done="pulled")
    result["up_to_date"] = all(child.result["up_to_date"] for child in ended)
    _record("pull", spec.repository, spec.repository, lease, context)
    return Done(result)


def push(spec: PushSpec, lease: JobLease, context: WorkerContext, monitor: LeaseMonitor) -> Outcome:
    """Push each tag that the repository has here when the job first looks."""
    here = Reference.parse(spec.reference)
    if "tags" not in lease.checkpoint:
        checkpoint.remember(lease, context, tags=_in_store(here, lease, context))
    pushes = (
        (
            tag,
            PushSpec(
                reference=str(here.with_tag(tag)),
                destination=str(spec.repository.with_tag(tag)),
                compress=spec.compress,
                platforms=spec.platforms,
                all_platforms=spec.all_platforms,
                priority=spec.priority,
            ),
        )
        for tag in lease.checkpoint["tags"]
    )
    children.make(pushes, lease, context, monitor)
    ended = children.ended(lease, context)
    if ended is None:
        return Waiting()
    result = _result(spec.repository, ended, lease, done="pushed")
    _record("push", spec.repository, here, lease, context)
    return Done(result)


def _in_registry(source: Remote) -> list[str]:
    tags = children.tags_of(source)
    if not tags:
        raise ManifestNotFoundError(
            "the repository has no tags",
            registry=source.source.registry,
            subject=source.reference.repository,
            hint="pull by digest",
        )
    return tags


def _in_store(repository: Reference, lease: JobLease, context: WorkerContext) -> list[str]:
    with context.catalog.read() as connection:
        names = references.of_repository(connection, lease.tenant, repository.repository)
    found = [Reference.parse(row.name) for row in names]
    if not found:
        raise NotFoundError(
            "no image in the store has a name in this repository",
            subject=repository.familiar,
            hint="see `transship images`",
            side=Side.STORE,
        )
    tags = [name.tag for name in found if name.tag is not None]
    if not tags:
        raise NotFoundError(
            "no tags to push",
            subject=repository.familiar,
            hint="give the image a tag with `transship tag`",
            side=Side.STORE,
        )
    return tags


def _result(
    repository: Reference, ended: Sequence[Row[Any]], lease: JobLease, *, done: str
) -> dict[str, Any]:
    result = {"reference": str(repository), "tags": len(ended), **children.report(ended)}
    bad = len(ended) - result["by_state"].get("succeeded", 0)
    if bad:
        raise PartialError(
            f"{bad} of {len(ended)} tags were not {done}",
            subject=str(repository),
            hint=f"see `transship jobs --parent {lease.id}`, then `jobs retry {lease.id}`",
            side=children.side_of(result["failed"]),
            report=result,
        )
    return result


def _record(
    action: str, repository: Reference, here: Reference, lease: JobLease, context: WorkerContext
) -> None:
    """Write down, once, that all tags were moved; as with Docker, with the labels of `latest`."""
    if "recorded" in lease.checkpoint:
        return
    lease.learn(recorded=True)
    with context.catalog.write() as connection:
        jobs.save(connection, lease)
        latest = None
        with suppress(ConflictError):  # several tenants have the name: whose labels it has is open
            latest = references.get(connection, lease.tenant, str(here.with_default_tag()))
        images = references.images_under(connection, latest.digest) if latest is not None else ()
        happened(
            connection,
            lease.tenant,
            action,
            repository.familiar,
            name=repository.familiar,
            now=context.now(),
            image=lead(images, Platform.host()),
        )
