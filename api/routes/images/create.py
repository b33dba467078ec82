"""Images that are made of a config alone, and those that builds have made before."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from transship.api.http.auth import Asking
from transship.api.http.checked_route import CheckedRoute
from transship.api.openapi import problems
from transship.api.services import Injected
from transship.store.images.build.cache import BuildCache
from transship.store.images.build.container_config import check
from transship.store.images.build.create import Creation
from transship.workers.runtime.ids import new_id

router = APIRouter(route_class=CheckedRoute, tags=["make"])

Text = Annotated[str, Field(min_length=1, max_length=1024)]
MAX_SOURCES = 100


class CreatedView(BaseModel):
    """An image that is here now."""

    image_id: str
    digest: str = Field(description="of its manifest")


class CacheBody(BaseModel):
    """A step of a build."""

    model_config = ConfigDict(extra="forbid")

    parent: Text | None = Field(default=None, description="the image that the step begins with")
    config: dict[str, Any] = Field(description="of the step's container, in Docker's words")
    sources: list[Text] = Field(
        default_factory=list,
        alias="from",
        max_length=MAX_SOURCES,
        description="images that may have the step, in the order to be asked",
    )


class CacheView(BaseModel):
    """What is known of a step.

    `source` is the one of `from` that it was found in: ask for the next steps with that alone.
    """

    image_id: str | None = Field(description="the image that the step gives; null: not known")
    source: str | None
    unknown: list[str] = Field(
        description="those of `from` that are not here, or do not tell their steps"
    )


@router.post(
    "/images",
    status_code=201,
    operation_id="createImage",
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "the config of an image, which is kept byte for byte",
            "content": {"application/json": {"schema": {"type": "object"}}},
        }
    },
    responses=problems(400, 404, 409, 413, 422),
)
async def create_image(
    request: Request,
    services: Injected,
    asking: Asking,
    parent: Annotated[str | None, Query(min_length=1, max_length=1024)] = None,
) -> CreatedView:
    """Make an image without a name of a config, over layers that are held here.

    The config names them by diffIDs. Unless the server trusts everybody with everything, only
    layers of one's own images count. The same config again gives the same image.
    """
    raw = await request.body()
    creation = Creation(
        services.catalog, services.content, shared_trust=services.context.shared_trust
    )
    made = await run_in_threadpool(
        creation.create,
        asking.tenant,
        raw,
        holder=new_id(),
        now=services.context.now(),
        parent=parent,
    )
    return CreatedView(image_id=made.image_id, digest=made.digest)


@router.post(
    "/images/cache", operation_id="findCached", responses=problems(400, 404, 409, 413, 422)
)
def find_cached(
    services: Injected, asking: Asking, body: Annotated[CacheBody, Body()]
) -> CacheView:
    """Look up a cached build step, if it was done before.

    That is a child of the parent that was made by an equal step. With `from` it counts only if
    one of those images descends from it; else the first of them that goes on after the parent by
    a step of the same command has it, and where that is not its last step, an image that ends
    there is made.
    """
    check(body.config)
    answer = BuildCache(services.catalog, services.content).look(
        asking.tenant,
        body.config,
        parent=body.parent,
        sources=body.sources,
        holder=new_id(),
        now=services.context.now(),
    )
    return CacheView(image_id=answer.image_id, source=answer.source, unknown=list(answer.unknown))
