"""Is it alive, and can it do its work."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel

from api.checked import CheckedRoute
from api.services import Injected

router = APIRouter(route_class=CheckedRoute, tags=["health"])


class Health(BaseModel):
    """Whether it is ready, and the worker threads that serve each queue."""

    status: str
    threads: dict[str, int]


_NOT_READY: dict[int | str, dict[str, Any]] = {
    503: {
        "model": Health,
        "description": "some queue has no worker, the database is away, or it is stopping",
    }
}


@router.get("/livez", operation_id="livez")
def livez() -> dict[str, str]:
    """This process answers."""
    return {"status": "ok"}


@router.get("/readyz", operation_id="readyz", responses=_NOT_READY)
def readyz(services: Injected, response: Response) -> Health:
    """The catalog answers, there is a worker for each queue, and this process stays; else 503."""
    with services.catalog.read() as connection:
        threads = asdict(services.watch.threads(connection))
    idle = [queue for queue, count in threads.items() if not count]
    status = "ok"
    if services.news.closing:
        status = "this process is stopping"
    elif idle:
        status = f"no worker for {', '.join(idle)}"
    if status != "ok":
        response.status_code = 503
    return Health(status=status, threads=threads)
