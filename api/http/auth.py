"""Who asks, and what they may: tokens, and the one table of scopes.

Over the home's unix socket asks the owner of the home, who may everything; but what comes there
by a proxy is anybody's. All else needs a token, and a page in a browser that is not the server's
own gets nothing, whatever it brings. Pages of the server's own are looked at with a cookie, which
counts for them and what they read alone: what a `Door` says of it.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Final, Protocol, Self
from urllib.parse import urlsplit

from fastapi import Depends, Request
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from transship.api.http.audit_log import Audit, Who, peer_of
from transship.api.http.problems import Pages, problem
from transship.store.catalog.access import tokens
from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.access.tokens import Token
from transship.store.catalog.db.engine import Catalog
from transship.store.errors import (
    RequestError,
    ScopeError,
    StoreError,
    ThrottledError,
    TokenError,
    TransshipError,
)

log = logging.getLogger(__name__)

READ, SUBMIT, ADMIN = "read", "submit", "admin"
READ_ALL: Final = "read:all"  # the jobs of others too, for dashboards
PRIORITY: Final = "priority"  # jobs with a priority above 0
USE: Final = "use:"  # and the name of a credential of the server
IMPLIED: Final = {
    READ: {READ},
    READ_ALL: {READ, READ_ALL},
    SUBMIT: {READ, SUBMIT},
    ADMIN: {READ, READ_ALL, SUBMIT, ADMIN, PRIORITY},
}
SCOPE: Final = re.compile(
    r"read|read:all|submit|admin|priority|use:[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}"
)

# What an operation needs. Where it is not named: `read` for GET, and `admin` for all that changes
# something, so that nothing is open because it was forgotten.
OPERATIONS: Final = {
    "createJob": SUBMIT,
    "cancelJob": SUBMIT,  # of the jobs that it asked for; `admin` of all
    "retryJob": SUBMIT,
    "createImport": SUBMIT,
    "createLoad": SUBMIT,
    # Whoever builds makes workspaces and images, and puts its own away again.
    "createImage": SUBMIT,
    "findCached": SUBMIT,
    "tagImage": SUBMIT,
    "deleteImage": SUBMIT,
    "createWorkspace": SUBMIT,
    "changeWorkspace": SUBMIT,
    "deleteWorkspace": SUBMIT,
    "putFiles": SUBMIT,
    "deleteFiles": SUBMIT,
    "commitWorkspace": SUBMIT,
    "pageLogOut": READ,
    "runMirror": SUBMIT,  # as an admin wrote it down, with the server's credentials
    "digestRemote": SUBMIT,  # the server asks a registry, as it does for a job
    "listTags": SUBMIT,
    "inspectRemote": SUBMIT,
    "searchRegistry": SUBMIT,
    "listTokens": ADMIN,
    "listCredentials": ADMIN,
    "listAudit": ADMIN,
    "listRejected": ADMIN,  # strangers' messages, which may hold anything
}
OPEN: Final = frozenset({"/livez", "/readyz", "/login"})
OPEN_BELOW: Final = "/static/"

FRESH_SECONDS = 1.0  # so soon a new token works, and a removed one does not
# Who guesses at tokens, or has kept one that was removed, does not read the database each time.
MAX_UNKNOWN, UNKNOWN_SECONDS = 20, 10.0


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        name: What jobs are requested by.
        scopes: What it may do.
        tenant: Whose names, images and workspaces it sees and writes.
    """

    name: str
    scopes: frozenset[str]
    tenant: str = HOUSE

    @classmethod
    def of(cls, token: Token, *, shared_trust: bool) -> Self:
        """Who asks with *token*: known by its id, since a name may be given again."""
        scopes = frozenset(token.scopes)
        house = shared_trust or ADMIN in scopes
        return cls(f"token:{token.id}", scopes, HOUSE if house else token.id)

    def may(self, scope: str) -> bool:
        """Whether it has *scope*, or one that comprises it."""
        return any(scope in IMPLIED.get(own, {own}) for own in self.scopes)

    def require(self, scope: str) -> None:
        """Raise ScopeError unless it may."""
        if not self.may(scope):
            raise ScopeError(
                f"this needs the scope {scope!r}, which {self.name} does not have",
                subject=scope,
                hint=f"use a token that was made with --scope {scope}",
            )

    @property
    def may_use(self) -> frozenset[str] | None:
        """The server's credentials that its jobs may use, by name; None for all of them."""
        if self.may(ADMIN):
            return None
        return frozenset(one.removeprefix(USE) for one in self.scopes if one.startswith(USE))

    @property
    def sees_all_jobs(self) -> bool:
        """Whether it sees the jobs of others."""
        return self.may(READ_ALL)

    @property
    def may_hurry(self) -> bool:
        """Whether its jobs may have a priority above 0."""
        return self.may(PRIORITY)


