"""Disk usage."""

from __future__ import annotations

from fastapi import APIRouter

from api.checked import CheckedRoute
from api.image_schemas import UsageView, usage_view
from api.openapi import problems
from api.services import Injected
from store.images.usage import on_disk, usage

router = APIRouter(route_class=CheckedRoute, tags=["images"])


@router.get("/usage", operation_id="getUsage", responses=problems())
def get_usage(services: Injected) -> UsageView:
    """What images take up, each by itself and all together, and what the store holds."""
    disk = on_disk(services.content)
    with services.catalog.read() as connection:
        return usage_view(usage(connection, disk, now=services.world.now()))
