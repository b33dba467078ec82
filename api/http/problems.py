"""Errors as HTTP shows them: problem details, RFC 9457."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any, Protocol

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Scope

from transship.api.http.statuses import status_of
from transship.store.errors import (
    InternalError,
    InvalidSpecError,
    NotFoundError,
    RequestError,
    TransshipError,
)
from transship.store.wording import told

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
_MORE_HEADERS: dict[int, dict[str, str]] = {
    401: {"WWW-Authenticate": "Bearer"},
    429: {"Retry-After": "5"},
}


def problem(
    error: TransshipError, status: int | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """The response that tells of *error*."""
    shown = status or status_of(error)
    body: dict[str, Any] = {
        "type": f"urn:transship:error:{error.code}",
        "title": error.code.replace("-", " "),
        "status": shown,
        **error.as_json(),
    }
    body.setdefault("attempts", 1)
    more = _MORE_HEADERS.get(shown, {})
    # In ASCII: a message may quote half a surrogate pair, which UTF-8 cannot write.
    return Response(
        json.dumps(body), shown, headers={**(headers or {}), **more}, media_type=MEDIA_TYPE
    )


class Pages(Protocol):
    """What people look at with a browser."""

    def leads_to(self, path: str) -> bool:
        """Whether a page is there."""

    def refusal(self, scope: Scope, error: TransshipError) -> Response:
        """What tells of *error* in a browser."""


def install(app: FastAPI, pages: Pages) -> None:
    """Let every error of *app* come out as a problem; where *pages* are, as they tell of it."""

    def answer(
        request: Request,
        error: TransshipError,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        if pages.leads_to(request.url.path):
            return pages.refusal(request.scope, error)
        return problem(error, status, headers)

    @app.exception_handler(TransshipError)
    def _ours(request: Request, error: TransshipError) -> Response:
        return answer(request, error)

    @app.exception_handler(RequestValidationError)
    def _invalid(request: Request, error: RequestValidationError) -> Response:
        found = error.errors()
        if found[0]["type"] == "json_invalid":
            reason, at = found[0]["ctx"]["error"], found[0]["loc"][-1]
            detail = f"the body is not JSON: {reason} at character {at}"
            return answer(request, RequestError(detail, subject=request.url.path))
        errors = [{"field": _field(e["loc"]), "message": _message(e)} for e in found]
        return answer(request, InvalidSpecError(errors[0]["message"], errors=errors))

    @app.exception_handler(HTTPException)
    def _http(request: Request, error: HTTPException) -> Response:
        subject = request.url.path
        if isinstance(error.__cause__, TransshipError):
            return answer(request, error.__cause__)
        if error.status_code == 404:
            return answer(
                request, NotFoundError("there is nothing under this path", subject=subject)
            )
        refused = RequestError(str(error.detail), subject=subject)
        headers = dict(error.headers or {})
        if error.status_code == 405:  # the router names the methods of one route only
            headers["Allow"] = ", ".join(sorted(_methods(request)))
        return answer(request, refused, error.status_code, headers)

    @app.exception_handler(Exception)
    def _fault(request: Request, error: Exception) -> Response:
        # The server logs the traceback of what passes here.
        log.error("%s %s failed: %s", request.method, request.url.path, type(error).__name__)
        return answer(request, InternalError("a fault of this server; its log says more"))


def _methods(request: Request) -> set[str]:
    """What may be done with the path of a request, by any route."""
    return {
        method
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
        for route in request.app.routes
        if route.matches({**request.scope, "method": method})[0] is Match.FULL
    }


def _field(location: tuple[int | str, ...]) -> str:
    """What is wrong, as the client called it: a parameter, or a path into the body."""
    return ".".join(str(part) for part in location[1:]) or str(location[0])


def _message(error: Mapping[str, Any]) -> str:
    if error["loc"] == ("body",) and error["type"].endswith("_type"):
        return "expected a JSON object, sent as application/json"
    return told(error)
