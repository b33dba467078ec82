"""A job's events as they happen: server-sent events, or one JSON object a line.

What happened to a job is stored, has an id, and can be replayed from `Last-Event-ID`. How far it
is, is not stored: events of the type `progress` come between, without id. A job that has news all
the time is looked at twice a second.
`format=docker` tells the course of a pull or a push in the words of Docker's stream instead.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse
from sqlalchemy import Connection, Row, select, text

from transship.api.http.auth import Asking, Caller
from transship.api.http.checked_route import CheckedRoute
from transship.api.http.event_streams import NDJSON, SSE, STREAM, Events, event_id, streamed
from transship.api.http.notifications import Pace, wait
from transship.api.models.jobs import JobSummary, MovingTransfer, ProgressEvent
from transship.api.openapi import problems
from transship.api.routes.jobs.jobs import transfer_views
from transship.api.routes.jobs.named import NamedJob
from transship.api.services import Injected, Services
from transship.api.views.docker_progress import Line
from transship.api.views.docker_stream import DockerStream
from transship.api.views.jobs import SUMMARIZED, event_view, job_summaries
from transship.api.views.visibility import existing_job
from transship.store.catalog.db.schema import TRANSFER_RUNNING
from transship.store.catalog.db.schema import transfers as transfers_table
from transship.store.catalog.scheduling import events, jobs

router = APIRouter(route_class=CheckedRoute, tags=["jobs"])

PROGRESS_SECONDS = 0.5
ALIVE_SECONDS = 15.0
FREE_LOOKS = 10  # so many follow the news at once; a mirror has news all the time
MAX_EVENTS = 1000  # read at a time
MAX_TRANSFERS_SHOWN = 64


@router.get(
    "/jobs/{job}/events",
    operation_id="followJob",
    response_class=StreamingResponse,
    responses={200: STREAM, **problems(400, 404, 409)},
)
async def follow(
    services: Injected,
    asking: Asking,
    job: NamedJob,
    accept: Annotated[str, Header()] = SSE,
    last_event_id: Annotated[str | None, Header()] = None,
    format_: Annotated[
        Literal["docker"] | None,
        Query(alias="format", description="`docker`: lines of JSON as Docker's own API has them"),
    ] = None,
) -> StreamingResponse:
    """The events of a job and its children, until it has ended or the server stops.

    In Docker's words, which only a pull or a push has, they begin anew each time.
    """
    after = event_id(last_event_id) if last_event_id else 0
    row = await asyncio.to_thread(_existing, services, asking, job)
    if format_ == "docker":
        return streamed(_docker_stream(services, job, DockerStream(row)), NDJSON)
    return streamed(_stream(services, job, after), accept)


async def _stream(services: Services, job: str, after: int) -> Events:
    """The events; None where there has been nothing to say for a while."""
    shown: dict[str, Any] | None = None
    spoken = time.monotonic()
    pace = Pace(PROGRESS_SECONDS, burst=FREE_LOOKS)
    async with services.notifications.of([job]) as notifications:
        while True:
            found, progress, ended = await asyncio.to_thread(_look, services, job, after)
            for event in found:
                after = event["id"]
                yield event
            if progress != shown:
                yield progress
                shown = progress
                spoken = time.monotonic()
            elif time.monotonic() - spoken > ALIVE_SECONDS:
                spoken = time.monotonic()
                yield None
            if (ended and not found) or services.notifications.closing:
                return
            if not ended and len(found) < MAX_EVENTS:
                await wait(notifications, PROGRESS_SECONDS)
                await asyncio.sleep(pace.pause())


async def _docker_stream(services: Services, job: str, stream: DockerStream) -> Events:
    """The same in Docker's words."""

    def look() -> tuple[list[Line], bool]:
        with services.catalog.read() as connection:
            return stream.new_lines(connection)

    spoken = time.monotonic()
    async with services.notifications.of([job]) as notifications:
        while True:
            lines, ended = await asyncio.to_thread(look)
            for line in lines:
                yield line
            if lines:
                spoken = time.monotonic()
            elif time.monotonic() - spoken > ALIVE_SECONDS:
                spoken = time.monotonic()
                yield None
            if ended or services.notifications.closing:
                return
            if not lines:
                await wait(notifications, PROGRESS_SECONDS)


def _look(
    services: Services, job: str, after: int
) -> tuple[list[dict[str, Any]], dict[str, Any], bool]:
    """What has happened, how far the job is, and whether it has ended."""
    with services.catalog.read() as connection:
        row = jobs.get(connection, job, *SUMMARIZED)
        found = [
            event_view(event).model_dump(exclude_unset=True)
            for event in events.of_job(
                connection, job, children=True, after=after, limit=MAX_EVENTS
            )
        ]
        rows = [row] if row is not None else []
        (view,) = job_summaries(connection, rows)
        progress = ProgressEvent(job=view, transfers=_moving(connection, view))
    return found, progress.model_dump(), view.state in jobs.ENDED


def _moving(connection: Connection, job: JobSummary) -> Sequence[MovingTransfer]:
    """The transfers to show: all of a single job, of a mirror those that are moving."""
    if not job.children:
        return transfer_views(connection, job.id, limit=MAX_TRANSFERS_SHOWN)
    columns = (
        transfers_table.c.digest,
        transfers_table.c.direction,
        transfers_table.c.state,
        transfers_table.c.size,
        transfers_table.c.bytes_done,
    )
    rows = connection.execute(
        select(*columns)
        .where(text(TRANSFER_RUNNING), transfers_table.c.root == job.id)
        .order_by(transfers_table.c.id)
        .limit(MAX_TRANSFERS_SHOWN)
    )
    return [MovingTransfer.model_validate(row, from_attributes=True) for row in rows]


def _existing(services: Services, asking: Caller, job: str) -> Row[Any]:
    with services.catalog.read() as connection:
        return existing_job(connection, asking, job)
