"""Workspaces: writable layers over images, and the images that they become."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection, select

from transship.api.http.auth import Asking, Caller
from transship.api.http.checked_route import CheckedRoute
from transship.api.models.jobs import JobView
from transship.api.openapi import problems
from transship.api.services import IdempotencyKey, Injected, Services
from transship.api.views.jobs import rfc3339
from transship.api.views.visibility import shown_job
from transship.store.catalog.content import workspaces
from transship.store.catalog.content.workspaces import Workspace
from transship.store.catalog.db.schema import blobs
from transship.store.catalog.db.sql import chunks
from transship.store.oci.platform import Platform
from transship.store.workspaces.workspaces import create, ground
from transship.workers.jobs.submission import Submission
from transship.workers.specs import AnySpec, parse_spec
from transship.workers.specs.images import WorkspaceName

router = APIRouter(route_class=CheckedRoute, tags=["workspaces"])

_SIZE = "of blobs as held, compressed"


class NewWorkspace(BaseModel):
    """A workspace that is asked for."""

    model_config = ConfigDict(extra="forbid")

    name: WorkspaceName
    reference: str | None = Field(
        default=None, min_length=1, max_length=1024, description="the image below; null: none"
    )
    platform: str | None = Field(
        default=None, max_length=256, description="of an index this image; by default the host's"
    )
    busy: bool = Field(default=False, description="see the change of a workspace")
    pull: Literal["missing", "always", "never"] = Field(
        default="never", description="unless never, a job makes it, which pulls the image so"
    )


class WorkspaceChange(BaseModel):
    """What is to become of a workspace."""

    model_config = ConfigDict(extra="forbid")

    busy: bool = Field(
        description="an image under a busy workspace cannot be deleted, even by force"
    )


class LayerView(BaseModel):
    """A layer as held."""

    digest: str
    size: int


class WorkspaceView(BaseModel):
    """A workspace."""

    name: str
    reference: str | None = Field(description="what its image was asked for by")
    base: str | None = Field(description="the digest of that image's manifest")
    image_id: str | None
    busy: bool
    created_at: str
    updated_at: str
    layers: list[LayerView] = Field(description="of what was put into it, the lowest first")
    size_rw: int = Field(description=f"of these layers, {_SIZE}")
    size_root_fs: int = Field(description=f"of all its layers, the image's too, {_SIZE}")


class WorkspaceList(BaseModel):
    """The workspaces by name."""

    items: list[WorkspaceView]
    next: None = None


@router.post(
    "/workspaces",
    status_code=201,
    operation_id="createWorkspace",
    responses={
        202: {"model": JobView, "description": "a job makes it, and pulls the image first"},
        **problems(400, 404, 409, 413, 422),
    },
)
async def create_workspace(
    services: Injected,
    asking: Asking,
    response: Response,
    body: Annotated[NewWorkspace, Body()],
    idempotency_key: IdempotencyKey = None,
) -> WorkspaceView | JobView:
    """Make a workspace over an image, or an empty one.

    It keeps the image's layers whatever becomes of the image, and counts as a user of it. A job
    that pulls has the credentials of the server; one that brings its own is asked for as any job.
    """
    if body.pull == "never" or body.reference is None:
        return await asyncio.to_thread(_create, services, asking, body)
    given = body.model_dump(exclude={"name"}, exclude_none=True)
    spec = parse_spec({**given, "kind": "workspace", "workspace": body.name})
    response.status_code = 202
    return await _submit(spec, services, asking, response, idempotency_key)


def _create(services: Services, asking: Caller, body: NewWorkspace) -> WorkspaceView:
    platform = Platform.parse(body.platform) if body.platform is not None else None
    with services.catalog.write() as connection:
        made = create(
            connection,
            asking.tenant,
            body.name,
            body.reference,
            busy=body.busy,
            platform=platform,
            now=services.context.now(),
        )
        return _view(connection, made, services)


@router.get("/workspaces", operation_id="listWorkspaces", responses=problems())
def list_workspaces(services: Injected, asking: Asking) -> WorkspaceList:
    """Every workspace, by name."""
    with services.catalog.read() as connection:
        found = workspaces.listed(connection, asking.tenant)
        return WorkspaceList(items=[_view(connection, one, services) for one in found])


@router.get("/workspaces/{name}", operation_id="getWorkspace", responses=problems(404))
def get_workspace(services: Injected, asking: Asking, name: str) -> WorkspaceView:
    """A workspace."""
    with services.catalog.read() as connection:
        return _view(connection, workspaces.get(connection, asking.tenant, name), services)


@router.patch(
    "/workspaces/{name}",
    operation_id="changeWorkspace",
    responses=problems(400, 404, 413, 422),
)
def change_workspace(
    services: Injected, asking: Asking, name: str, body: Annotated[WorkspaceChange, Body()]
) -> WorkspaceView:
    """Say whether somebody works in it."""
    with services.catalog.write() as connection:
        workspaces.set_busy(connection, asking.tenant, name, body.busy, services.context.now())
        return _view(connection, workspaces.get(connection, asking.tenant, name), services)


@router.delete(
    "/workspaces/{name}",
    status_code=204,
    operation_id="deleteWorkspace",
    responses=problems(404),
)
def delete_workspace(services: Injected, asking: Asking, name: str) -> None:
    """Drop a workspace, busy or not. Commits of it that are under way go on."""
    with services.catalog.write() as connection:
        workspaces.remove(connection, asking.tenant, name)


@router.post(
    "/workspaces/{name}/commit",
    status_code=202,
    operation_id="commitWorkspace",
    responses=problems(400, 404, 409, 413, 422),
)
async def commit_workspace(
    services: Injected,
    asking: Asking,
    response: Response,
    name: str,
    body: Annotated[dict[str, Any], Body()],
    idempotency_key: IdempotencyKey = None,
) -> JobView:
    """Ask for a job that makes an image of the workspace.

    What was put into it when the job begins becomes one layer on top of the image below, or none
    where that changes nothing.
    """
    given = {key: value for key, value in body.items() if value is not None}
    spec = parse_spec({**given, "kind": "commit", "workspace": name})
    await asyncio.to_thread(_exists, services, asking, name)
    return await _submit(spec, services, asking, response, idempotency_key)


async def _submit(
    spec: AnySpec, services: Services, asking: Caller, response: Response, key: str | None
) -> JobView:
    id_ = await services.submitter.submit(
        Submission(
            spec=spec,
            requested_by=asking.name,
            tenant=asking.tenant,
            idempotency_key=key,
            may_use=asking.may_use,
            may_hurry=asking.may_hurry,
        )
    )
    response.headers["Location"] = f"/api/v1/jobs/{id_}"
    return await asyncio.to_thread(_job, services, asking, id_)


def _exists(services: Services, asking: Caller, name: str) -> None:
    with services.catalog.read() as connection:
        workspaces.get(connection, asking.tenant, name)


def _job(services: Services, asking: Caller, id_: str) -> JobView:
    with services.catalog.read() as connection:
        return shown_job(connection, asking, id_)


def _view(connection: Connection, workspace: Workspace, services: Services) -> WorkspaceView:
    stack = ground(workspace.base, (), services.content)
    below = [] if stack.base is None else stack.base.manifest.layers
    sizes = _sizes(connection, workspace.layers)
    size_rw = sum(sizes[digest] for digest in workspace.layers)
    return WorkspaceView(
        name=workspace.name,
        reference=workspace.reference,
        base=workspace.base,
        image_id=stack.image_id,
        busy=workspace.busy,
        created_at=str(rfc3339(workspace.created_at)),
        updated_at=str(rfc3339(workspace.updated_at)),
        layers=[LayerView(digest=one, size=sizes[one]) for one in workspace.layers],
        size_rw=size_rw,
        size_root_fs=sum(layer.size for layer in below) + size_rw,
    )


def _sizes(connection: Connection, digests: tuple[str, ...]) -> dict[str, int]:
    return {
        row.digest: row.size
        for some in chunks(digests)
        for row in connection.execute(
            select(blobs.c.digest, blobs.c.size).where(blobs.c.digest.in_(some))
        )
    }
