"""The addresses of the page: what is looked at, the feed that keeps it current, and files."""

from __future__ import annotations

import asyncio
import mimetypes
import time
from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse

from transship.api.http.auth import Asking, Caller
from transship.api.http.checked_route import CheckedRoute
from transship.api.http.event_streams import SSE
from transship.api.page import render
from transship.api.page.actions import RETRIED_AT_ONCE, failure_group
from transship.api.page.frame import Page, Paged, framed, shown
from transship.api.page.parts import VIEWS
from transship.api.routes.jobs.jobs import list_jobs
from transship.api.routes.jobs.mirrors import MirrorName
from transship.api.services import Injected, Services
from transship.store.catalog.scheduling import jobs
from transship.store.errors import NotFoundError, TokenError, TransshipError

FEED_SECONDS: Final = 1.4
ALIVE_SECONDS: Final = 15.0
PAGE_SIZE: Final = 50
_FILES: Final = (render.HERE / "static", render.HERE / "vendor")
_DAY: Final = 86400

router = APIRouter(route_class=CheckedRoute, include_in_schema=False)


@router.get("/", operation_id="pageOverview")
def overview(request: Request, page: Paged, asking: Asking) -> Response:
    """What fails, what moves, what is behind, and who is sick."""
    return shown(request, page, asking, "overview", "", "Overview")


@router.get("/mirrors/{name}", operation_id="pageMirror")
def mirror(request: Request, page: Paged, asking: Asking, name: MirrorName) -> Response:
    """A mirror with its runs."""
    return shown(request, page, asking, "mirror", name, f"Mirror {name}")


@router.get("/jobs/{id_}", operation_id="pageJob")
def job(request: Request, page: Paged, asking: Asking, id_: str) -> Response:
    """A job, live."""
    return shown(request, page, asking, "job", id_, "Job")


@router.get("/jobs", operation_id="pageJobs")
def job_list(
    request: Request,
    services: Injected,
    page: Paged,
    asking: Asking,
    state: str = "",
    parent: str = "",
    cursor: str | None = None,
) -> Response:
    """Jobs, or the children of one."""
    found = list_jobs(
        services,
        asking,
        state=[state] if state else None,
        parent=parent or None,
        cursor=cursor or None,
        limit=PAGE_SIZE,
    )
    values = {
        "jobs": found.items,
        "next": found.next,
        "state": state,
        "parent": parent,
        "states": (*jobs.ACTIVE, *jobs.ENDED),
    }
    return framed(request, page, asking, "jobs", "Jobs", values)


@router.get("/failures/{cause}", operation_id="pageFailures")
def failures_of_one_cause(
    request: Request,
    services: Injected,
    page: Paged,
    asking: Asking,
    cause: str,
    number: Annotated[int, Query(alias="page", ge=1)] = 1,
) -> Response:
    """All jobs that failed for one cause.

    Raises:
        NotFoundError: there are none, or not so many.
    """
    group = failure_group(services, asking, cause)
    first = (number - 1) * PAGE_SIZE
    if first >= len(group.rows):
        raise NotFoundError("there are not so many pages", subject=f"page {number}"[:40])
    values = {
        "group": group.shown(jobs=PAGE_SIZE, after=first),
        "page": number,
        "pages": -(-len(group.rows) // PAGE_SIZE),
        "retried_at_once": RETRIED_AT_ONCE,
    }
    return framed(request, page, asking, "failures", "Failures", values)


@router.get("/feed", operation_id="pageFeed")
async def feed(
    request: Request,
    services: Injected,
    page: Paged,
    asking: Asking,
    view: str,
    subject: str = "",
) -> Response:
    """The parts of a view whenever they change, as server-sent events, while the login lasts."""
    if view not in VIEWS:
        raise NotFoundError("there is no such view", subject=view[:80])
    return StreamingResponse(
        _changes(request, services, page, asking, VIEWS[view], subject),
        media_type=SSE,
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _changes(
    request: Request,
    services: Services,
    page: Page,
    asking: Caller,
    parts: tuple[str, ...],
    subject: str,
) -> AsyncIterator[str]:
    logged_in = page.door.login(request.scope) is not None  # else a token, or the owner, asks
    seen: dict[str, str] = {}
    spoken = time.monotonic()
    async with services.notifications.of([]) as stopping:
        while not services.notifications.closing:
            if logged_in and not await _lasts(request, page):
                return
            try:
                found = await asyncio.to_thread(
                    lambda: {part: page.board.html(part, asking, subject) for part in parts}
                )
            except TransshipError:  # it is gone, or the database is: the next look will tell
                found = {}
            changed = {part: html for part, html in found.items() if seen.get(part) != html}
            seen |= changed
            if changed:
                spoken = time.monotonic()
                yield _message(changed)
            elif time.monotonic() - spoken > ALIVE_SECONDS:
                spoken = time.monotonic()
                yield ": still here\n\n"
            try:
                await asyncio.wait_for(stopping.wait(), FEED_SECONDS)
            except TimeoutError:
                continue


async def _lasts(request: Request, page: Page) -> bool:
    """Whether the login of a request, and its token, are still good."""
    login_ = page.door.login(request.scope)
    if login_ is None:
        return False
    try:
        await page.keyring.named(login_.token)
    except TokenError:
        return False
    return True


def _message(changed: dict[str, str]) -> str:
    html = "\n".join(
        f'<hx-partial hx-target="#{part}" hx-swap="innerMorph">{text}</hx-partial>'
        for part, text in changed.items()
    )
    return "".join(f"data: {line}\n" for line in html.splitlines()) + "\n"


@router.get("/docs", operation_id="pageDocs")
def docs() -> Response:
    """The API, by its own description."""
    return render.page("docs", {}, policy=render.DOCS_POLICY)


@router.get("/static/{name:path}", operation_id="pageFile")
def file(name: str) -> Response:
    """A style, a script, or a picture; all of them are known to everybody.

    Raises:
        NotFoundError: there is none of that name.
    """
    for root in _FILES:
        path = (root / name).resolve()
        if path.is_relative_to(root) and path.is_file():
            kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            headers = {"Cache-Control": f"public, max-age={_DAY}"}
            return FileResponse(path, media_type=kind, headers=headers)
    raise NotFoundError("there is no such file", subject=name[:80])
