"""How calls reach a server and read what it answers: when to ask again, and what is no answer."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Final, TypeVar
from urllib.parse import unquote
from uuid import uuid4

from pydantic import TypeAdapter, ValidationError

from transship.api.client import requests
from transship.api.client.requests import PREFIX, Request
from transship.api.client.server import readable
from transship.api.models.credentials import CredentialBody
from transship.client.errors import (
    ClientError,
    UnreachableError,
    no_server_of_ours,
    of_another_version,
    refusal,
)
from transship.client.steps import Answer, Ask, Call, Sleep

T = TypeVar("T")

Credentials = Mapping[str, CredentialBody | Mapping[str, str]]

LONGEST_PAUSE: Final = 2.0
STOPPING_PAUSE: Final = 0.5  # a server that stops answers at once, for some seconds
_FIRST_PAUSE: Final = 0.1


class Exchange:
    """One server, and how it is asked."""

    def __init__(self, where: str, *, private: bool, timeout: float, reconnect: float) -> None:
        """Prepare calls to a server.

        Args:
            where: Its address, as errors name it.
            private: Whether nobody else can read what is sent to it.
            timeout: Seconds that it has for an answer.
            reconnect: Seconds for which a lost connection is made again.
        """
        self.where = where
        self.timeout = timeout
        self._private = private
        self._reconnect = reconnect
        self._known = False  # it has proved to be a server that knows the token

    def _patience(self, *, until: float | None = None) -> Patience:
        return Patience(self._reconnect, until=until)

    def _answered(self, request: Request, patience: Patience | None = None) -> Call[Answer]:
        """The answer, asked for again where the connection was lost and that is safe."""
        patience = patience or self._patience()
        while True:
            try:
                answer: Answer = yield Ask(request)
            except UnreachableError as error:
                if not request.may_be_repeated:
                    raise
                yield from patience.pause(error)
            else:
                return answer

    def _parsed(
        self, request: Request, model: type[T], patience: Patience | None = None
    ) -> Call[T]:
        """The answer as *model* has it."""
        answer = yield from self._answered(request, patience)
        self._check(answer)
        return self._validated(answer, answer.content, adapter(model))

    def _check(self, answer: Answer) -> None:
        """Let pass what is an answer to the request.

        Raises:
            ClientError: the server refused it, or is not a server of this version.
        """
        if answer.is_success:
            self._known = True
            return
        try:
            error = refusal(json.loads(answer.content), answer.status)
        except (KeyError, TypeError, ValueError):
            raise no_server_of_ours(self.where, answer.status) from None
        path = PREFIX + unquote(answer.request.path)
        if answer.status in (404, 405) and error.subject == path:
            raise of_another_version(self.where, f"it has no {answer.request.method} {path}")
        raise error

    def _validated(self, answer: Answer, content: bytes, model: TypeAdapter[T]) -> T:
        """What *content* of an answer says.

        Raises:
            ClientError: it is not what a server of this version says.
        """
        try:
            return model.validate_json(content)
        except ValidationError as invalid:
            first = invalid.errors(include_url=False, include_input=False)[0]
            if first["type"] == "json_invalid":
                raise no_server_of_ours(self.where, answer.status) from None
            field = ".".join(map(str, first["loc"])) or "the whole"
            what = f"{answer.request.method} {PREFIX}{unquote(answer.request.path)}"
            reason = f"in the answer to {what}, {field}: {first['msg']}"
            raise of_another_version(self.where, reason) from None

    def _logins(self, credentials: Credentials | None) -> Call[dict[str, dict[str, str]]]:
        """Credentials as they are sent, where they reach nobody but the server.

        It is asked something first that needs the token, so that one that refuses that, or is not a
        Transship server, gets none.

        Raises:
            RequestError: others could read them.
            ClientError: there is no such server.
        """
        if not credentials:
            return {}
        if not self._private:
            raise readable("registry logins", self.where)
        if not self._known:
            self._check((yield from self._answered(requests.limits())))
        return {
            place: one.model_dump(exclude_defaults=True)
            if isinstance(one, CredentialBody)
            else dict(one)
            for place, one in credentials.items()
        }


class Patience:
    """For how long a server is asked again that has been reached."""

    def __init__(self, seconds: float, *, until: float | None = None) -> None:
        """Ask for *seconds* from the first failure on, but not after *until*, of a monotonic clock.

        A server that was never reached is not asked again.
        """
        self._seconds = seconds
        self._latest = until
        self._reached = False
        self._until: float | None = None
        self._pause = _FIRST_PAUSE

    def renew(self) -> None:
        """It has answered."""
        self._reached, self._until, self._pause = True, None, _FIRST_PAUSE

    def pause(self, error: ClientError) -> Call[None]:
        """Wait before it is asked again after *error*.

        Raises:
            ClientError: *error*, where it was never reached, or not for too long.
        """
        self._reached = self._reached or not isinstance(error, UnreachableError) or error.sent
        now = time.monotonic()
        if self._until is None:
            self._until = now + self._seconds
            if self._latest is not None:
                self._until = min(self._until, self._latest)
        if not self._reached or now >= self._until:
            raise error
        yield Sleep(min(self._pause, self._until - now))
        self._pause = min(2 * self._pause, LONGEST_PAUSE)


def adapter(model: type[T]) -> TypeAdapter[T]:
    """What reads *model*."""
    kind: Any = model  # which can be hashed, though its type does not say so
    found: TypeAdapter[T] = _made(kind)
    return found


@cache
def _made(model: Any) -> TypeAdapter[Any]:
    return TypeAdapter(model)


def given(**values: Any) -> dict[str, Any]:
    """The values that are there."""
    return {name: value for name, value in values.items() if value is not None}


def several(value: str | Iterable[str] | None) -> list[str] | None:
    """One or several as a list."""
    if value is None:
        return None
    return [value] if isinstance(value, str) else list(value)


def new_key() -> str:
    """An idempotency key that no other request has."""
    return uuid4().hex
