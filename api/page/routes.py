"""The addresses of the page: what is looked at, what is done, and the feed."""

from __future__ import annotations

import asyncio
import mimetypes
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import parse_qs, urlsplit

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import FileResponse, RedirectResponse, StreamingResponse

from transship.api.http.auth import ADMIN, Asking, Caller, Keyring
from transship.api.http.checked_route import CheckedRoute
from transship.api.http.event_streams import SSE
from transship.api.http.statuses import status_of
from transship.api.models.mirrors import MirrorChange
from transship.api.page import render
from transship.api.page.board import Board
from transship.api.page.door import COOKIE, NOTE, PageDoor, cookie_of
from transship.api.page.parts import FAILURES_SECONDS, VIEWS
from transship.api.page.sessions import SESSION_SECONDS, Seals, Session, use_link
from transship.api.routes.admin.limits import (
    LimitsChange,
    RegistryChange,
    change_limits,
    unpark_registry,
)
from transship.api.routes.jobs.jobs import cancel_job, list_jobs
from transship.api.routes.jobs.mirrors import MirrorName, change_mirror
from transship.api.services import Injected, Services
from transship.api.views import failures
from transship.store.catalog.access.tokens import Token
from transship.store.catalog.scheduling import jobs
from transship.store.errors import (
    NotFoundError,
    RequestError,
    ScopeError,
    TokenError,
    TransshipError,
)
from transship.store.home import OWNER_FILE, run_dir

FEED_SECONDS: Final = 1.4
ALIVE_SECONDS: Final = 15.0
PAGE_SIZE: Final = 50
MAX_FORM_BYTES: Final = 16 * 1024
RETRIED_AT_ONCE: Final = 200
_FILES: Final = (render.HERE / "static", render.HERE / "vendor")
_DAY: Final = 86400


@dataclass(frozen=True, slots=True)
class Page:
    """What the routes of the page reach for, beside the services of all."""

    seals: Seals
    door: PageDoor
    board: Board
    keyring: Keyring
    home: Path


router = APIRouter(route_class=CheckedRoute, include_in_schema=False)


async def _page(request: Request) -> Page:
    page: Page = request.app.state.page
    return page


