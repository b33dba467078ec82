"""The HTTP application: thin, for everything it does is a row that somebody else acts on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from api import openapi, problems
from api.bodies import MAX_BYTES, MAX_JOB_BYTES, BodyLimit
from api.news import News
from api.routes import health, images, jobs, limits, streams
from api.services import Services, Submitter
from api.watch import Watch
from store.oci.platform import Platform
from workers.queue import JobQueue
from workers.world import World

PREFIX = "/api/v1"


def create_app(world: World) -> FastAPI:
    """The application over *world*, which stays open as long as it serves."""
    jobs_queue = JobQueue(world.catalog, world.sealer, world.wire, Platform.host())
    news = News()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        submitter = Submitter(jobs_queue)
        app.state.services = Services(
            world=world,
            catalog=world.catalog,
            content=world.content,
            wire=world.wire,
            jobs=jobs_queue,
            submitter=submitter,
            news=news,
            watch=Watch(),
        )
        async with news.from_wire(world.wire):
            yield
        submitter.close()

    app = FastAPI(
        title="Transship",
        version="1",
        description="Moves container images between registries, as background jobs.",
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.news = news  # whoever serves the application closes it when that ends
    app.add_middleware(BodyLimit, max_bytes=MAX_BYTES, longer={f"{PREFIX}/jobs": MAX_JOB_BYTES})
    problems.install(app)
    openapi.install(app)
    app.include_router(health.router)
    for module in (jobs, streams, images, limits):
        app.include_router(module.router, prefix=PREFIX)
    return app
