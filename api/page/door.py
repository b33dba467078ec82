"""What a browser must bring: a host that is this server's, and a cookie of a login."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import quote, urlsplit

from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.datastructures import Headers
from starlette.types import Scope

from transship.api.http.statuses import status_of
from transship.api.page.render import error_page
from transship.api.page.sessions import Seals, Session
from transship.store.errors import ScopeError, TokenError, TransshipError

COOKIE: Final = "transship_login"
NOTE: Final = "transship_note"
_FIRST: Final = frozenset(
    {
        *("", "docs", "failures", "feed", "jobs", "login", "logout", "mirrors", "registries"),
        "static",
    }
)
_ASKED_BY_PAGES: Final = frozenset({"/openapi.json"})


class PageDoor:
    """Lets in who has logged in with a browser, and nobody whom another site has sent."""

    def __init__(self, seals: Seals, hosts: Collection[str]) -> None:
        """Answer under addresses, this machine's names, and *hosts*."""
        self._seals = seals
        self._hosts = {
            "localhost",
            socket.gethostname().lower(),  # a full name would take a question to a name server
            *(host.lower() for host in hosts),
        }

    def leads_to(self, path: str) -> bool:
        """Whether a page is there."""
        return path.startswith("/") and path.split("/", 2)[1] in _FIRST

    def takes_login(self, path: str) -> bool:
        """Whether a login counts there: for pages, and for what their scripts ask for."""
        return self.leads_to(path) or path in _ASKED_BY_PAGES

    def check(self, scope: Scope) -> None:
        """Refuse a name that is not this server's.

        A site may have its own name lead here, and would then count as the page's own.

        Raises:
            ScopeError: it is not.
        """
        host = Headers(scope=scope).get("host", "")
        name = _name_of(host)
        if name is None or not (_is_address(name) or name in self._hosts):
            raise ScopeError(
                "the page is not served under this name",
                subject=host[:200],
                hint="use the server's address, or add the name to TRANSSHIP_PAGE_HOSTS",
            )

    def login(self, scope: Scope) -> Session | None:
        """The login that a request brings, or None."""
        return self._seals.read(cookie_of(scope, COOKIE))

    def session(self, scope: Scope) -> str | None:
        """The id of the token that somebody has logged in with, or None."""
        login = self.login(scope)
        return None if login is None else login.token

    def refusal(self, scope: Scope, error: TransshipError) -> Response:
        """What tells of *error*: who is not logged in, or not any more, is sent to do so."""
        if isinstance(error, TokenError) and scope["method"] in ("GET", "HEAD"):
            if scope["path"] == "/feed":  # nobody looks at it
                return HTMLResponse("", 401)
            query = scope["query_string"].decode("latin-1")
            wanted = scope["path"] + (f"?{query}" if query else "")
            return RedirectResponse(f"/login?next={quote(wanted, safe='')}", 303)
        return error_page(error, status_of(error))


def cookie_of(scope: Scope, name: str) -> str:
    """The value of a cookie, or nothing."""
    try:
        found = SimpleCookie(Headers(scope=scope).get("cookie", "")).get(name)
    except CookieError:
        return ""
    return "" if found is None else found.value


def _name_of(host: str) -> str | None:
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return None
    return name


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
