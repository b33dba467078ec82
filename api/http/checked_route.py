"""The route of everything: its JSON can be stored, and its caller's share is not used up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from difflib import get_close_matches
from typing import Any, Final

from fastapi import Request, Response
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Query
from fastapi.routing import APIRoute
from starlette.types import Message, Receive, Scope, Send

from transship.api.http.audit_log import Audit
from transship.api.http.auth import LOCAL
from transship.api.http.pipes import SILENCE_SECONDS
from transship.api.http.problems import problem
from transship.api.http.shares import Shares
from transship.api.http.statuses import status_of
from transship.store.errors import InvalidSpecError, ThrottledError
from transship.store.text import check_storable

PROBED: Final = ("/livez", "/readyz", "/metrics")


class CheckedRequest(Request):
    """A request that refuses JSON which no database takes."""

    async def json(self) -> Any:
        """Parse the body.

        Raises:
            InvalidSpecError: a text in it cannot be stored; it is named.
        """
        value = await super().json()
        check_storable(value)
        return value


class CheckedRoute(APIRoute):
    """The route of every router: a test makes sure of it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Answer by what the route's function does with a checked request.

        An operation of the API refuses parameters that it does not have: with a misspelt filter it
        would do something else than was asked for. Addresses of pages may carry whatever they do,
        and probes and scrapers add parameters of their own.
        """
        handle = super().get_route_handler()
        declared = get_flat_params(self.dependant)
        known = [one.alias for one in declared if isinstance(one.field_info, Query)]

        async def checked(request: Request) -> Response:
            if self.include_in_schema and self.path not in PROBED:
                _check_parameters(request, known)
            return await handle(CheckedRequest(request.scope, request.receive))

        return checked

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, if that keeps within the shares of the caller and of all.

        A client that takes nothing for too long is cut off.
        """
        answer = 500

        async def send_in_time(message: Message) -> None:
            nonlocal answer
            answer = message.get("status", answer)
            async with asyncio.timeout(SILENCE_SECONDS):
                await send(message)

        shares: Shares = scope["app"].state.shares
        caller = scope["state"].get("caller", LOCAL)  # open operations have none
        try:
            async with shares.taken(self.operation_id or "", caller):
                await super().handle(scope, receive, send_in_time)
        except ThrottledError as error:
            answer = status_of(error)
            await problem(error)(scope, receive, send)
        finally:
            audit: Audit = scope["app"].state.audit
            audit.answered(scope, answer, caller=caller.name, operation=self.operation_id or "")


def _check_parameters(request: Request, known: list[str]) -> None:
    """Refuse parameters of the query that are not *known*.

    Raises:
        InvalidSpecError: there are some; each is named, and what may have been meant.
    """
    errors = [
        {"field": name, "message": f"no such parameter: {name}{_guess(name, known)}"}
        for name in request.query_params
        if name not in known
    ]
    if errors:
        hint = f"it takes {', '.join(known)}" if known else "it takes none"
        raise InvalidSpecError(errors[0]["message"], errors=errors, hint=hint)


def _guess(name: str, known: list[str]) -> str:
    nearest = get_close_matches(name, known, 1)
    return f"; did you mean {nearest[0]}?" if nearest else ""
