"""Requests whose JSON can be stored: the door through which every body comes."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from store.text import check_storable


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
