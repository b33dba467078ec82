"""One conversation with one repository: authenticated, redirected by hand, never elsewhere.

This is the layer between the network and the operations on manifests and blobs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import httpx

from transship.store.errors import RegistryError, UnauthorizedError
from transship.workers.registry.auth.auth import Grant
from transship.workers.registry.auth.credentials import Credential, fingerprint
from transship.workers.registry.auth.scopes import Scope
from transship.workers.registry.network import (
    Network,
    RegistryResponse,
    followed,
    too_many_redirects,
)
from transship.workers.registry.transport.connections import Body, Outgoing
from transship.workers.registry.transport.errors import (
    RequestContext,
    answer_error,
    translated,
    unauthorized_hint,
)
from transship.workers.registry.transport.hosts import RegistryHost
from transship.workers.registry.transport.limits import ANSWER_SECONDS, MAX_REDIRECTS
from transship.workers.registry.transport.origins import Origin, origin_of
from transship.workers.registry.transport.redirects import check_step, is_redirect
from transship.workers.registry.transport.responses import discard


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request to a repository. *target* is a path below it, or an absolute URL it gave us.

    Without *may_repeat* a refused token is renewed, and the 401 raised all the same: whoever sent
    the body asks how much of it was taken.
    """

    method: str
    target: str
    scopes: tuple[Scope, ...]
    asked: RequestContext
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body = None
    answer_seconds: float = ANSWER_SECONDS
    check: Callable[[], None] | None = None
    may_repeat: bool = True


class Session:
    """Sends requests for one repository with one credential. Holds no state of its own."""

    def __init__(
        self,
        network: Network,
        registry: RegistryHost,
        path: str,
        credential: Credential | None,
    ) -> None:
        self.network = network
        self.registry = registry
        self.path = path  # the repository without its registry; empty: the registry itself
        self._credential = credential

    def asked(self, subject: str, action: str, *, manifest: bool = False) -> RequestContext:
        """What is asked for, for the text of errors."""
        registry = self.registry
        return RequestContext(registry.name, subject, action, manifest, registry.confined)

    def send(self, ask: Ask) -> RegistryResponse:
        """Send, answer challenges, follow redirects; return any answer but 401 and redirects.

        Raises:
            UnauthorizedError: 401 with all that could be offered.
            RegistryError: a token could not be had; UnreachableError and its kin.
        """
        if ask.target.startswith("/"):
            answer = self._authorized(ask, url=None)
        else:
            with translated(ask.asked):
                own = self.network.is_own(self.registry, origin_of(ask.target))
            if not own:
                return self._elsewhere(ask, ask.target, self.network.own_origin(self.registry))
            answer = self._authorized(ask, url=ask.target)
        if not is_redirect(answer.status):
            return answer
        return self._follow(ask, answer)

    def is_own(self, answer: RegistryResponse) -> bool:
        """Say whether *answer* came from the registry itself, not from where it sent us."""
        return self.network.is_own(self.registry, origin_of(answer.url))

    def send_foreign(self, ask: Ask) -> RegistryResponse:
        """Send to a URL that a descriptor names, without credentials even to the registry."""
        with translated(ask.asked):
            origin = origin_of(ask.target)
        # A registry on plain HTTP gives no leave to speak it to others: `check_step` sees to it.
        return self._elsewhere(
            ask,
            ask.target,
            Origin("http", origin.host, 0) if origin.scheme == "http" else origin,
        )

    def _follow(self, ask: Ask, answer: RegistryResponse) -> RegistryResponse:
        """Follow from the registry; within its own origin the credentials stay."""
        for _ in range(MAX_REDIRECTS):
            before = origin_of(answer.url)
            with translated(ask.asked):
                url = followed(answer.response, ask.method, answer.url)
                after = check_step(before, url, self.registry, self.network.connections.policy)
            if after != before:
                return self._elsewhere(ask, url, before)
            answer = self._authorized(ask, url=url)
            if not is_redirect(answer.status):
                return answer
        answer.response.close()
        raise too_many_redirects(ask.asked)

    def _elsewhere(self, ask: Ask, url: str, before: Origin) -> RegistryResponse:
        outgoing = self._outgoing(ask, url, None)
        return self.network.send_given(self.registry, outgoing, before=before, asked=ask.asked)

    def _authorized(self, ask: Ask, *, url: str | None) -> RegistryResponse:
        """Send to the registry itself, as often as its challenges need: at most three times."""
        try:
            answer = self._answered(ask, url)
        except RegistryError as failed:
            self.network.health.raised(self.registry.name, failed)
            raise
        self.network.health.answered(self.registry.name, answer.status)
        return answer

    def _answered(self, ask: Ask, url: str | None) -> RegistryResponse:
        authenticator = self.network.authenticator
        grant = authenticator.grant(self.registry, self._credential, ask.scopes)
        while True:
            answer = self._once(ask, url, grant)
            if answer.status != httpx.codes.UNAUTHORIZED:
                own = fingerprint(self._credential)
                self.network.note_limits(self.registry, own, answer.headers)
                return answer
            lines = answer.headers.get_list("www-authenticate")
            try:
                following = authenticator.after_refusal(
                    self.registry, self._credential, ask.scopes, lines, grant
                )
            except BaseException:  # nobody else has the answer, and the pool keeps what is open
                answer.response.close()
                raise
            if following is None or not ask.may_repeat:
                raise self._unauthorized(answer, ask.asked, grant)
            discard(answer.response)
            grant = following

    def _once(self, ask: Ask, url: str | None, grant: Grant | None) -> RegistryResponse:
        self.network.await_turn(self.registry, fingerprint(self._credential), ask.check)

        def send(to: str) -> httpx.Response:
            return self.network.connections.send(
                self._outgoing(ask, to, grant),
                registry=self.registry,
                given=False,
                asked=ask.asked,
            )

        if url is not None:
            return RegistryResponse(send(url), url)
        below = f"/v2/{self.path}" if self.path else "/v2"  # else it is the registry's own
        return RegistryResponse(*self.network.send_to(self.registry, below + ask.target, send))

    def _outgoing(self, ask: Ask, url: str, grant: Grant | None) -> Outgoing:
        headers = dict(ask.headers)
        if grant is not None:
            headers["Authorization"] = grant.header
        return Outgoing(
            method=ask.method,
            url=url,
            headers=headers,
            body=ask.body,
            answer_seconds=ask.answer_seconds,
            check=ask.check,
        )

    def _unauthorized(
        self, answer: RegistryResponse, asked: RequestContext, grant: Grant | None
    ) -> RegistryError:
        error = answer_error(answer.response, asked)
        if grant is None and isinstance(error, UnauthorizedError):
            error.hint = f"{unauthorized_hint(self.registry.name)}: none were sent"
        return error
