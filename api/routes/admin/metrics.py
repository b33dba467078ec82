"""The figures of the cluster, for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse

from transship.api.http.checked_route import CheckedRoute
from transship.api.openapi import problems
from transship.api.services import Injected

router = APIRouter(route_class=CheckedRoute, tags=["health"])

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@router.get(
    "/metrics",
    operation_id="metrics",
    response_class=PlainTextResponse,
    responses=problems(),
)
def metrics(services: Injected) -> Response:
    """Gauges of jobs, transfers, registries, workers and the store, in Prometheus' text format.

    They are of the whole cluster, whichever API is asked; those that begin with `process_` are of
    this one.
    """
    return Response(services.metrics.exposition(), media_type=MEDIA_TYPE)
