"""The tokens of the API. All of it needs the scope `admin`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Response

from transship.api.access.administration import MadeToken, NewToken, TokenList
from transship.api.http.auth import Auditing
from transship.api.http.checked_route import CheckedRoute
from transship.api.openapi import problems
from transship.api.services import Injected

router = APIRouter(route_class=CheckedRoute, tags=["access"])


@router.post(
    "/tokens",
    status_code=201,
    operation_id="createToken",
    responses=problems(400, 409, 413, 422),
)
def create_token(
    services: Injected, who: Auditing, response: Response, wanted: Annotated[NewToken, Body()]
) -> MadeToken:
    """Make a token. It is shown in this answer, and never again."""
    response.headers["Cache-Control"] = "no-store"
    return services.access.create_token(wanted, who)


@router.get("/tokens", operation_id="listTokens", responses=problems())
def list_tokens(services: Injected) -> TokenList:
    """Every token, by name, without the tokens themselves."""
    return services.access.tokens()


@router.delete(
    "/tokens/{name:path}", status_code=204, operation_id="deleteToken", responses=problems(404, 422)
)
def delete_token(services: Injected, who: Auditing, name: str) -> None:
    """Refuse a token from now on. Its jobs go on."""
    services.access.remove_token(name, who)
