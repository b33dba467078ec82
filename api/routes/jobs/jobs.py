"""Jobs: ask for one, look at it, wait for it, stop it."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Response
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Column, Connection, Select, select, text, tuple_

from transship.api.http.auth import ADMIN, Asking, Caller
from transship.api.http.checked_route import CheckedRoute
from transship.api.http.notifications import FALLBACK_SECONDS, wait
from transship.api.models.credentials import CredentialBody
from transship.api.models.jobs import (
    EventList,
    JobEvent,
    JobList,
    JobSummary,
    JobView,
    RejectedList,
    RejectedMessage,
    RetryBody,
    TransferList,
    TransferView,
)
from transship.api.models.problems import Problem
from transship.api.openapi import problems
from transship.api.routes.jobs.named import NamedJob
from transship.api.services import IdempotencyKey, Injected, Services
from transship.api.views.jobs import SUMMARIZED, event_view, job_summaries, rfc3339
from transship.api.views.pages import within_page
from transship.api.views.visibility import existing_job, is_seen, job_named, own_jobs, shown_job
from transship.store.catalog.db.schema import JOB_TOP
from transship.store.catalog.db.schema import jobs as jobs_table
from transship.store.catalog.db.schema import transfers as transfers_table
from transship.store.catalog.db.schema import waits as waits_table
from transship.store.catalog.scheduling import events, jobs, rejections
from transship.store.errors import InvalidSpecError, RequestError
from transship.store.wording import told
from transship.workers.jobs.submission import Submission
from transship.workers.registry.auth.credentials import Credential
from transship.workers.specs import KINDS, needs_admin, parse_spec

router = APIRouter(route_class=CheckedRoute, tags=["jobs"])

MAX_ON_A_PAGE = 1000
LONGEST_WAIT_SECONDS = 60.0


_credentials: TypeAdapter[dict[str, CredentialBody]] = TypeAdapter(dict[str, CredentialBody])


@router.post(
    "/jobs",
    status_code=202,
    operation_id="createJob",
    responses=problems(400, 409, 413, 422),
)
async def create_job(
    services: Injected,
    asking: Asking,
    response: Response,
    body: Annotated[dict[str, Any], Body()],
    idempotency_key: IdempotencyKey = None,
) -> JobView:
    """Accept a job: when this answers, it is on disk, and will end whatever dies."""
    given = _given_credentials(body.pop("credentials", {}))
    # Thousands of entries with patterns take a while, and others are to be answered meanwhile.
    spec = await asyncio.to_thread(parse_spec, body) if "entries" in body else parse_spec(body)
    if spec.admin_only:
        asking.require(ADMIN)
    id_ = await services.submitter.submit(
        Submission(
            spec=spec,
            requested_by=asking.name,
            tenant=asking.tenant,
            idempotency_key=idempotency_key,
            credentials=given,
            may_use=asking.may_use,
            may_hurry=asking.may_hurry,
        )
    )
    response.headers["Location"] = f"/api/v1/jobs/{id_}"
    return await asyncio.to_thread(_view, services, asking, id_)


@router.get("/jobs", operation_id="listJobs", responses=problems(400, 409, 422))
def list_jobs(
    services: Injected,
    asking: Asking,
    state: Annotated[list[str] | None, Query()] = None,
    kind: Annotated[list[str] | None, Query()] = None,
    parent: str | None = None,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=MAX_ON_A_PAGE)] = 100,
) -> JobList:
    """Jobs that may be seen, the newest first. Children are listed under their parent only."""
    _check("state", state, (*jobs.ACTIVE, *jobs.ENDED))
    _check("kind", kind, (*KINDS,))
    before = 2**63 - 1 if cursor is None else _decoded(cursor)
    with services.catalog.read() as connection:
        if parent is not None:
            parent = job_named(connection, asking, parent)
        queries = [
            _page(asking, parent, one, kind, before).limit(limit + 1) for one in (state or (None,))
        ]
        if parent is not None and not is_seen(connection, asking, parent):
            return JobList(items=[], next=None)
        found = [row for query in queries for row in connection.execute(query)]
        rows = sorted(found, key=lambda row: -row.seq)[: limit + 1]
        views = within_page(job_summaries(connection, rows[:limit]), JobSummary.model_dump_json)
    more = len(rows) > len(views)
    return JobList(items=views, next=_encoded(rows[len(views) - 1].seq) if more else None)


def _page(
    asking: Caller, parent: str | None, state: str | None, kinds: list[str] | None, before: int
) -> Select[Any]:
    """The newest jobs made *before* a seq: children of *parent*, or those that are nobody's.

    In the words of the index that has them in their order. PostgreSQL, which does not know that
    the children of a job lie together, would rather read all jobs backwards until it has enough.
    """
    query = select(*SUMMARIZED, jobs_table.c.seq)
    order: list[Column[Any]] = [jobs_table.c.seq]
    at: list[Any] = [before]
    if state is not None:
        query = query.where(jobs_table.c.state == state)
        order, at = [jobs_table.c.state, *order], [state, *at]
    if parent is None:
        query = query.where(text(JOB_TOP), jobs_table.c.seq < before, own_jobs(asking))
    else:
        order, at = [jobs_table.c.parent, *order], [parent, *at]
        query = query.where(jobs_table.c.parent >= parent, tuple_(*order) < tuple_(*at))
    query = query.order_by(*(column.desc() for column in order))
    if kinds:
        query = query.where(jobs_table.c.kind.in_(kinds))
    return query


# Before /jobs/{job}, which would take the word for an id.
@router.get("/jobs/rejected", operation_id="listRejected", responses=problems(422))
def list_rejected(
    services: Injected, limit: Annotated[int, Query(ge=1, le=rejections.MAX_KEPT)] = 100
) -> RejectedList:
    """Messages of the broker that could not become jobs, the newest first."""
    with services.catalog.read() as connection:
        found = rejections.newest(connection, limit)
    return RejectedList(
        items=[
            RejectedMessage(time=rfc3339(one.time) or "", reason=one.reason, excerpt=one.excerpt)
            for one in found
        ]
    )


@router.get("/jobs/{job}", operation_id="getJob", responses=problems(404, 409, 422))
async def get_job(
    services: Injected,
    asking: Asking,
    job: NamedJob,
    wait_seconds: Annotated[float, Query(alias="wait", ge=0, le=LONGEST_WAIT_SECONDS)] = 0,
) -> JobView:
    """A job; with `wait` not before it has ended, or so many seconds have passed.

    A server that stops answers at once.
    """
    until = time.monotonic() + wait_seconds
    async with services.notifications.of([job]) as notifications:
        while True:
            state = await asyncio.to_thread(_state, services, asking, job)
            left = until - time.monotonic()
            if state in jobs.ENDED or left <= 0 or services.notifications.closing:
                return await asyncio.to_thread(_view, services, asking, job)
            await wait(notifications, min(left, FALLBACK_SECONDS))


@router.get("/jobs/{job}/transfers", operation_id="listTransfers", responses=problems(404, 409))
def list_transfers(services: Injected, asking: Asking, job: NamedJob) -> TransferList:
    """Every blob that the job has waited for, in the order in which it asked."""
    with services.catalog.read() as connection:
        existing_job(connection, asking, job, jobs_table.c.id)
        return TransferList(items=transfer_views(connection, job))


@router.get(
    "/jobs/{job}/log",
    operation_id="getLog",
    response_model_exclude_unset=True,
    responses=problems(404, 409, 422),
)
def get_log(
    services: Injected,
    asking: Asking,
    job: NamedJob,
    after: Annotated[
        int, Query(ge=0, lt=2**63, description="the id of the last event that was seen")
    ] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_ON_A_PAGE)] = MAX_ON_A_PAGE,
) -> EventList:
    """What happened to the job, a line each, the oldest first.

    `next` is the `after` of those that follow.
    """
    with services.catalog.read() as connection:
        existing_job(connection, asking, job, jobs_table.c.id)
        found = events.of_job(connection, job, after=after, limit=limit + 1)
    shown = within_page([event_view(event) for event in found[:limit]], _written)
    return EventList(items=shown, next=str(shown[-1].id) if len(found) > len(shown) else None)


@router.post(
    "/jobs/{job}/cancel", status_code=202, operation_id="cancelJob", responses=problems(404, 409)
)
def cancel_job(services: Injected, asking: Asking, job: NamedJob) -> JobView:
    """Ask the job and its children to stop. One that has ended stays as it is.

    The scope `submit` allows it for jobs that the same token asked for, `admin` for all.
    """
    with services.catalog.read() as connection:
        if existing_job(connection, asking, job, jobs_table.c.id).requester != asking.name:
            asking.require(ADMIN)
    services.jobs.cancel(job)
    return _view(services, asking, job)


@router.post(
    "/jobs/{job}/retry",
    status_code=202,
    operation_id="retryJob",
    responses=problems(400, 404, 409, 413, 422),
)
def retry_job(
    services: Injected,
    asking: Asking,
    response: Response,
    job: NamedJob,
    body: Annotated[RetryBody | None, Body()] = None,
    idempotency_key: IdempotencyKey = None,
) -> JobView:
    """Make a new job like an ended one; of a mirror only for the children that failed.

    It is a job of whoever asks now. One that came with credentials needs them again; a run of a
    stored mirror uses the server's.
    """
    with services.catalog.read() as connection:
        row = existing_job(connection, asking, job, jobs_table.c.kind)
    if needs_admin(row.kind) or row.requester != asking.name:
        asking.require(ADMIN)
    given = body.credentials if body is not None else {}
    id_ = services.jobs.retry(
        job,
        requested_by=asking.name,
        tenant=asking.tenant,
        given=_as_credentials(given),
        may_use=asking.may_use,
        may_hurry=asking.may_hurry,
        idempotency_key=idempotency_key,
    )
    response.headers["Location"] = f"/api/v1/jobs/{id_}"
    return _view(services, asking, id_)


def transfer_views(
    connection: Connection, job: str, *, limit: int | None = None
) -> list[TransferView]:
    """The transfers of a job as shown, the first *limit* of them."""
    rows = connection.execute(
        select(transfers_table, waits_table.c.joined, waits_table.c.error.label("wait_error"))
        .join(waits_table, waits_table.c.transfer == transfers_table.c.id)
        .where(waits_table.c.job == job)
        .order_by(waits_table.c.transfer)
        .limit(limit)
    )
    return [
        TransferView(
            digest=row.digest,
            direction=row.direction,
            state=row.state,
            size=row.size,
            bytes_done=row.bytes_done,
            bytes_moved=row.bytes_moved,
            media_type=row.media_type,
            registry=row.registry,
            repository=row.repository,
            attempts=row.tries,
            joined=row.joined,
            worker=row.served_by,
            error=Problem(**error) if (error := row.wait_error or row.error) else None,
        )
        for row in rows
    ]


def _view(services: Services, asking: Caller, job: str) -> JobView:
    with services.catalog.read() as connection:
        return shown_job(connection, asking, job)


def _state(services: Services, asking: Caller, job: str) -> str:
    with services.catalog.read() as connection:
        return str(existing_job(connection, asking, job, jobs_table.c.state).state)


def _given_credentials(value: Any) -> dict[str, Credential]:
    try:
        return _as_credentials(_credentials.validate_python(value))
    except ValidationError as invalid:
        errors = [
            {
                "field": ".".join(str(part) for part in ("credentials", *e["loc"])),
                "message": told(e),
            }
            for e in invalid.errors(include_input=False, include_url=False)
        ]
        raise InvalidSpecError("credentials are wrong", errors=errors) from None


def _as_credentials(given: Mapping[str, CredentialBody]) -> dict[str, Credential]:
    return {host: Credential(**body.model_dump()) for host, body in given.items()}


def _check(field: str, values: list[str] | None, known: tuple[str, ...]) -> None:
    for value in values or ():
        if value not in known:
            raise InvalidSpecError(
                f"{value!r} must be one of {', '.join(known)}",
                errors=[{"field": field, "message": f"one of {', '.join(known)}"}],
            )


def _written(event: JobEvent) -> str:
    return event.model_dump_json(exclude_unset=True)


def _encoded(seq: int) -> str:
    return base64.urlsafe_b64encode(str(seq).encode()).decode().rstrip("=")


def _decoded(cursor: str) -> int:
    try:
        seq = int(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError:
        seq = -1
    if not 0 <= seq < 2**63:
        raise RequestError("not a cursor of this list", subject="cursor")
    return seq
