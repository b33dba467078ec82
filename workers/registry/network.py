"""What all conversations of a process share: connections, tokens, and each host's scheme.

Here, too, requests go to where servers send us, and follow on by hand.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import httpx

from transship.store.errors import (
    ProtocolError,
    RegistryError,
    TlsError,
    UnknownHostError,
    UnreachableError,
)
from transship.workers.registry.auth.auth import Authenticator, basic_header
from transship.workers.registry.auth.challenge import Challenge
from transship.workers.registry.auth.credentials import Credential
from transship.workers.registry.auth.scopes import Scope
from transship.workers.registry.auth.tokens import (
    BearerToken,
    TokenAnswer,
    TokenRequest,
    ask_for_token,
)
from transship.workers.registry.flow_control.health import RegistryHealth
from transship.workers.registry.flow_control.pacing import Pacer, Unpaced, pause
from transship.workers.registry.flow_control.ratelimits import RateLimit, Spacing, read_rate_limit
from transship.workers.registry.referrers_support import ReferrersSupport
from transship.workers.registry.transport.connections import Connections, Outgoing
from transship.workers.registry.transport.errors import (
    RequestContext,
    answer_error,
    is_untrusted_certificate,
    translated,
)
from transship.workers.registry.transport.hosts import RegistryHost
from transship.workers.registry.transport.limits import MAX_REDIRECTS, MAX_TOKEN_BYTES
from transship.workers.registry.transport.origins import Origin, origin_of
from transship.workers.registry.transport.redirects import check_step, is_redirect, next_url
from transship.workers.registry.transport.responses import discard, read_bounded
from transship.workers.registry.transport.transport import HandshakeError
from transship.workers.registry.upload_capabilities import UploadCapabilities

SCHEME_SECONDS = 300.0  # then a host that has failed https, or may use it alone, is tried anew


@dataclass(frozen=True, slots=True)
class RegistryResponse:
    """An answer whose body is not read yet, and the URL that it came from. Close the response."""

    response: httpx.Response
    url: str

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.response.status_code

    @property
    def headers(self) -> httpx.Headers:
        """The HTTP headers."""
        return self.response.headers


class Network:
    """What all sessions of a process share: connections, tokens, and each host's scheme."""

    def __init__(
        self,
        connections: Connections,
        *,
        on_rate_limit: Callable[[RateLimit], None] | None = None,
        pacer: Pacer | None = None,
        health: RegistryHealth | None = None,
    ) -> None:
        self.connections = connections
        self.authenticator = Authenticator(self._fetch_token)
        self.upload_plans = UploadCapabilities()
        self.referrers = ReferrersSupport()
        self.pacer: Pacer = pacer or Unpaced()
        self.health = health or RegistryHealth()
        self._on_rate_limit = on_rate_limit
        self._spacing = Spacing()
        self._lock = threading.Lock()
        self._schemes: dict[str, tuple[str, float]] = {}  # and until when that is believed
        self._first_contacts: dict[str, threading.Lock] = {}

    def await_turn(
        self, registry: RegistryHost, credential: str, check: Callable[[], None] | None
    ) -> None:
        """Wait until a request may go to *registry* by what is set for it, and by what it said.

        *credential* is the fingerprint of the one that it is sent with.
        """
        spaced = self._spacing.request(registry.name, credential)
        pause(max(spaced, self.pacer.request(registry.name)), check)

    def note_limits(self, registry: RegistryHost, credential: str, headers: httpx.Headers) -> None:
        """Take note of what an answer says of the limits of a credential at a registry."""
        limit = read_rate_limit(registry.name, headers, credential)
        if limit is not None:
            self._spacing.note(limit)
            if self._on_rate_limit is not None:
                self._on_rate_limit(limit)

    def is_own(self, registry: RegistryHost, origin: Origin) -> bool:
        """Say whether *origin* is the registry itself."""
        return any(origin == own for own in self._own_origins(registry))

    def send_to(
        self,
        registry: RegistryHost,
        path: str,
        send: Callable[[str], httpx.Response],
    ) -> tuple[httpx.Response, str]:
        """Send to *path* on the registry by *send*, and return the answer and its URL.

        The first contact with a host that may be spoken to without TLS tries https first; what
        answers is remembered for a while: TLS may have failed for once. It is the request itself
        that tries: no ping goes ahead of it.
        """
        scheme = self._scheme(registry)
        if scheme is not None:
            url = f"{scheme}://{registry.api}{path}"
            return send(url), url
        with self._lock:
            contact = self._first_contacts.setdefault(registry.api, threading.Lock())
        with contact:
            scheme = self._scheme(registry)
            if scheme is not None:
                url = f"{scheme}://{registry.api}{path}"
                return send(url), url
            try:
                url = f"https://{registry.api}{path}"
                answered = send(url)
            except (TlsError, UnreachableError) as failed:
                if not _may_speak_plain(failed, registry):
                    raise
                url = f"http://{registry.api}{path}"
                answered = send(url)
            self._remember_scheme(registry, origin_of(url).scheme)
            return answered, url

    def send_given(
        self,
        registry: RegistryHost,
        outgoing: Outgoing,
        *,
        before: Origin,
        asked: RequestContext,
    ) -> RegistryResponse:
        """Send to a URL that a server gave, and follow on; the redirects keep to the rules.

        The headers go along as they are to the first URL; Authorization is dropped when the
        origin changes, for good.
        """
        for _ in range(MAX_REDIRECTS + 1):
            with translated(asked):
                after = check_step(before, outgoing.url, registry, self.connections.policy)
            if after != before:
                outgoing = replace(outgoing, headers=_without_credentials(outgoing.headers))
            response = self.connections.send(
                outgoing,
                registry=registry,
                given=not self.is_own(registry, after),
                asked=asked,
            )
            if not is_redirect(response.status_code):
                return RegistryResponse(response, outgoing.url)
            with translated(asked):
                url = followed(response, outgoing.method, outgoing.url)
            outgoing, before = replace(outgoing, url=url), after
        raise too_many_redirects(asked)

    def own_origin(self, registry: RegistryHost) -> Origin:
        """Return the origin at which the registry answered, or would first be tried."""
        return self._own_origins(registry)[0]

    def _own_origins(self, registry: RegistryHost) -> list[Origin]:
        scheme = self._scheme(registry)
        schemes = ("https", "http") if scheme is None else (scheme,)
        return [origin_of(f"{each}://{registry.api}/") for each in schemes]

    def _scheme(self, registry: RegistryHost) -> str | None:
        known, until = self._schemes.get(registry.api, ("", 0.0))
        if time.monotonic() < until:
            return known
        policy = self.connections.policy
        if policy.allows_plain_http(registry.host, registry.port):
            return None
        self._remember_scheme(registry, "https")
        return "https"

    def _remember_scheme(self, registry: RegistryHost, scheme: str) -> None:
        self._schemes[registry.api] = scheme, time.monotonic() + SCHEME_SECONDS

    def _fetch_token(
        self,
        registry: RegistryHost,
        challenge: Challenge,
        scopes: tuple[Scope, ...],
        credential: Credential | None,
    ) -> BearerToken:
        asked = RequestContext(
            registry.name, registry.name, "GET token", confined=registry.confined
        )
        conversation = ask_for_token(challenge.realm, challenge.service, scopes, credential)
        with translated(asked):
            request = next(conversation)
            while True:
                answer = self._ask_realm(registry, request, asked)
                try:
                    request = conversation.send(answer)
                except StopIteration as done:
                    token: BearerToken = done.value
                    return token

    def _ask_realm(
        self, registry: RegistryHost, ask: TokenRequest, asked: RequestContext
    ) -> TokenAnswer:
        headers = {"Accept": "application/json"}
        if ask.basic is not None:
            headers["Authorization"] = basic_header(*ask.basic)
        if ask.form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        outgoing = Outgoing(
            method=ask.method,
            url=ask.url,
            headers=headers,
            body=None if ask.form is None else ask.form.encode(),
        )
        # A realm is allowed to get the credentials: the registry's user gave them for that.
        before = check_step(self.own_origin(registry), ask.url, registry, self.connections.policy)
        if ask.form is None:
            answer = self.send_given(registry, outgoing, before=before, asked=asked)
        else:
            # The form holds the secret: it goes to the realm itself, and nowhere else.
            given = not self.is_own(registry, before)
            answer = RegistryResponse(
                self.connections.send(outgoing, registry=registry, given=given, asked=asked),
                ask.url,
            )
        if answer.status != httpx.codes.OK:
            return TokenAnswer(answer.status, b"", answer_error(answer.response, asked))
        try:
            raw = read_bounded(answer.response, MAX_TOKEN_BYTES)
        finally:
            answer.response.close()
        if len(raw) > MAX_TOKEN_BYTES:
            raise ProtocolError("the token server's answer is too long", registry=registry.name)
        return TokenAnswer(answer.status, raw)


def followed(response: httpx.Response, method: str, url: str) -> str:
    """Close a redirect, and return where it leads."""
    discard(response)
    return next_url(response.status_code, method, response.headers.get("location"), url=url)


def too_many_redirects(asked: RequestContext) -> ProtocolError:
    """Return the error for a chain that does not end."""
    return ProtocolError(
        f"{asked.action}: more than {MAX_REDIRECTS} redirects",
        registry=asked.registry,
        subject=asked.subject,
    )


def _without_credentials(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() != "authorization"}


def _may_speak_plain(failed: RegistryError, registry: RegistryHost) -> bool:
    """Say whether a failed https leaves hope for plain HTTP: a peer is there, but not for TLS.

    A certificate that does not verify leaves none: it was checked because the user gave a CA.
    With no port in the name https and http are different ports, so a refusal says nothing.
    """
    if isinstance(failed, UnknownHostError) or is_untrusted_certificate(failed):
        return False
    if isinstance(failed, TlsError) or registry.port is None:
        return True
    return isinstance(failed.__cause__, HandshakeError)
