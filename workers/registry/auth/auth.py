"""Which Authorization header a request to a registry carries.

What a registry asked for once is remembered for each credential, so that later requests carry
their token at once. No I/O: tokens are fetched by a function.
"""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from transship.workers.registry.auth.challenge import Challenge, parse_challenges, preferred
from transship.workers.registry.auth.credentials import Credential, fingerprint
from transship.workers.registry.auth.scopes import Scope, covers, merged, parse_scopes
from transship.workers.registry.auth.tokens import BearerToken, TokenCache, TokenOwner
from transship.workers.registry.transport.hosts import RegistryHost

MAX_KNOWN = 10_000

# Fetches a token from the realm of a challenge: registry, challenge, scopes, credential.
FetchToken = Callable[[RegistryHost, Challenge, tuple[Scope, ...], Credential | None], BearerToken]


@dataclass(frozen=True, slots=True)
class Grant:
    """An Authorization header, and what it stands for.

    *is_new* says that it was made for this very request: if it is refused, another would be, too.
    """

    header: str = field(repr=False)
    scopes: tuple[Scope, ...] = ()
    is_new: bool = False
    token: str = field(default="", repr=False)
    owner: TokenOwner | None = None


class Authenticator:
    """Remembers challenges and tokens, per registry and credential; safe for many threads."""

    def __init__(self, fetch: FetchToken, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._tokens = TokenCache(clock)
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], Challenge] = {}

    def grant(
        self,
        registry: RegistryHost,
        credential: Credential | None,
        scopes: tuple[Scope, ...],
    ) -> Grant | None:
        """Return what to send along; None as long as the registry has asked for nothing.

        Raises:
            RegistryError: a token was needed, and could not be had.
        """
        if credential is not None and credential.registry_token:
            return Grant(f"Bearer {credential.registry_token}", scopes, is_new=True)
        challenge = self._known.get((registry.api, fingerprint(credential)))
        if challenge is None:
            return None
        return self._answer(registry, credential, challenge, scopes)

    def has_asked(self, registry: RegistryHost, credential: Credential | None) -> bool:
        """Say whether the registry has asked who the credential's owner is."""
        return (registry.api, fingerprint(credential)) in self._known

    def after_refusal(
        self,
        registry: RegistryHost,
        credential: Credential | None,
        scopes: tuple[Scope, ...],
        lines: Iterable[str],
        tried: Grant | None,
    ) -> Grant | None:
        """Return what to try next after a 401; None if nothing is left.

        *lines* are the WWW-Authenticate lines of the 401, *tried* is what the refused request
        carried.

        Raises:
            RegistryError: a token was needed, and could not be had.
        """
        if credential is not None and credential.registry_token:
            return None
        challenge = preferred(parse_challenges(lines))
        if challenge is None:
            return None
        if challenge.scheme == "basic" and tried is not None and tried.owner is None:
            return None  # the same name and password would be sent again
        if tried is not None and tried.owner is not None:
            self._tokens.drop(tried.owner, tried.token)
        wanted = scopes
        if challenge.scheme == "bearer":
            asked = parse_scopes(challenge.scope)
            wanted = merged((*scopes, *asked))
            if tried is not None and tried.is_new and covers(tried.scopes, asked):
                return None
        with self._lock:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[(registry.api, fingerprint(credential))] = challenge
        return self._answer(registry, credential, challenge, wanted)

    def _answer(
        self,
        registry: RegistryHost,
        credential: Credential | None,
        challenge: Challenge,
        scopes: tuple[Scope, ...],
    ) -> Grant | None:
        if challenge.scheme == "basic":
            if credential is None or not credential.username:
                return None
            return Grant(basic_header(credential.username, credential.password), scopes, True)
        owner = TokenOwner(
            registry.api, challenge.realm, challenge.service, fingerprint(credential)
        )
        held = self._tokens.get(
            owner, scopes, lambda: self._fetch(registry, challenge, scopes, credential)
        )
        return Grant(f"Bearer {held.value}", held.scopes, held.is_new, held.value, owner)


def basic_header(username: str, password: str) -> str:
    """Return the Authorization header for a name and a password (RFC 7617, UTF-8)."""
    return f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"
