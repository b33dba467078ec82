"""Disk usage."""

from __future__ import annotations

from fastapi import APIRouter

from api.auth import Asking
from api.checked import CheckedRoute
from api.image_schemas import UsageView, usage_view
from api.openapi import problems
from api.services import Injected
from store.catalog.tenants import HOUSE
from store.images.usage import on_disk, usage

router = APIRouter(route_class=CheckedRoute, tags=["images"])


@router.get("/usage", operation_id="getUsage", responses=problems())
def get_usage(services: Injected, asking: Asking) -> UsageView:
    """What images take up, each and all together; and for `admin` what the store holds."""
    disk = on_disk(services.content) if asking.tenant == HOUSE else None
    with services.catalog.read() as connection:
        return usage_view(usage(connection, asking.tenant, disk, now=services.context.now()))