LOCAL: Final = Caller("local", frozenset({ADMIN}))


def needed(operation: str, method: str) -> str:
    """The scope that an operation of the API needs."""
    return OPERATIONS.get(operation, READ if method in ("GET", "HEAD") else ADMIN)


class Keyring:
    """The tokens, read again after a second, and for one that is not among them."""

    def __init__(self, catalog: Catalog, clock: Callable[[], float] = time.monotonic) -> None:
        """Read them from *catalog* when they are first asked for."""
        self._catalog = catalog
        self._clock = clock
        self._read_at: float | None = None
        self._tokens: dict[str, Token] = {}
        self._unknown: deque[float] = deque()  # when tokens came that are none
        self._written: dict[str, float] = {}  # when its use was last written down, by id
        self._writing = ThreadPoolExecutor(1, "token-uses")

    async def tokens(self) -> dict[str, Token]:
        """Every token by its hash."""
        if self._read_at is None or self._clock() - self._read_at >= FRESH_SECONDS:
            await self._read_again()
        return self._tokens

    async def named(self, id_: str) -> Token:
        """The token of this id.

        Raises:
            TokenError: it was removed, or has expired.
        """
        for token in (await self.tokens()).values():
            if token.id == id_ and not token.has_expired(self._catalog.now()):
                return token
        raise TokenError(
            "the token of this login has expired or was removed", hint="log in with another"
        )

    async def find(self, text: str) -> Token:
        """The token that *text* is; its use is written down, soon and at most once a minute.

        Raises:
            TokenError: it is none, or has expired.
            ThrottledError: too many that are none have come.
        """
        if not tokens.is_well_formed(text):
            raise TokenError(
                "not a Transship token (truncated or mistyped)",
                hint=f"a token begins with {tokens.PREFIX} and ends in a checksum",
            )
        hashed = tokens.hashed(text)
        if hashed not in await self.tokens():
            self._count_unknown()
            await self._read_again()  # it may have been made a moment ago
        token = self._tokens.get(hashed)
        now = self._catalog.now()
        if token is None:
            raise TokenError(
                "this token is not known here", hint="it may have been removed; ask for another"
            )
        if token.has_expired(now):
            raise TokenError("this token has expired", subject=token.name, hint="ask for another")
        written = self._written.get(token.id, token.used_at)
        if written is None or now - written >= tokens.USED_SECONDS:
            self._written[token.id] = now
            # Nobody waits for it: it may have to wait for its turn to write.
            self._writing.submit(self._write_used, token.id, now)
        return token

    def _count_unknown(self) -> None:
        now = self._clock()
        while self._unknown and now - self._unknown[0] >= UNKNOWN_SECONDS:
            self._unknown.popleft()
        if len(self._unknown) >= MAX_UNKNOWN:
            raise ThrottledError(
                "too many requests with tokens that are not known here",
                hint="check TRANSSHIP_TOKEN; a token that was just made works within a second",
            )
        self._unknown.append(now)

    async def _read_again(self) -> None:
        read_at = self._clock()
        self._tokens = await asyncio.to_thread(self._read)
        self._read_at = read_at

    def _read(self) -> dict[str, Token]:
        with self._catalog.read() as connection:
            return tokens.by_hash(connection)

    def _write_used(self, id_: str, now: float) -> None:
        try:
            with self._catalog.write() as connection:
                tokens.used(connection, [id_], now)
        except StoreError as error:  # it serves people who tidy up; the request is still good
            log.warning("the use of a token could not be written down: %s", error)


class Door(Pages, Protocol):
    """How people come in, who look at pages with a browser."""

    def check(self, scope: Scope) -> None:
        """Raise a TransshipError where a page must not be asked for so."""

    def takes_login(self, path: str) -> bool:
        """Whether a login counts there."""

    def session(self, scope: Scope) -> str | None:
        """The id of the token that somebody has logged in with, or None."""


