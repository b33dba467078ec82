"""The route of everything: its JSON can be stored, and its caller's share is not used up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import Message, Receive, Scope, Send

from transship.api.http.audit_log import Audit
from transship.api.http.auth import LOCAL
from transship.api.http.pipes import SILENCE_SECONDS
from transship.api.http.problems import problem
from transship.api.http.shares import Shares
from transship.api.http.statuses import status_of
from transship.store.errors import ThrottledError
from transship.store.text import check_storable


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
        """Answer by what the route's function does with a checked request."""
        handle = super().get_route_handler()

        async def checked(request: Request) -> Response:
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
