"""What has failed of late, and why."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from transship.api.http.auth import Asking
from transship.api.http.checked_route import CheckedRoute
from transship.api.models.failures import FailureList
from transship.api.openapi import problems
from transship.api.services import Injected
from transship.api.views import failures

router = APIRouter(route_class=CheckedRoute, tags=["jobs"])


@router.get("/failures", operation_id="listFailures", responses=problems(422))
def list_failures(
    services: Injected,
    asking: Asking,
    seconds: Annotated[
        float, Query(gt=0, le=366 * 86400, description="how far back to look")
    ] = 86400,
) -> FailureList:
    """Jobs that have failed and were not retried, by cause, the one that struck last first."""
    with services.catalog.read() as connection:
        found, complete = failures.groups(connection, asking, services.context.now() - seconds)
    return FailureList(items=[group.shown() for group in found], complete=complete)