async def _session(request: Request) -> Session | None:
    page: Page = request.app.state.page
    return page.door.login(request.scope)


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form.

    Raises:
        RequestError: it is no form, or longer than ours are.
    """
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_FORM_BYTES:
            raise RequestError("the form is too long")
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=1000)
    except ValueError as wrong:
        raise RequestError("this is not a form") from wrong
    return {name: values[0] for name, values in fields.items()}


Paged = Annotated[Page, Depends(_page)]
LoggedIn = Annotated[Session | None, Depends(_session)]
Form = Annotated[dict[str, str], Depends(_form)]


async def _acting(session: LoggedIn, form: Form, asking: Asking) -> Caller:
    """Who sends a form: by a login that it is of.

    Raises:
        ScopeError: the form is of another login, or only `admin` may.
    """
    if session is None or not session.brings(form.get("secret", "")):
        raise ScopeError(
            "this form is not of your login", hint="go back, load the page again, and repeat it"
        )
    asking.require(ADMIN)
    return asking


Acting = Annotated[Caller, Depends(_acting)]
ACTING: Final = [Depends(_acting)]


# --- looking -------------------------------------------------------------------------------------


@router.get("/", operation_id="pageOverview")
def overview(request: Request, page: Paged, asking: Asking) -> Response:
    """What fails, what moves, what is behind, and who is sick."""
    return _shown(request, page, asking, "overview", "", "Overview")


@router.get("/mirrors/{name}", operation_id="pageMirror")
def mirror(request: Request, page: Paged, asking: Asking, name: MirrorName) -> Response:
    """A mirror with its runs."""
    return _shown(request, page, asking, "mirror", name, f"Mirror {name}")


@router.get("/jobs/{id_}", operation_id="pageJob")
def job(request: Request, page: Paged, asking: Asking, id_: str) -> Response:
    """A job, live."""
    return _shown(request, page, asking, "job", id_, "Job")


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
    return _framed(request, page, asking, "jobs", "Jobs", values)


@router.get("/failures/{cause}", operation_id="pageFailures")
def failure_group(
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
    group = _group(services, asking, cause)
    first = (number - 1) * PAGE_SIZE
    if first >= len(group.rows):
        raise NotFoundError("there are not so many pages", subject=f"page {number}"[:40])
    values = {
        "group": group.shown(jobs=PAGE_SIZE, after=first),
        "page": number,
        "pages": -(-len(group.rows) // PAGE_SIZE),
        "retried_at_once": RETRIED_AT_ONCE,
    }
    return _framed(request, page, asking, "failures", "Failures", values)


@router.get("/feed", operation_id="pageFeed")
async def feed(
    services: Injected, page: Paged, asking: Asking, view: str, subject: str = ""
) -> Response:
    """The parts of a view whenever they change, as server-sent events."""
    if view not in VIEWS:
        raise NotFoundError("there is no such view", subject=view[:80])
    return StreamingResponse(
        _changes(services, page, asking, VIEWS[view], subject),
        media_type=SSE,
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _changes(
    services: Services, page: Page, asking: Caller, parts: tuple[str, ...], subject: str
) -> AsyncIterator[str]:
    seen: dict[str, str] = {}
    spoken = time.monotonic()
    async with services.notifications.of([]) as stopping:
        while not services.notifications.closing:
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


# --- logging in ----------------------------------------------------------------------------------


@router.get("/login", operation_id="pageLogin")
async def login(request: Request, page: Paged, once: str = "", next: str = "/") -> Response:  # noqa: A002
    """The form, or by a link that logs in once, the page itself."""
    if not once:
        return _login_form(_local(next))
    if not use_link(run_dir(page.home), once):
        return _login_form("/", "this link was used before, or is over: log in with a token", 401)
    try:
        text = (page.home / OWNER_FILE).read_text()
        token = await page.keyring.find(text.strip())
    except (OSError, TokenError):
        return _login_form("/", "the token of the home is gone: log in with another", 401)
    return _logged_in(request, page, token, "/")


@router.post("/login", operation_id="pageLogIn")
async def log_in(request: Request, page: Paged, form: Form) -> Response:
    """Take a token for a cookie."""
    wanted = _local(form.get("next", "/"))
    try:
        token = await page.keyring.find(form.get("token", "").strip())
    except TransshipError as error:
        return _login_form(wanted, error.as_json()["detail"], status_of(error))
    return _logged_in(request, page, token, wanted)


@router.post("/logout", operation_id="pageLogOut")
async def log_out(session: LoggedIn, form: Form) -> Response:
    """Let the cookie go."""
    if session is None or not session.brings(form.get("secret", "")):
        raise ScopeError("this form is not of your login")
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE, samesite="strict", httponly=True)
    return answer


def _login_form(wanted: str, note: str = "", status: int = 200) -> Response:
    return render.page("login", {"next": wanted, "login": None, "note": note}, status)


def _logged_in(request: Request, page: Page, token: Token, wanted: str) -> Response:
    answer = RedirectResponse(wanted, 303)
    answer.set_cookie(
        COOKIE,
        page.seals.seal(Session.begin(token)),
        max_age=SESSION_SECONDS,
        httponly=True,
        samesite="strict",
        secure=_by_tls(request),
    )
    return answer


def _by_tls(request: Request) -> bool:
    forwarded = request.headers.get("x-forwarded-proto", "")
    return request.url.scheme == "https" or forwarded.lower() == "https"


def _local(address: str) -> str:
    """A place on this server, whatever *address* is."""
    parts = urlsplit(address)
    inside = not parts.scheme and not parts.netloc and address.startswith("/")
    return address if inside and not address.startswith(("//", "/\\")) else "/"


# --- doing ---------------------------------------------------------------------------------------


@router.post("/jobs/{id_}/retry", operation_id="pageRetry")
def retry(request: Request, services: Injected, page: Paged, acting: Acting, id_: str) -> Response:
    """Retry one job."""
    made = _retried(services, acting, id_)
    return _done(request, page, f"Retried as job {made}", f"/jobs/{made}")


@router.post("/jobs/{id_}/cancel", operation_id="pageCancel")
def cancel(request: Request, services: Injected, page: Paged, acting: Acting, id_: str) -> Response:
    """Ask a job to stop."""
    cancel_job(services, acting, id_)
    return _done(request, page, "Asked it to stop", f"/jobs/{id_}")


@router.post("/failures/{cause}/retry", operation_id="pageRetryAll")
def retry_all(
    request: Request, services: Injected, page: Paged, acting: Acting, cause: str
) -> Response:
    """Retry the jobs of a group, a page of them at a time."""
    group = _group(services, acting, cause)
    rows = group.rows[:RETRIED_AT_ONCE]
    refused: list[str] = []
    for row in rows:
        try:
            _retried(services, acting, row.id)
        except TransshipError as error:
            refused.append(error.as_json()["detail"])
    note = f"Retried {len(rows) - len(refused)} of {len(group.rows)}"
    if refused:
        note += f"; {len(refused)} cannot be: {refused[0]}"
    return _done(request, page, note, "/")


@router.post("/mirrors/{name}/run", operation_id="pageRun")
def run(
    request: Request, services: Injected, page: Paged, acting: Acting, name: MirrorName
) -> Response:
    """Start a run."""
    made = services.jobs.run_mirror(name, requested_by=acting.name)
    return _done(request, page, f"Run of {name} started", f"/jobs/{made}")


@router.post("/mirrors/{name}/enable", operation_id="pageEnable", dependencies=ACTING)
def enable(request: Request, services: Injected, page: Paged, name: MirrorName) -> Response:
    """Let its interval count."""
    change_mirror(services, name, MirrorChange(enabled=True))
    return _done(request, page, f"{name} runs on its interval", f"/mirrors/{name}")


@router.post("/mirrors/{name}/disable", operation_id="pageDisable", dependencies=ACTING)
def disable(request: Request, services: Injected, page: Paged, name: MirrorName) -> Response:
    """Let its interval count no more."""
    change_mirror(services, name, MirrorChange(enabled=False))
    return _done(request, page, f"{name} runs only when asked", f"/mirrors/{name}")


@router.post("/registries/{host}/pause", operation_id="pagePause", dependencies=ACTING)
def pause(request: Request, services: Injected, page: Paged, host: str) -> Response:
    """Ask nothing of a registry."""
    change_limits(services, LimitsChange(registries={host: RegistryChange(paused=True)}))
    return _done(request, page, f"Paused {host}", "/#registries")


@router.post("/registries/{host}/resume", operation_id="pageResume", dependencies=ACTING)
def resume(request: Request, services: Injected, page: Paged, host: str) -> Response:
    """Ask it again."""
    change_limits(services, LimitsChange(registries={host: RegistryChange(paused=False)}))
    return _done(request, page, f"Resumed {host}", "/#registries")


@router.post("/registries/{host}/unpark", operation_id="pageUnpark", dependencies=ACTING)
def unpark(request: Request, services: Injected, page: Paged, host: str) -> Response:
    """Ask a parked registry now."""
    unpark_registry(services, host)
    return _done(request, page, f"{host} is asked again", "/#registries")


@router.post("/registries/{host}/limit", operation_id="pageLimit", dependencies=ACTING)
def limit(request: Request, services: Injected, page: Paged, host: str, form: Form) -> Response:
    """Say how many blobs may move at a time, to or from a registry.

    Raises:
        RequestError: that is no number.
    """
    given = form.get(f"concurrency:{host}", "").strip()
    if not (given.isascii() and given.isdecimal() and len(given) < 6):
        raise RequestError("expected a number", subject=given[:40], hint="0 pauses its transfers")
    change = RegistryChange(concurrency=int(given))
    change_limits(services, LimitsChange(registries={host: change}))
    return _done(request, page, f"{host}: {given} at a time", "/#registries")


def _retried(services: Services, acting: Caller, id_: str) -> str:
    """The job that retries *id_*: one, however often the button is pressed."""
    return services.jobs.retry(
        id_,
        requested_by=acting.name,
        tenant=acting.tenant,
        may_use=acting.may_use,
        may_hurry=acting.may_hurry,
        idempotency_key=f"page:retry:{id_}",
    )


def _group(services: Services, asking: Caller, cause: str) -> failures.Group:
    with services.catalog.read() as connection:
        since = services.context.now() - FAILURES_SECONDS
        found, _ = failures.groups(connection, asking, since)
    for group in found:
        if group.id == cause:
            return group
    raise NotFoundError(
        "nothing has failed for this cause within a day, or all of it was retried",
        subject=cause[:40],
    )


# --- the frame -----------------------------------------------------------------------------------


def _shown(
    request: Request, page: Page, asking: Caller, view: str, subject: str, title: str
) -> Response:
    """A view whose parts are live."""
    parts = {part: page.board.html(part, asking, subject) for part in VIEWS[view]}
    values = {"parts": parts, "view": view, "subject": subject}
    return _framed(request, page, asking, view, title, values)


def _framed(
    request: Request, page: Page, asking: Caller, name: str, title: str, values: dict[str, Any]
) -> Response:
    session = page.door.login(request.scope)
    note = cookie_of(request.scope, NOTE)
    frame = {
        "title": title,
        "login": session,
        "may": asking.may(ADMIN) and session is not None,
        "note": page.seals.noted(note) if note else "",
    }
    answer = render.page(name, {**frame, **values})
    if note:
        answer.delete_cookie(NOTE)
    return answer


def _done(request: Request, page: Page, note: str, otherwise: str) -> Response:
    """Go back to where the form was, which tells what was done."""
    page.board.stale()
    came_from = urlsplit(request.headers.get("referer", ""))
    back = came_from.path if came_from.netloc == request.headers.get("host") else otherwise
    if otherwise.startswith("/#") and back == "/":
        back = otherwise
    answer = RedirectResponse(_local(back or otherwise), 303)
    answer.set_cookie(NOTE, page.seals.note(note), max_age=60, httponly=True, samesite="strict")
    return answer


# --- files ---------------------------------------------------------------------------------------


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
