"""Logging in, by a token or a link that works once, and out."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from transship.api.http.checked_route import CheckedRoute
from transship.api.http.statuses import status_of
from transship.api.page import render
from transship.api.page.door import COOKIE
from transship.api.page.frame import OWN_FORM, Form, Page, Paged, local
from transship.api.page.sessions import SESSION_SECONDS, Session, use_link
from transship.store.catalog.access.tokens import Token
from transship.store.errors import TokenError, TransshipError
from transship.store.home import OWNER_FILE, run_dir

router = APIRouter(route_class=CheckedRoute, include_in_schema=False)


@router.get("/login", operation_id="pageLogin")
async def login(request: Request, page: Paged, once: str = "", next: str = "/") -> Response:  # noqa: A002
    """The form, or by a link that logs in once, the page itself."""
    if not once:
        return _login_form(local(next))
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
    wanted = local(form.get("next", "/"))
    try:
        token = await page.keyring.find(form.get("token", "").strip())
    except TransshipError as error:
        return _login_form(wanted, error.as_json()["detail"], status_of(error))
    return _logged_in(request, page, token, wanted)


@router.post("/logout", operation_id="pageLogOut", dependencies=[OWN_FORM])
async def log_out() -> Response:
    """Let the cookie go."""
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
