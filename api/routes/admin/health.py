"""Is it alive, and can it do its work."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Response

from transship.api.http.checked_route import CheckedRoute
from transship.api.models.health import Health
from transship.api.services import Injected
from transship.api.views.liveness import degraded

router = APIRouter(route_class=CheckedRoute, tags=["health"])


_NOT_READY: dict[int | str, dict[str, Any]] = {
    503: {
        "model": Health,
        "description": "no job can be accepted: the process is stopping, or (as a problem) the "
        "database does not answer",
    }
}


@router.get("/livez", operation_id="livez")
async def livez() -> dict[str, str]:
    """This process answers, whatever its threads wait for."""
    return {"status": "ok"}


@router.get("/readyz", operation_id="readyz", responses=_NOT_READY)
def readyz(services: Injected, response: Response) -> Health:
    """200 while jobs can be accepted, 503 otherwise. What is degraded keeps them from moving."""
    with services.catalog.read() as connection:
        threads = services.liveness.threads(connection)
    status = "ok"
    if services.notifications.closing:
        status = "this process is stopping"
        response.status_code = 503
    found = degraded(threads, reachable=services.wire.reachable())
    return Health(
        status=status,
        degraded=[what for what, is_so in found.items() if is_so],
        threads=asdict(threads),
    )