class _NoPages:
    """The door of an application that has no pages."""

    def leads_to(self, path: str) -> bool:
        return False

    def refusal(self, scope: Scope, error: TransshipError) -> Response:
        return problem(error)

    def check(self, scope: Scope) -> None:
        pass

    def takes_login(self, path: str) -> bool:
        return False

    def session(self, scope: Scope) -> str | None:
        return None


NO_PAGES: Final[Door] = _NoPages()


class Guard:
    """Finds out who asks before anything of a request is read; answers 401 where it cannot."""

    def __init__(self, app: ASGIApp, *, keyring: Keyring, shared_trust: bool, door: Door) -> None:
        """Stand before *app*."""
        self._app = app
        self._keyring = keyring
        self._shared_trust = shared_trust
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, with its caller, or refuse it."""
        if scope["type"] == "http":
            page = self._door.leads_to(scope["path"])
            try:
                if page:
                    self._door.check(scope)
                if not is_open(scope["path"]):
                    _check_address(scope)
                    scope.setdefault("state", {})["caller"] = await self._caller(scope)
            except TransshipError as error:
                answer = self._door.refusal(scope, error) if page else problem(error)
                audit: Audit = scope["app"].state.audit
                audit.answered(scope, answer.status_code)  # who is led to the login is not refused
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _caller(self, scope: Scope) -> Caller:
        headers = Headers(scope=scope)
        if _is_a_foreign_page(headers):
            raise ScopeError(
                "pages of other sites are not served",
                subject=headers.get("origin", ""),
                hint="ask from a program, or from a page of this server",
            )
        given = headers.get("authorization")
        if given is not None:
            scheme, _, text = given.partition(" ")
            if scheme.lower() == "bearer":
                token = await self._keyring.find(text.strip())
                return Caller.of(token, shared_trust=self._shared_trust)
        takes_login = self._door.takes_login(scope["path"])
        if takes_login and (id_ := self._door.session(scope)) is not None:
            return Caller.of(await self._keyring.named(id_), shared_trust=self._shared_trust)
        if _through_unix_socket(scope) and not _forwarded(headers):
            return LOCAL
        raise TokenError(
            "authentication required",
            hint="set TRANSSHIP_TOKEN, or send it as `Authorization: Bearer ts_…`; the first one"
            " is in the file `token` of the server's home",
        )


def is_open(path: str) -> bool:
    """Whether anybody may ask for it."""
    return path in OPEN or path.startswith(OPEN_BELOW)


def _check_address(scope: Scope) -> None:
    """Refuse what no database can be asked for.

    Raises:
        RequestError: there is a NUL in the path or in the query.
    """
    if "\x00" in scope["path"] or b"%00" in scope["query_string"]:
        raise RequestError("the address has a NUL in it", hint="leave %00 out")


def _through_unix_socket(scope: Scope) -> bool:
    """Whether the connection came through the home's socket, which only its owner can open."""
    server = scope.get("server")
    return server is not None and server[1] is None


def _forwarded(headers: Headers) -> bool:
    """Whether a proxy says that it asks for somebody else."""
    return any(name in ("forwarded", "via") or name.startswith("x-forwarded-") for name in headers)


def _is_a_foreign_page(headers: Headers) -> bool:
    """Whether a browser asks on behalf of a page of another site.

    It says so in `Sec-Fetch-Site`, with every request; older ones send the page's Origin along with
    what changes something.
    """
    if headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        return True
    return "origin" in headers and _place_of(headers["origin"]) != headers.get("host")


def _place_of(url: str) -> str | None:
    try:
        return urlsplit(url).netloc
    except ValueError:
        return None


async def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


Asking = Annotated[Caller, Depends(_caller)]


async def _who(request: Request) -> Who:
    return Who((await _caller(request)).name, peer_of(request.scope))


Auditing = Annotated[Who, Depends(_who)]


async def authorize(request: Request) -> None:
    """Refuse what the caller's scopes do not allow: a dependency of every route.

    Raises:
        ScopeError: one lacks; it is named.
    """
    if is_open(request.scope["path"]):
        return
    operation = getattr(request.scope["route"], "operation_id", None) or ""
    (await _caller(request)).require(needed(operation, request.method))
