"""Bearer tokens: how they are asked for, and how long they are kept.

Asking is a conversation without I/O: a generator that yields requests and is sent answers. Tokens
are kept per registry, realm, service and credential, and never cross these; the one with wider
scopes serves a narrower wish, so that a pass over a registry needs few.
"""

from __future__ import annotations

import copy
import json
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
from dataclasses import dataclass, field
from urllib.parse import urlencode

from transship.store.errors import Interruption, ProtocolError, RegistryError, TransshipError
from transship.workers.registry.auth.credentials import Credential
from transship.workers.registry.auth.scopes import Scope, covers
from transship.workers.registry.transport.origins import with_query

CLIENT_ID = "transship"
MIN_LIFE_SECONDS = 60.0  # the specification promises no less
RENEW_EARLY_SECONDS = 5.0
MAX_KEPT = 4096
_NO_POST = frozenset({400, 401, 404, 405})  # GCR, ACR, Artifactory: token servers without POST


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """A request to a token realm."""

    method: str
    url: str
    basic: tuple[str, str] | None = field(default=None, repr=False)
    form: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """What the realm said; *error* is how the answer reads as a failure, if it is one."""

    status: int
    body: bytes = field(repr=False)
    error: RegistryError | None = None


@dataclass(frozen=True, slots=True)
class BearerToken:
    """A bearer token, and for how long it is good."""

    value: str = field(repr=False)
    life_seconds: float


def ask_for_token(
    realm: str, service: str, scopes: tuple[Scope, ...], credential: Credential | None
) -> Generator[TokenRequest, TokenAnswer, BearerToken]:
    """Ask *realm* for a token: an identity token by POST, all else by GET (protocol A6).

    Raises:
        UnauthorizedError, DeniedError: the realm does not accept the credential.
        ProtocolError: an answer without a token.
        RegistryError: what else the realm answered.
    """
    if credential is not None and credential.identity_token:
        form = {
            "grant_type": "refresh_token",
            "refresh_token": credential.identity_token,
            "service": service,
            "client_id": CLIENT_ID,
            "scope": " ".join(str(scope) for scope in scopes),
        }
        answer = yield TokenRequest(method="POST", url=realm, form=urlencode(form))
        if answer.status not in _NO_POST:
            return _token_in(answer)
    query: list[tuple[str, str]] = [("service", service)] if service else []
    query += [("scope", str(scope)) for scope in scopes]
    basic = _basic_of(credential)
    if basic is not None and basic[0]:
        query.append(("account", basic[0]))
    answer = yield TokenRequest(
        method="GET",
        url=with_query(realm, urlencode(query, safe=":/,")) if query else realm,
        basic=basic,
    )
    return _token_in(answer)


def _basic_of(credential: Credential | None) -> tuple[str, str] | None:
    if credential is None:
        return None
    secret = credential.password or credential.identity_token
    return (credential.username, secret) if credential.username or secret else None


def _token_in(answer: TokenAnswer) -> BearerToken:
    if answer.error is not None:
        raise answer.error
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise ProtocolError("the token server's answer is not a JSON object")
    value = document.get("token") or document.get("access_token")
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        raise ProtocolError("the token server's answer holds no token")
    seconds = document.get("expires_in")
    usable = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    life = float(seconds) if usable and seconds is not None and seconds < 1e9 else 0.0
    return BearerToken(value, max(life, MIN_LIFE_SECONDS))


# --- the cache ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TokenOwner:
    """For whom and whence a token is; tokens of different owners never mix."""

    registry: str
    realm: str
    service: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class HeldToken:
    """A token in hand. *is_new*: it was made for this very call."""

    value: str = field(repr=False)
    scopes: tuple[Scope, ...]
    is_new: bool


@dataclass(slots=True)
class _Kept:
    value: str
    scopes: tuple[Scope, ...]
    until: float


class TokenCache:
    """Keeps tokens until shortly before they end; one request at a time for equal wishes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[tuple[TokenOwner, tuple[Scope, ...]], _Kept] = {}
        self._by_resource: dict[tuple[TokenOwner, str], set[tuple[Scope, ...]]] = {}
        self._flights: dict[tuple[TokenOwner, tuple[Scope, ...]], Future[_Kept]] = {}

    def get(
        self, owner: TokenOwner, scopes: tuple[Scope, ...], fetch: Callable[[], BearerToken]
    ) -> HeldToken:
        """Return a token for at least *scopes*, by *fetch* if none is kept.

        Threads that want the same at the same time wait for the first of them, and share its
        failure, too; but not a request to stop, which is meant for the first alone.
        """
        with self._lock:
            kept = self._find(owner, scopes)
            if kept is not None:
                return HeldToken(kept.value, kept.scopes, is_new=False)
            key = (owner, scopes)
            flight = self._flights.get(key)
            leads = flight is None
            if flight is None:
                flight = self._flights[key] = Future()
        if not leads:
            try:
                return self._wait_for(flight)
            except Interruption:
                return self.get(owner, scopes, fetch)
        try:
            token = fetch()
        except BaseException as failed:
            with self._lock:
                del self._flights[key]
            flight.set_exception(failed)
            raise
        until = self._clock() + token.life_seconds - RENEW_EARLY_SECONDS
        made = _Kept(token.value, scopes, until)
        with self._lock:
            del self._flights[key]
            self._keep(key, made)
        flight.set_result(made)
        return HeldToken(made.value, scopes, is_new=True)

    def drop(self, owner: TokenOwner, value: str) -> None:
        """Forget a token that was refused."""
        with self._lock:
            for key in [k for k, kept in self._kept.items() if k[0] == owner]:
                if self._kept[key].value == value:
                    self._remove(key)

    def _wait_for(self, flight: Future[_Kept]) -> HeldToken:
        failed = flight.exception()
        if failed is None:
            made = flight.result()
            return HeldToken(made.value, made.scopes, is_new=True)
        if isinstance(failed, TransshipError):
            raise copy.copy(failed)  # each caller adds its own side
        raise failed

    def _find(self, owner: TokenOwner, scopes: tuple[Scope, ...]) -> _Kept | None:
        now = self._clock()
        exact = self._kept.get((owner, scopes))
        if exact is not None and exact.until > now:
            return exact
        first = scopes[0].resource if scopes else ""
        for held in self._by_resource.get((owner, first), ()):
            kept = self._kept[(owner, held)]
            if kept.until > now and covers(held, scopes):
                return kept
        return None

    def _keep(self, key: tuple[TokenOwner, tuple[Scope, ...]], made: _Kept) -> None:
        if len(self._kept) >= MAX_KEPT:
            now = self._clock()
            for old in [k for k, kept in self._kept.items() if kept.until <= now]:
                self._remove(old)
        if len(self._kept) >= MAX_KEPT:
            self._remove(next(iter(self._kept)))
        self._kept[key] = made
        for scope in made.scopes:
            self._by_resource.setdefault((key[0], scope.resource), set()).add(key[1])

    def _remove(self, key: tuple[TokenOwner, tuple[Scope, ...]]) -> None:
        del self._kept[key]
        for scope in key[1]:
            known = self._by_resource.get((key[0], scope.resource), set())
            known.discard(key[1])
            if not known:
                self._by_resource.pop((key[0], scope.resource), None)
