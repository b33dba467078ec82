"""The HTTP application: thin, for everything it does is a row that somebody else acts on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI

from transship.api import openapi
from transship.api.access.administration import Access
from transship.api.http import problems
from transship.api.http.audit_log import Audit
from transship.api.http.auth import NO_PAGES, Guard, Keyring, authorize
from transship.api.http.body_limits import MAX_BYTES, MAX_JOB_BYTES, BodyLimit
from transship.api.http.notifications import Notifications
from transship.api.http.receive import Bodies
from transship.api.http.registry_calls import RegistryCalls
from transship.api.http.shares import Shares
from transship.api.routes.admin import audit, credentials, health, limits, metrics, status, tokens
from transship.api.routes.images import (
    create,
    events,
    images,
    remote,
    usage,
    workspace_files,
    workspaces,
)
from transship.api.routes.jobs import archives, failures, jobs, mirrors, streams
from transship.api.services import Services, Submitter
from transship.api.views.liveness import Liveness
from transship.api.views.metrics import Metrics
from transship.store.oci.config import MAX_CONFIG_BYTES
from transship.store.oci.platform import Platform
from transship.workers.jobs.service import JobService
from transship.workers.runtime.context import WorkerContext

PREFIX = "/api/v1"


def create_app(context: WorkerContext, *, page: bool = True) -> FastAPI:
    """The application over *context*, which stays open as long as it serves.

    Without *page* it has the API alone: the engine of one command is seen by no browser, and
    starts a tenth of a second sooner.
    """
    job_service = JobService(
        context.catalog, context.sealer, context.wire, Platform.host(), context.quotas
    )
    notifications = Notifications()
    keyring = Keyring(context.catalog)
    site = None
    if page:
        from transship.api.page.site import Site  # noqa: PLC0415 -- templates, forms, feeds

        site = Site(context, keyring)
    door = site.door if site is not None else NO_PAGES

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        submitter = Submitter(job_service)
        bodies = Bodies(context, job_service)
        liveness = Liveness()
        registry_calls = RegistryCalls()
        app.state.services = services = Services(
            context=context,
            catalog=context.catalog,
            content=context.content,
            wire=context.wire,
            jobs=job_service,
            submitter=submitter,
            bodies=bodies,
            notifications=notifications,
            liveness=liveness,
            metrics=Metrics(context, liveness),
            access=Access(context.catalog, context.sealer),
            registry_calls=registry_calls,
        )
        if site is not None:
            site.open(app, services)
        async with notifications.from_wire(context.wire):
            yield
        registry_calls.close()
        bodies.close()
        submitter.close()
        audit_log.close()

    app = FastAPI(
        title="Transship",
        version="1",
        description="Moves container images between registries, as background jobs.",
        openapi_url=None,  # ours is at two places
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        dependencies=[Depends(authorize)],
    )
    app.state.shares = Shares()
    app.state.audit = audit_log = Audit(context.catalog)
    # Whoever serves the application closes it when that ends.
    app.state.notifications = notifications
    longer = {
        f"{PREFIX}/jobs": MAX_JOB_BYTES,
        f"{PREFIX}/mirrors/[^/]+": MAX_JOB_BYTES,
        f"{PREFIX}/images": MAX_CONFIG_BYTES,
    }
    app.add_middleware(BodyLimit, max_bytes=MAX_BYTES, longer=longer)
    app.add_middleware(  # before all that came before
        Guard, keyring=keyring, shared_trust=context.shared_trust, door=door
    )
    problems.install(app, door)
    openapi.install(app)
    app.include_router(health.router)
    app.include_router(metrics.router)
    for module in (
        *(jobs, streams, archives, failures, images, events, create, workspaces, workspace_files),
        *(mirrors, usage, remote, limits, tokens, credentials, audit, status),
    ):
        app.include_router(module.router, prefix=PREFIX)
    for prefix in ("", PREFIX):
        app.include_router(openapi.router, prefix=prefix)
    if site is not None:
        site.install(app)
    return app
