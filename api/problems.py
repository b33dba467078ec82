"""Errors as HTTP shows them: problem details, RFC 9457."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from store.errors import (
    InternalError,
    InvalidSpecError,
    NotFoundError,
    RequestError,
    TransshipError,
)

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


def problem(error: TransshipError, status: int | None = None) -> JSONResponse:
    """The response that tells of *error*."""
    body: dict[str, Any] = {
        "type": f"urn:transship:error:{error.code}",
        "title": error.code.replace("-", " "),
        "status": status or error.status,
        **error.as_json(),
        "attempts": 1,
    }
    headers = {"WWW-Authenticate": "Bearer"} if body["status"] == 401 else None
    return JSONResponse(body, body["status"], headers=headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Let every error of *app* come out as a problem."""

    @app.exception_handler(TransshipError)
    def _ours(_: Request, error: TransshipError) -> JSONResponse:
        return problem(error)

    @app.exception_handler(RequestValidationError)
    def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        errors = [
            {"field": ".".join(str(part) for part in e["loc"][1:]), "message": str(e["msg"])}
            for e in error.errors()
        ]
        return problem(InvalidSpecError(errors[0]["message"], errors=errors))

    @app.exception_handler(HTTPException)
    def _http(request: Request, error: HTTPException) -> JSONResponse:
        subject = request.url.path
        if error.status_code == 404:
            return problem(NotFoundError("there is nothing under this path", subject=subject))
        return problem(RequestError(str(error.detail), subject=subject), error.status_code)

    @app.exception_handler(Exception)
    def _fault(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return problem(InternalError("a fault of this server; its log says more"))
