"""Mirrors that the server keeps: policies under a name, their schedule and their runs.

Whoever may submit jobs may start a run, which uses the server's credentials as an admin, who wrote
the policy down, may. Only admins write and remove.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Response
from sqlalchemy import Connection

from transship.api.http.auth import Asking, Caller
from transship.api.http.checked_route import CheckedRoute
from transship.api.models.jobs import JobList, JobView
from transship.api.models.mirrors import (
    MirrorChange,
    MirrorList,
    MirrorSummary,
    MirrorView,
    NewMirror,
    RunView,
    Verification,
)
from transship.api.openapi import problems
from transship.api.services import IdempotencyKey, Injected, Services
from transship.api.views.jobs import SUMMARIZED, job_summaries, rfc3339
from transship.api.views.visibility import own_jobs, shown_job
from transship.store.catalog.scheduling import jobs, mirrors
from transship.store.catalog.scheduling.mirrors import StoredMirror
from transship.workers.specs import as_json, parse_spec

router = APIRouter(route_class=CheckedRoute, tags=["mirrors"])

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$"

MirrorName = Annotated[str, Path(pattern=NAME_PATTERN)]


@router.get("/mirrors", operation_id="listMirrors", responses=problems())
def list_mirrors(services: Injected) -> MirrorList:
    """Every policy that is kept."""
    with services.catalog.read() as connection:
        return MirrorList(items=[_summary(connection, one) for one in mirrors.listed(connection)])


@router.get("/mirrors/{name}", operation_id="getMirror", responses=problems(404, 422))
def get_mirror(services: Injected, name: MirrorName) -> MirrorView:
    """A policy that is kept."""
    with services.catalog.read() as connection:
        return _view(connection, mirrors.get(connection, name))


@router.put(
    "/mirrors/{name}",
    operation_id="putMirror",
    responses={
        **problems(400, 413, 422),
        201: {"model": MirrorView, "description": "there was none of that name"},
    },
)
def put_mirror(
    services: Injected, response: Response, name: MirrorName, wanted: Annotated[NewMirror, Body()]
) -> MirrorView:
    """Keep a policy, in place of one of that name. With an interval it is due at once."""
    given = wanted.model_dump(mode="json", exclude={"interval_seconds", "enabled"})
    spec = as_json(parse_spec({"kind": "mirror", **given}))
    with services.catalog.write() as connection:
        new = mirrors.put(
            connection,
            name,
            spec=spec,
            interval=wanted.interval_seconds,
            enabled=wanted.enabled,
            now=services.context.now(),
        )
        response.status_code = 201 if new else 200
        return _view(connection, mirrors.get(connection, name))


@router.patch("/mirrors/{name}", operation_id="changeMirror", responses=problems(400, 404, 422))
def change_mirror(
    services: Injected, name: MirrorName, change: Annotated[MirrorChange, Body()]
) -> MirrorView:
    """Let the interval of a policy count, or not. A run that is going on goes on."""
    with services.catalog.write() as connection:
        mirrors.enable(connection, name, change.enabled, services.context.now())
        return _view(connection, mirrors.get(connection, name))


@router.delete(
    "/mirrors/{name}", status_code=204, operation_id="deleteMirror", responses=problems(404, 422)
)
def delete_mirror(services: Injected, name: MirrorName) -> None:
    """Forget a policy. Its runs stay as jobs, and one that is going on goes on."""
    with services.catalog.write() as connection:
        mirrors.remove(connection, name)


@router.post(
    "/mirrors/{name}/runs",
    status_code=202,
    operation_id="runMirror",
    responses=problems(404, 409, 422),
)
async def run_mirror(
    services: Injected,
    asking: Asking,
    response: Response,
    name: MirrorName,
    idempotency_key: IdempotencyKey = None,
) -> JobView:
    """Start a run, which is a job; 409 while one is going on. The next is due an interval later."""
    return await _started(services, asking, response, name, idempotency_key, None)


@router.post(
    "/mirrors/{name}/verify",
    status_code=202,
    operation_id="verifyMirror",
    responses=problems(400, 404, 409, 422),
)
async def verify_mirror(
    services: Injected,
    asking: Asking,
    response: Response,
    name: MirrorName,
    wanted: Annotated[Verification, Body(default_factory=Verification)],
    idempotency_key: IdempotencyKey = None,
) -> JobView:
    """Verify that the destinations have all of every image, by a job; 409 while a run goes on.

    Its result names what is missing or wrong. To repair it, that is copied again, and nothing else
    is.
    """
    fields = {
        "verify": "read" if wanted.read else "head",
        "verify_only": True,
        "repair": wanted.repair,
    }
    return await _started(services, asking, response, name, idempotency_key, fields)


async def _started(
    services: Services,
    asking: Caller,
    response: Response,
    name: str,
    idempotency_key: str | None,
    verify: Mapping[str, Any] | None,
) -> JobView:
    def start() -> JobView:
        id_ = services.jobs.run_mirror(
            name, requested_by=asking.name, idempotency_key=idempotency_key, verify=verify
        )
        with services.catalog.read() as connection:
            return shown_job(connection, asking, id_)

    view = await asyncio.to_thread(start)
    response.headers["Location"] = f"/api/v1/jobs/{view.id}"
    return view


@router.get("/mirrors/{name}/runs", operation_id="listRuns", responses=problems(404, 422))
def list_runs(
    services: Injected,
    asking: Asking,
    name: MirrorName,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> JobList:
    """The runs of a policy, the newest first, each with its report, as long as jobs are kept.

    Those of others are for who may see their jobs.
    """
    with services.catalog.read() as connection:
        mirrors.get(connection, name)
        rows = mirrors.runs(connection, name, own_jobs(asking), *SUMMARIZED, limit=limit)
        return JobList(items=job_summaries(connection, rows), next=None)


def _summary(connection: Connection, stored: StoredMirror) -> MirrorSummary:
    last = mirrors.last_run(connection, stored.name)
    by_itself = stored.enabled and stored.interval is not None
    return MirrorSummary(
        name=stored.name,
        enabled=stored.enabled,
        interval_seconds=stored.interval,
        next_run_at=rfc3339(stored.next_run) if by_itself else None,
        running=last.id if last is not None and last.state in jobs.ACTIVE else None,
        last_run=None
        if last is None
        else RunView(
            job=last.id,
            state=last.state,
            started_at=rfc3339(last.created_at) or "",
            finished_at=rfc3339(last.finished_at),
        ),
        entries=len(stored.spec["entries"]),
        created_at=rfc3339(stored.created_at) or "",
        updated_at=rfc3339(stored.updated_at) or "",
    )


def _view(connection: Connection, stored: StoredMirror) -> MirrorView:
    summary = _summary(connection, stored)
    return MirrorView(**summary.model_dump(), spec=dict(stored.spec))
