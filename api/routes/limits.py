"""The limits in force."""

from __future__ import annotations

from fastapi import APIRouter

from api.openapi import problems
from api.schemas import LimitView
from api.services import Injected
from store.catalog import limits

router = APIRouter(tags=["limits"])


@router.get("/limits", operation_id="getLimits", responses=problems())
def get_limits(services: Injected) -> dict[str, LimitView]:
    """Every limit with its value and where that comes from."""
    with services.catalog.read() as connection:
        found = limits.effective(connection)
    return {
        name: LimitView(value=limit.value, source=limit.source) for name, limit in found.items()
    }
