"""The OpenAPI document says what the API does, errors included."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.routing import APIRoute

from tests.unit.api.serving import PREFIX, Api
from transship.api.http.auth import OPERATIONS as OPERATIONS_WITH_SCOPES
from transship.api.page import site
from transship.workers.specs import KINDS

OPERATIONS = {
    ("get", "/livez"), ("get", "/readyz"), ("get", "/metrics"),
    ("get", "/api/v1/jobs"), ("post", "/api/v1/jobs"), ("get", "/api/v1/jobs/{job}"),
    ("get", "/api/v1/jobs/rejected"), ("get", "/api/v1/audit"), ("get", "/api/v1/failures"),
    ("get", "/api/v1/jobs/{job}/transfers"), ("get", "/api/v1/jobs/{job}/log"),
    ("get", "/api/v1/jobs/{job}/events"), ("post", "/api/v1/jobs/{job}/cancel"),
    ("post", "/api/v1/jobs/{job}/retry"), ("get", "/api/v1/images"),
    ("get", "/api/v1/images/{ref}/inspect"), ("delete", "/api/v1/images/{ref}"),
    ("get", "/api/v1/images/{ref}/history"), ("get", "/api/v1/images/{ref}/children"),
    ("post", "/api/v1/images/{ref}/tag"), ("get", "/api/v1/usage"), ("get", "/api/v1/events"),
    ("get", "/api/v1/remote/{ref}/inspect"), ("get", "/api/v1/search"),
    ("get", "/api/v1/remote/{ref}/digest"), ("get", "/api/v1/remote/{repo}/tags"),
    ("get", "/api/v1/status"),
    ("get", "/api/v1/tokens"), ("post", "/api/v1/tokens"), ("delete", "/api/v1/tokens/{name}"),
    ("get", "/api/v1/credentials"), ("post", "/api/v1/credentials"),
    ("delete", "/api/v1/credentials/{name}"),
    ("post", "/api/v1/loads"), ("post", "/api/v1/imports"), ("get", "/api/v1/exports/{job}"),
    ("post", "/api/v1/images"), ("post", "/api/v1/images/cache"),
    ("get", "/api/v1/workspaces"), ("post", "/api/v1/workspaces"),
    ("get", "/api/v1/workspaces/{name}"), ("patch", "/api/v1/workspaces/{name}"),
    ("delete", "/api/v1/workspaces/{name}"), ("post", "/api/v1/workspaces/{name}/commit"),
    ("get", "/api/v1/workspaces/{name}/files"), ("put", "/api/v1/workspaces/{name}/files"),
    ("delete", "/api/v1/workspaces/{name}/files"), ("get", "/api/v1/workspaces/{name}/diff"),
    ("get", "/api/v1/mirrors"), ("get", "/api/v1/mirrors/{name}"),
    ("put", "/api/v1/mirrors/{name}"), ("patch", "/api/v1/mirrors/{name}"),
    ("delete", "/api/v1/mirrors/{name}"), ("get", "/api/v1/mirrors/{name}/runs"),
    ("post", "/api/v1/mirrors/{name}/runs"), ("post", "/api/v1/mirrors/{name}/verify"),
    ("get", "/api/v1/limits"), ("patch", "/api/v1/limits"), ("delete", "/api/v1/limits"),
    ("delete", "/api/v1/limits/registries/{host}/parked"),
}  # fmt: skip


@pytest.fixture
def document(api: Api) -> dict[str, Any]:
    answer = api.get("/openapi.json")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_it_is_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    assert document["info"].keys() >= {"title", "version"}


def test_every_route_is_described(document: dict[str, Any]) -> None:
    assert {(method, path) for method, path, _ in operations(document)} == OPERATIONS


def test_every_operation_has_a_name_of_its_own(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)
    assert all(name.isalnum() for name in names)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    found = set(references(document))
    assert "#/components/schemas/JobView" in found
    for reference in found:
        place: Any = document
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


def test_every_parameter_of_a_path_is_declared(document: dict[str, Any]) -> None:
    for _, path, operation in operations(document):
        declared = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"}
        assert declared == {part[1:-1] for part in path.split("/") if part.startswith("{")}


def test_every_response_is_described(document: dict[str, Any]) -> None:
    for _, _, operation in operations(document):
        assert all(response["description"] for response in operation["responses"].values())


def test_every_error_is_a_problem(document: dict[str, Any]) -> None:
    schema = {"$ref": "#/components/schemas/ProblemDetails"}
    for _, path, operation in operations(document):
        if not path.startswith(PREFIX):
            continue
        errors = {s: r for s, r in operation["responses"].items() if s >= "400"}
        assert "503" in errors
        for response in errors.values():
            assert response["content"] == {"application/problem+json": {"schema": schema}}


def test_what_names_something_may_answer_404(document: dict[str, Any]) -> None:
    naming_images = {"listImages", "createImage", "findCached", "createWorkspace"}
    for _, path, operation in operations(document):
        names = "{" in path or operation["operationId"] in naming_images
        names &= operation["operationId"] not in {
            "putMirror",  # what it names it makes
            "unparkRegistry",  # any registry is one that may be asked
        }
        assert ("404" in operation["responses"]) is names


def test_every_operation_says_which_scope_it_needs(document: dict[str, Any]) -> None:
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    for method, path, operation in operations(document):
        if not path.startswith(PREFIX):
            continue
        ((scope,),) = [need["token"] for need in operation["security"]]
        assert scope in {"read", "submit", "admin"}
        assert method == "get" or scope != "read", path
        assert {"401", "403"} <= operation["responses"].keys()


def test_the_table_of_scopes_names_only_operations_that_exist(document: dict[str, Any]) -> None:
    names = {operation["operationId"] for _, _, operation in operations(document)}
    routes = [route for router in site.ROUTERS for route in router.routes]
    pages = {route.operation_id for route in routes if isinstance(route, APIRoute)}
    assert OPERATIONS_WITH_SCOPES.keys() <= names | pages


def test_a_job_can_be_asked_for_with_credentials(document: dict[str, Any]) -> None:
    create = document["paths"]["/api/v1/jobs"]["post"]
    kinds = create["requestBody"]["content"]["application/json"]["schema"]["oneOf"]
    assert {kind["properties"]["kind"]["const"] for kind in kinds} == set(KINDS)
    for kind in kinds:
        assert kind["additionalProperties"] is False
        assert "kind" in kind["required"]
        assert kind["properties"]["credentials"]["additionalProperties"] == {
            "$ref": "#/components/schemas/CredentialBody"
        }
    assert {"400", "409", "413", "422"} <= create["responses"].keys()


def test_a_stream_is_described_as_what_it_is(document: dict[str, Any]) -> None:
    found = document["paths"]["/api/v1/jobs/{job}/events"]["get"]["responses"]["200"]["content"]
    assert found.keys() == {"text/event-stream", "application/x-ndjson"}


def test_what_the_api_answers_has_the_fields_that_it_describes(
    api: Api, document: dict[str, Any]
) -> None:
    schemas = document["components"]["schemas"]
    assert api.submit().keys() == schemas["JobView"]["properties"].keys()
    problem = api.get("/jobs/none").json()
    assert problem.keys() == schemas["ProblemDetails"]["properties"].keys() - {"errors"}


@pytest.mark.parametrize("name", ["Problem", "ProblemDetails"])
def test_every_property_of_an_error_is_described(document: dict[str, Any], name: str) -> None:
    properties = document["components"]["schemas"][name]["properties"]
    assert [one for one, schema in properties.items() if not schema.get("description")] == []
