"""Disk usage."""

from __future__ import annotations

from fastapi import APIRouter

from transship.api.http.auth import Asking
from transship.api.http.checked_route import CheckedRoute
from transship.api.models.images import UsageView
from transship.api.openapi import problems
from transship.api.services import Injected
from transship.api.views.images import usage_view
from transship.store.catalog.access.tenants import HOUSE
from transship.store.images.view.usage import on_disk, usage

router = APIRouter(route_class=CheckedRoute, tags=["images"])


@router.get("/usage", operation_id="getUsage", responses=problems())
def get_usage(services: Injected, asking: Asking) -> UsageView:
    """What images take up, each and all together; and for `admin` what the store holds."""
    disk = on_disk(services.content) if asking.tenant == HOUSE else None
    with services.catalog.read() as connection:
        return usage_view(usage(connection, asking.tenant, disk, now=services.context.now()))
