"""What all routes of the page share: what they reach for, forms, and the frame around parts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import parse_qs, urlsplit

from fastapi import Depends, Request, Response
from fastapi.responses import RedirectResponse

from transship.api.http.auth import ADMIN, Asking, Caller, Keyring
from transship.api.page import render
from transship.api.page.board import Board
from transship.api.page.door import NOTE, PageDoor, cookie_of
from transship.api.page.parts import VIEWS
from transship.api.page.sessions import Seals, Session
from transship.store.errors import RequestError, ScopeError

MAX_FORM_BYTES: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Page:
    """What the routes of the page reach for, beside the services of all."""

    seals: Seals
    door: PageDoor
    board: Board
    keyring: Keyring
    home: Path


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


async def _own(session: LoggedIn, form: Form) -> None:
    """Take a form of this very login.

    Raises:
        ScopeError: it is of another.
    """
    if session is None or not session.brings(form.get("secret", "")):
        raise ScopeError(
            "this form is not of your login", hint="go back, load the page again, and repeat it"
        )


OWN_FORM: Final = Depends(_own)


async def _acting(_: Annotated[None, OWN_FORM], asking: Asking) -> Caller:
    """Who changes something by a form of its login.

    Raises:
        ScopeError: the form is of another, or only `admin` may.
    """
    asking.require(ADMIN)
    return asking


Acting = Annotated[Caller, Depends(_acting)]
ACTING: Final = [Depends(_acting)]


def shown(
    request: Request, page: Page, asking: Caller, view: str, subject: str, title: str
) -> Response:
    """A view whose parts are live."""
    parts = {part: page.board.html(part, asking, subject) for part in VIEWS[view]}
    values = {"parts": parts, "view": view, "subject": subject}
    return framed(request, page, asking, view, title, values)


def framed(
    request: Request, page: Page, asking: Caller, name: str, title: str, values: dict[str, Any]
) -> Response:
    """The page of the template *name*, with what differs from login to login."""
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


def done(request: Request, page: Page, note: str, otherwise: str) -> Response:
    """Go back to where the form was, which tells what was done."""
    page.board.stale()
    came_from = urlsplit(request.headers.get("referer", ""))
    back = came_from.path if came_from.netloc == request.headers.get("host") else otherwise
    if otherwise.startswith("/#") and back == "/":
        back = otherwise
    answer = RedirectResponse(local(back or otherwise), 303)
    answer.set_cookie(NOTE, page.seals.note(note), max_age=60, httponly=True, samesite="strict")
    return answer


def local(address: str) -> str:
    """A place on this server, whatever *address* is."""
    parts = urlsplit(address)
    inside = not parts.scheme and not parts.netloc and address.startswith("/")
    return address if inside and not address.startswith(("//", "/\\")) else "/"
