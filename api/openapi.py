"""The OpenAPI document: FastAPI's, with problem details for errors and the specs of all kinds."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import TypeAdapter

from transship.api.http.auth import OPEN, needed
from transship.api.http.checked_route import CheckedRoute
from transship.api.http.problems import MEDIA_TYPE
from transship.api.models.problems import ProblemDetails
from transship.workers.specs import Spec

_PROBLEM = {"$ref": "#/components/schemas/ProblemDetails"}
_FRAMEWORKS = {"$ref": "#/components/schemas/HTTPValidationError"}
_MEANINGS = {
    400: "the request cannot be read",
    401: "a token is wanted, or is not known here",
    403: "the token lacks a scope; `subject` names it",
    404: "there is no such thing here",
    409: "the request contradicts what is there",
    410: "it was there, and is kept no longer",
    413: "the body is too long",
    422: "a field is wrong; `errors` names each",
    429: "too much at a time, or too often; the same request may succeed later",
    502: "a registry refuses, or does not answer as one",
    503: "the store or the database cannot be used now",
}

router = APIRouter(route_class=CheckedRoute, include_in_schema=False)


@router.get("/openapi.json", operation_id="describeApi")
async def describe(request: Request) -> JSONResponse:
    """The OpenAPI document of the application."""
    return JSONResponse(request.app.openapi())


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error responses of a route; all routes may answer 400, 401, 403, 429 and 503."""
    return {
        status: {"model": ProblemDetails, "description": _MEANINGS[status]}
        for status in sorted({*statuses, 400, 401, 403, 429, 503})
    }


def job_request_body() -> dict[str, Any]:
    """The body that asks for a job: the spec of a kind, and credentials beside it."""
    kinds, _ = _specs()
    for kind in kinds:
        kind["required"] = ["kind", *(name for name in kind.get("required", ()) if name != "kind")]
        kind["properties"]["credentials"] = {
            "type": "object",
            "description": "by registry; kept sealed, and only until the job has ended",
            "additionalProperties": {"$ref": "#/components/schemas/CredentialBody"},
        }
    return {"required": True, "content": {"application/json": {"schema": {"oneOf": kinds}}}}


def install(app: FastAPI) -> None:
    """Let *app* describe its errors as what they are: JSON of another media type."""
    generated = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is not None:
            return app.openapi_schema
        made = generated()
        for path, operations in made["paths"].items():
            for method, operation in operations.items():
                _correct(operation["responses"])
                if path not in OPEN:
                    scope = needed(operation["operationId"], method.upper())
                    operation["security"] = [{"token": [scope]}]
        made["components"]["schemas"] |= _specs()[1]
        made["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        for unused in ("HTTPValidationError", "ValidationError"):
            made["components"]["schemas"].pop(unused, None)
        return made

    setattr(app, "openapi", document)  # noqa: B010 -- FastAPI's documented way


def _specs() -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """The schemas of all kinds, and by name those of what they consist of."""
    template = "#/components/schemas/{model}"
    document = TypeAdapter(Spec).json_schema(ref_template=template)
    names = [one["$ref"].rpartition("/")[2] for one in document["oneOf"]]
    parts = {name: schema for name, schema in document["$defs"].items() if name not in names}
    return [document["$defs"][name] for name in names], parts


def _correct(responses: dict[str, Any]) -> None:
    for status, response in list(responses.items()):
        content = response.get("content", {})
        for told, described in list(content.items()):  # told is that of the route's answers
            if described.get("schema") == _PROBLEM:
                content[MEDIA_TYPE] = content.pop(told)
            elif described.get("schema") == _FRAMEWORKS:  # added for any parameter; ours are there
                del responses[status]
