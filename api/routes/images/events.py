"""What happened to images, as a list or as it happens."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel

from transship.api.http.auth import Asking
from transship.api.http.checked_route import CheckedRoute
from transship.api.http.event_streams import NDJSON, SSE, STREAM, Events, event_id, streamed
from transship.api.http.notifications import wait
from transship.api.openapi import problems
from transship.api.services import Injected, Services
from transship.api.views.jobs import rfc3339
from transship.store.catalog.content import image_events
from transship.store.catalog.content.image_events import ImageEvent
from transship.store.errors import RequestError
from transship.store.images.view.event_filter import SCOPE, TYPE, wanted
from transship.store.images.view.filters import EVENT_KEYS, Filters
from transship.store.oci import timestamps

router = APIRouter(route_class=CheckedRoute, tags=["images"])

LOOK_SECONDS = 0.5
ALIVE_SECONDS = 15.0
MAX_EVENTS = 1000  # read at a time
_NEWS = "events of images"  # no job is called so: it only wakes when the server stops


class ImageEventList(BaseModel):
    """Events, the oldest first: `id`, `time`, `type`, `action`, `actor`, `attributes`, `scope`.

    *next* is the `cursor` of those that follow.
    """

    items: list[dict[str, Any]]
    next: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """Which events; times in seconds since the epoch."""

    tenant: str
    filters: Filters
    since: float | None
    until: float | None


@router.get(
    "/events",
    operation_id="listImageEvents",
    response_model=ImageEventList,
    responses={
        200: {"description": "a page of events", "content": STREAM["content"]},
        **problems(400, 422),
    },
)
async def list_image_events(
    services: Injected,
    asking: Asking,
    since: Annotated[str | None, Query(description="a time, or how long ago")] = None,
    until: Annotated[str | None, Query(description="a time, or how long ago")] = None,
    filter_: Annotated[
        list[str] | None,
        Query(alias="filter", description=f"KEY=VALUE; of {', '.join(EVENT_KEYS)}"),
    ] = None,
    cursor: str | None = None,
    accept: Annotated[str, Header()] = "application/json",
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response | ImageEventList:
    """Events of images that are on record; as a stream, from `since` or now on, and until `until`.

    A stream goes on where `Last-Event-ID` left off.
    """
    now = services.context.now()
    asked = _Asked(
        tenant=asking.tenant,
        filters=Filters.parse(filter_ or (), EVENT_KEYS),
        since=_seconds(since, now),
        until=_seconds(until, now),
    )
    if asked.since is not None and asked.until is not None and asked.since > asked.until:
        raise RequestError("since cannot be after until", subject="since")
    if SSE not in accept and NDJSON not in accept:
        after = event_id(cursor) if cursor else 0
        return await asyncio.to_thread(_page, services, asked, after)
    if last_event_id:
        after = event_id(last_event_id)
    elif asked.since is None and asked.until is None:
        after = await asyncio.to_thread(_newest, services)
    else:
        after = 0
    return streamed(_stream(services, asked, after), accept)


async def _stream(services: Services, asked: _Asked, after: int) -> Events:
    spoken = time.monotonic()
    async with services.notifications.of([_NEWS]) as notifications:
        while True:
            ending = services.notifications.closing or (
                asked.until is not None and services.context.now() > asked.until
            )
            found = await asyncio.to_thread(_read, services, asked, after)
            for event in found:
                after = event.id
                if wanted(event, asked.filters):
                    spoken = time.monotonic()
                    yield _view(event)
            if len(found) == MAX_EVENTS:
                continue
            if ending:
                return
            if time.monotonic() - spoken > ALIVE_SECONDS:
                spoken = time.monotonic()
                yield None
            await wait(notifications, LOOK_SECONDS)


def _page(services: Services, asked: _Asked, after: int) -> ImageEventList:
    items: list[dict[str, Any]] = []
    while len(items) < MAX_EVENTS:
        found = _read(services, asked, after)
        items += [_view(event) for event in found if wanted(event, asked.filters)]
        if len(found) < MAX_EVENTS:
            return ImageEventList(items=items)
        after = found[-1].id
    return ImageEventList(items=items, next=str(after))


def _read(services: Services, asked: _Asked, after: int) -> list[ImageEvent]:
    with services.catalog.read() as connection:
        return image_events.after(
            connection,
            asked.tenant,
            after,
            since=asked.since,
            until=asked.until,
            limit=MAX_EVENTS,
        )


def _newest(services: Services) -> int:
    with services.catalog.read() as connection:
        return image_events.newest(connection)


def _seconds(text: str | None, now: float) -> float | None:
    return None if text is None else timestamps.moment(text, now) / timestamps.NANOS


def _view(event: ImageEvent) -> dict[str, Any]:
    return {
        "id": event.id,
        "time": rfc3339(event.time),
        "type": TYPE,
        "action": event.action,
        "actor": event.actor,
        "attributes": event.attributes,
        "scope": SCOPE,
    }
