"""The audit log."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from transship.api.http.checked_route import CheckedRoute
from transship.api.openapi import problems
from transship.api.services import Injected
from transship.api.views.jobs import rfc3339
from transship.store.catalog.access import audit

router = APIRouter(route_class=CheckedRoute, tags=["access"])

MAX_ON_A_PAGE = 1000


class AuditEntry(BaseModel):
    """A request that was refused, or that changed who may do what, limits or content."""

    id: int
    time: str
    caller: str = Field(description="as jobs are requested by; empty where it is not known")
    peer: str = Field(description="the address that asked; empty over the home's socket")
    operation: str
    subject: str
    status: int


class AuditList(BaseModel):
    """A page of entries, the newest first; *next* is the `before` of those that follow."""

    items: list[AuditEntry]
    next: str | None = None


@router.get("/audit", operation_id="listAudit", responses=problems(422))
def list_audit(
    services: Injected,
    before: Annotated[int | None, Query(ge=0, lt=2**63, description="the id of an entry")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_ON_A_PAGE)] = 100,
) -> AuditList:
    """Who was refused, and who changed tokens, credentials, limits, mirrors or images."""
    with services.catalog.read() as connection:
        found = audit.newest(connection, limit + 1, before)
    items = [AuditEntry(**{**asdict(one), "time": rfc3339(one.time)}) for one in found[:limit]]
    return AuditList(items=items, next=str(items[-1].id) if len(found) > limit else None)
