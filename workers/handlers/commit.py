"""Commit: a workspace becomes an image."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection

from transship.store.catalog.content import blobs, workspaces
from transship.store.catalog.scheduling import jobs
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.content.present import ensure_present
from transship.store.images.build.commit import Commit, child_config, child_platform
from transship.store.images.build.manifests import manifest_after
from transship.store.images.build.new_layer import MadeLayer, NewLayer
from transship.store.images.edit.publish import Made, made, publish
from transship.store.images.view.view import ImageView
from transship.store.layers.compose.squash import squash
from transship.store.oci.digest import Digest
from transship.store.oci.platform import Platform
from transship.store.workspaces.workspaces import Ground, ground
from transship.workers.runtime.context import WorkerContext
from transship.workers.runtime.leases import LeaseMonitor
from transship.workers.specs.images import CommitSpec
from transship.workers.steps.outcome import Done, Outcome


def advance(lease: JobLease, context: WorkerContext, monitor: LeaseMonitor) -> Outcome:
    """Squash what was put into the workspace into one layer, and publish the image with it.

    What the workspace holds when the job first looks is what it takes: later puts are not in it,
    and the workspace may go meanwhile. Until the image is published nothing of it is visible; a
    worker that takes over begins again.

    Raises:
        NotFoundError: there is no such workspace any more.
        RequestError: its base is for an operating system whose layers cannot be made here.
    """
    published = lease.checkpoint.get("published")
    if published is not None:
        return Done(**published)
    spec = CommitSpec.model_validate(lease.spec)
    _fix(spec, lease, context)
    stack = ground(lease.checkpoint["base"], lease.checkpoint["layers"], context.content)
    base = None if stack.base is None else stack.base.config
    platform = child_platform(base, Platform.host())
    monitor.unbounded()
    layer = _squashed(stack, spec, lease, context, monitor)
    config = child_config(
        base,
        None if layer is None else layer.diff_id,
        _wanted(spec, lease),
        platform,
    )
    new = _image(stack, layer, config, spec, lease, context)
    monitor.check()
    return _publish(new, layer, spec, lease, context)


def _fix(spec: CommitSpec, lease: JobLease, context: WorkerContext) -> None:
    """Write down of what the image is made, and keep that."""
    if "layers" in lease.checkpoint:
        return
    with context.catalog.write() as connection:
        workspace = workspaces.get(connection, lease.tenant, spec.workspace)
        lease.learn(base=workspace.base, layers=list(workspace.layers))
        jobs.save(connection, lease)
        below = set()
        if workspace.base is not None:
            below = {workspace.base, *blobs.children(connection, workspace.base)}
        blobs.lease(connection, lease.id, {*below, *workspace.layers})


def _squashed(
    stack: Ground, spec: CommitSpec, lease: JobLease, context: WorkerContext, monitor: LeaseMonitor
) -> MadeLayer | None:
    """The one layer; None where nothing has changed."""
    if not stack.own:
        return None
    with NewLayer(context.content, lease.id) as layer:
        assembled = squash(
            stack.above(context.content),
            layer.write,
            onto=stack.below(context.content),
            clamp=spec.source_date_epoch,
            check=monitor.check,
        )
        return layer.commit() if assembled.entries else None


def _wanted(spec: CommitSpec, lease: JobLease) -> Commit:
    epoch = spec.source_date_epoch
    return Commit(
        created=lease.created_at if epoch is None else epoch,
        author=spec.author,
        message=spec.message,
        changes=spec.changes,
        config=spec.config,
        container_config=spec.container_config,
        created_by=spec.created_by,
    )


def _image(
    stack: Ground,
    layer: MadeLayer | None,
    config: bytes,
    spec: CommitSpec,
    lease: JobLease,
    context: WorkerContext,
) -> Made:
    """Store the documents of the image."""
    base = stack.base
    manifest = manifest_after(
        None if base is None else base.manifest,
        config,
        () if base is None else base.manifest.layers,
        None if layer is None else (layer.digest, layer.size),
    )
    context.content.put(config)
    context.content.put(manifest.raw)
    with context.catalog.read() as connection:
        parent = stack.image_id
        if parent is not None and not _has(connection, lease.tenant, parent):
            parent = None  # it was removed, by force
    return made(
        [manifest],
        context.content,
        names=[] if spec.target is None else [spec.target],
        parents={} if parent is None else {str(manifest.config.digest): parent},
        verified=[] if layer is None else [layer.pair],
    )


def _has(connection: Connection, tenant: str, image_id: str) -> bool:
    return ImageView.of_id(connection, tenant, image_id).image(image_id) is not None


def _publish(
    new: Made, layer: MadeLayer | None, spec: CommitSpec, lease: JobLease, context: WorkerContext
) -> Done:
    """Let the image be there, in one transaction, and once."""
    with context.catalog.write() as connection:
        jobs.save(connection, lease)
        published = publish(
            connection,
            lease.tenant,
            new,
            holder=lease.id,
            seq=lease.seq,
            now=context.now(),
            tags=True,
        )
        result: dict[str, Any] = {
            "reference": None if spec.target is None else str(spec.target),
            "digest": published.digest,
            "image_id": published.image_id,
            "layer": None if layer is None else str(layer.diff_id),
            "moved": [name.familiar for name in published.moved],
        }
        newer = next(iter(published.superseded.values()), None)
        done = Done(result, superseded_by=newer)
        lease.learn(published=asdict(done))
        jobs.save(connection, lease)
    ensure_present(context.content, map(Digest.parse, new.digests))
    return done
