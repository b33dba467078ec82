"""Workspace: one is made over an image, which is pulled first where that is asked for."""

from __future__ import annotations

from transship.store.catalog.content import workspaces
from transship.store.catalog.scheduling import jobs
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.errors import NotFoundError, OtherPlatformError
from transship.store.images.view.resolve import find
from transship.store.oci.platform import Platform
from transship.store.workspaces.workspaces import create
from transship.workers.handlers.pull import pull
from transship.workers.runtime.context import WorkerContext
from transship.workers.runtime.leases import LeaseMonitor
from transship.workers.specs import PullSpec, WorkspaceSpec, fix_platforms
from transship.workers.steps import checkpoint
from transship.workers.steps.needs import Steps, outside
from transship.workers.steps.outcome import Done, Outcome, Waiting


def advance(lease: JobLease, context: WorkerContext, monitor: LeaseMonitor) -> Steps[Outcome]:
    """Decide once whether to pull, as Docker's GetImageAndReleasableLayer; then make it.

    Raises:
        ConflictError: there is a workspace of that name.
        NotFoundError, OtherPlatformError: the image is not held, and not to be pulled.
    """
    created = lease.checkpoint.get("created")
    if created is not None:
        return Done(created)
    spec = WorkspaceSpec.model_validate(lease.spec)
    wanted = yield from outside(lambda: _to_pull(spec, lease, context))
    if wanted is not None:
        pulled = yield from pull(wanted, lease, context, monitor)
        if isinstance(pulled, Waiting):
            return pulled
    return (yield from outside(lambda: _create(spec, lease, context)))


def _to_pull(spec: WorkspaceSpec, lease: JobLease, context: WorkerContext) -> PullSpec | None:
    """The pull that is to be made first; None where what is held will do."""
    if "pulls" not in lease.checkpoint:
        with context.catalog.read() as connection:
            workspaces.refuse_taken(connection, lease.tenant, spec.workspace)
            pulls = spec.pull == "always"
            try:
                find(connection, lease.tenant, spec.reference, platform=_platform(spec))
            except (NotFoundError, OtherPlatformError):
                if spec.to_pull is None:
                    raise
                pulls = True
        checkpoint.remember(lease, context, pulls=pulls)
    if not lease.checkpoint["pulls"] or spec.to_pull is None:
        return None
    wanted = fix_platforms(spec.to_pull, Platform.host())
    assert isinstance(wanted, PullSpec)
    return wanted


def _create(spec: WorkspaceSpec, lease: JobLease, context: WorkerContext) -> Done:
    with context.catalog.write() as connection:
        made = create(
            connection,
            lease.tenant,
            spec.workspace,
            spec.reference,
            busy=spec.busy,
            platform=_platform(spec),
            now=context.now(),
        )
        result = {
            "workspace": made.name,
            "reference": made.reference,
            "base": made.base,
            "pulled": lease.checkpoint["pulls"],
        }
        lease.learn(created=result)
        jobs.save(connection, lease)
    return Done(result)


def _platform(spec: WorkspaceSpec) -> Platform | None:
    return None if spec.platform is None else Platform.parse(spec.platform)
