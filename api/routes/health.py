"""Is it alive, and can it do its work."""

from __future__ import annotations

from fastapi import APIRouter, Response
from sqlalchemy import func, select

from api.services import Injected
from store.catalog.schema import workers

router = APIRouter(tags=["health"])


@router.get("/livez")
def livez() -> dict[str, str]:
    """This process answers."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(services: Injected, response: Response) -> dict[str, object]:
    """The catalog answers, and there is a worker for each queue; else 503."""
    with services.catalog.read() as connection:
        control, downloads, uploads = connection.execute(
            select(
                func.coalesce(func.sum(workers.c.control), 0),
                func.coalesce(func.sum(workers.c.downloads), 0),
                func.coalesce(func.sum(workers.c.uploads), 0),
            )
        ).one()
    ready = bool(control and downloads and uploads)
    if not ready:
        response.status_code = 503
    return {
        "status": "ok" if ready else "no worker for some queue",
        "threads": {"control": control, "downloads": downloads, "uploads": uploads},
    }
