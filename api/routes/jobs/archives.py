"""Archives of images and file systems, in and out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from transship.api.http.auth import Asking, Caller
from transship.api.http.checked_route import CheckedRoute
from transship.api.http.pipes import Write, pieces
from transship.api.http.problems import problem
from transship.api.http.statuses import status_of
from transship.api.models.jobs import JobView
from transship.api.openapi import problems
from transship.api.routes.jobs.named import NamedJob
from transship.api.services import IdempotencyKey, Injected, Services
from transship.api.views.visibility import existing_job, shown_job
from transship.store.archives.plan import Plan
from transship.store.archives.write import send
from transship.store.catalog.db.schema import jobs as jobs_table
from transship.store.catalog.scheduling import exports
from transship.store.errors import CancelledError, ContentError, StoreError, TransshipError
from transship.store.layers.codecs.formats import Compression
from transship.workers.handlers.export import of_export
from transship.workers.jobs.submission import Submission
from transship.workers.specs import parse_spec

router = APIRouter(route_class=CheckedRoute, tags=["archives"])

EXTEND_SECONDS = 300.0  # how often a download under way says that its export is still wanted
_MEDIA_TYPES: Final = {
    Compression.NONE: "application/x-tar",
    Compression.GZIP: "application/gzip",
    Compression.ZSTD: "application/zstd",
}
_SUFFIXES: Final = {Compression.NONE: "", Compression.GZIP: ".gz", Compression.ZSTD: ".zst"}
_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
_TAR_BODY: Final[dict[str, Any]] = {
    "requestBody": {"required": True, "content": {"application/x-tar": _BINARY}}
}

Priority = Annotated[int, Query(ge=-100, le=100)]
Deadline = Annotated[float | None, Query(gt=0, description="seconds from now")]


@router.post(
    "/loads",
    status_code=202,
    operation_id="createLoad",
    response_model=JobView,
    openapi_extra=_TAR_BODY,
    responses=problems(400, 409, 422),
)
async def create_load(
    services: Injected,
    asking: Asking,
    request: Request,
    repository: Annotated[
        str | None, Query(description="what a bare tag in an OCI layout is a tag of")
    ] = None,
    priority: Priority = 0,
    deadline: Deadline = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Take the images of the archive that is the body: a docker-archive or an OCI layout as a tar.

    It answers when the body has arrived whole; the job says what is in it. A body that breaks off,
    or cannot be read, is a problem, and `Location` leads to the job that has failed over it.
    """
    spec = {"kind": "load", "repository": repository}
    return await _received(
        services, asking, request, spec, idempotency_key, priority=priority, deadline=deadline
    )


@router.post(
    "/imports",
    status_code=202,
    operation_id="createImport",
    response_model=JobView,
    openapi_extra=_TAR_BODY,
    responses=problems(400, 409, 422),
)
async def create_import(
    services: Injected,
    asking: Asking,
    request: Request,
    reference: Annotated[str | None, Query(description="the name to give")] = None,
    change: Annotated[
        list[str] | None, Query(description="an instruction as of a Dockerfile")
    ] = None,
    message: str = "",
    platform: Annotated[str | None, Query(description="os/arch[/variant]")] = None,
    source_date_epoch: Annotated[
        int | None, Query(description="when it was created, by default now")
    ] = None,
    priority: Priority = 0,
    deadline: Deadline = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Make an image of one layer of the body: the tar of a file system, compressed or not.

    It answers as `POST /loads` does. A tar at a URL is imported by a job of the kind `import`.
    """
    spec = {
        "kind": "import",
        "reference": reference,
        "changes": change or [],
        "message": message,
        "platform": platform,
        "source_date_epoch": source_date_epoch,
    }
    return await _received(
        services, asking, request, spec, idempotency_key, priority=priority, deadline=deadline
    )


@router.get(
    "/exports/{job}",
    operation_id="downloadExport",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "the archive",
            "content": dict.fromkeys(_MEDIA_TYPES.values(), _BINARY),
        },
        **problems(404, 409, 410, 422),
    },
)
async def download_export(
    services: Injected,
    asking: Asking,
    job: NamedJob,
    compress: Annotated[Literal["none", "gzip", "zstd"], Query()] = "none",
) -> StreamingResponse:
    """The archive of a job of the kind `export` that has succeeded, made as it is sent.

    For an hour after the job or the last download it can be downloaded (again). An answer that
    ends early is broken, and not a shorter archive.
    """
    compression = Compression(compress)
    plan = await asyncio.to_thread(_opened, services, asking, job)
    name = f"{job}.tar{_SUFFIXES[compression]}"
    return StreamingResponse(
        pieces(_sending(services, job, plan, compression)),
        media_type=_MEDIA_TYPES[compression],
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


async def _received(
    services: Services,
    asking: Caller,
    request: Request,
    spec: dict[str, Any],
    idempotency_key: str | None,
    **more: Any,
) -> Response:
    """Receive the body for a job of *spec*, and show the job."""
    wanted = Submission(
        spec=parse_spec({**spec, **more}),
        requested_by=asking.name,
        tenant=asking.tenant,
        idempotency_key=idempotency_key,
        may_use=asking.may_use,
        may_hurry=asking.may_hurry,
    )
    id_, error = await services.bodies.receive(request, wanted)
    location = {"Location": f"/api/v1/jobs/{id_}"}
    if error is not None:  # what else would be sent is of no use
        return problem(error, _status(error), {**location, "Connection": "close"})
    view = await asyncio.to_thread(_view, services, asking, id_)
    return Response(view.model_dump_json(), 202, location, "application/json")


def _status(error: TransshipError) -> int:
    """What is wrong with a body is the fault of whoever sent it."""
    match error:
        case ContentError():
            return 400
        case CancelledError():
            return 409
        case _:
            return status_of(error)


def _opened(services: Services, asking: Caller, job: str) -> Plan:
    with services.catalog.write() as connection:
        existing_job(connection, asking, job, jobs_table.c.id)
        row = exports.opened(connection, job, services.context.now())
        parts = exports.pinned(connection, job)
    return of_export(row, parts, services.content)


def _sending(
    services: Services, job: str, plan: Plan, compression: Compression
) -> Callable[[Write], None]:
    """What writes the archive; the export is kept meanwhile, and for an hour from the end on."""
    due = time.monotonic() + EXTEND_SECONDS

    def extend() -> None:
        nonlocal due
        due = time.monotonic() + EXTEND_SECONDS
        with suppress(StoreError), services.catalog.write() as connection:  # it is kept already
            exports.extend(connection, job, services.context.now())

    def check() -> None:
        if time.monotonic() > due:
            extend()

    def write_all(write: Write) -> None:
        send(plan, services.content, write, compression=compression, check=check)
        extend()

    return write_all


def _view(services: Services, asking: Caller, job: str) -> JobView:
    with services.catalog.read() as connection:
        return shown_job(connection, asking, job)
