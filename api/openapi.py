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
from transship.workers.specs import CommitSpec, Spec

_PROBLEM = {"$ref": "#/components/schemas/ProblemDetails"}
_FRAMEWORKS = {"application/json": {"schema": {"$ref": "#/components/schemas/HTTPValidationError"}}}
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
    """The error responses of a route; all routes may answer 400, 401, 403, 429 and 503.

    The schema is named, not given: FastAPI would build a validator for each response of each
    route when it is imported, which costs every start 0.15 s.
    """
    return {
        status: {"description": _MEANINGS[status], "content": {MEDIA_TYPE: {"schema": _PROBLEM}}}
        for status in sorted({*statuses, 400, 401, 403, 429, 503})
    }


def _job_body() -> dict[str, Any]:
    """The body that asks for a job: the spec of a kind, and credentials beside it."""
    kinds, _ = _specs()
    for kind in kinds:
        kind["required"] = ["kind", *(name for name in kind.get("required", ()) if name != "kind")]
        kind["properties"]["credentials"] = {
            "type": "object",
            "description": "by registry; kept sealed, and only until the job has ended",
            "additionalProperties": {"$ref": "#/components/schemas/CredentialBody"},
        }
    return {"oneOf": kinds}


def _commit_body() -> dict[str, Any]:
    """The body of a commit: the fields of its job, except those that the path names."""
    schema = CommitSpec.model_json_schema()
    for named in ("kind", "workspace"):
        del schema["properties"][named]
    del schema["required"]
    return schema


# Bodies that the routes take as they are, and a kind's spec describes.
_BODIES = {"createJob": _job_body, "commitWorkspace": _commit_body}


def install(app: FastAPI) -> None:
    """Let *app* describe its errors as what they are: JSON of another media type."""
    generated = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is not None:
            return app.openapi_schema
        made = generated()
        for path, operations in made["paths"].items():
            for method, operation in operations.items():
                if operation["responses"].get("422", {}).get("content") == _FRAMEWORKS:
                    del operation["responses"]["422"]  # added for any parameter
                if body := _BODIES.get(operation["operationId"]):
                    operation["requestBody"] = {
                        "required": True,
                        "content": {"application/json": {"schema": body()}},
                    }
                if path not in OPEN:
                    scope = needed(operation["operationId"], method.upper())
                    operation["security"] = [{"token": [scope]}]
        made["components"]["schemas"] |= _specs()[1]
        made["components"]["schemas"]["ProblemDetails"] = ProblemDetails.model_json_schema()
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
