"""Disk usage."""

from __future__ import annotations

import time

from fastapi import APIRouter

from api.image_schemas import UsageView, usage_view
from api.openapi import problems
from api.services import Injected
from store.images.usage import usage

router = APIRouter(tags=["images"])


@router.get("/usage", operation_id="getUsage", responses=problems())
def get_usage(services: Injected) -> UsageView:
    """What images take up, each by itself and all together, and what the store holds."""
    with services.catalog.read() as connection:
        return usage_view(usage(connection, services.content, now=time.time()))
