"""The limits in force, and how they are changed while everything runs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from transship.api.http.checked_route import CheckedRoute
from transship.api.models.limits import LimitsView, LimitView, RegistryLimitsView
from transship.api.openapi import problems
from transship.api.services import Injected, Services
from transship.store.catalog.scheduling import jobs
from transship.store.catalog.scheduling.admission import admission, limits, parking
from transship.store.errors import InvalidSpecError, TransshipError
from transship.store.oci.reference import parse_domain

router = APIRouter(route_class=CheckedRoute, tags=["limits"])

MAX_LIMIT = 100_000


class RegistryChange(BaseModel):
    """What changes for one registry; what is null or absent stays as it is."""

    model_config = ConfigDict(extra="forbid")

    concurrency: int | None = Field(
        default=None, ge=0, le=MAX_LIMIT, description="blob bodies at a time, both ways; 0 pauses"
    )
    requests_per_second: float | None = Field(default=None, gt=0, le=MAX_LIMIT, allow_inf_nan=False)
    bytes_per_second: int | None = Field(default=None, ge=1024, le=2**53)
    paused: bool | None = Field(default=None, description="nothing at all is asked of it")


class LimitsChange(BaseModel):
    """What changes; what is null or absent stays as it is, as in Docker's UpdateConfig."""

    model_config = ConfigDict(extra="forbid")

    max_concurrent_downloads: int | None = Field(default=None, ge=0, le=MAX_LIMIT)
    max_concurrent_uploads: int | None = Field(default=None, ge=0, le=MAX_LIMIT)
    max_download_attempts: int | None = Field(default=None, ge=1, le=MAX_LIMIT)
    max_upload_attempts: int | None = Field(default=None, ge=1, le=MAX_LIMIT)
    registries: dict[str, RegistryChange] = Field(default_factory=dict, max_length=1000)


@router.get("/limits", operation_id="getLimits", responses=problems())
def get_limits(services: Injected) -> LimitsView:
    """Every limit with its value and where that comes from."""
    return _view(services)


@router.patch("/limits", operation_id="changeLimits", responses=problems(400, 413, 422))
def change_limits(services: Injected, change: LimitsChange) -> LimitsView:
    """Put other values in force at once, in both directions, and beyond a restart.

    Raised, it admits more now; lowered, what runs is let run, and nothing follows until there is
    room; 0 pauses.
    """
    of_registries = {_registry(host): one for host, one in change.registries.items()}
    with services.context.change() as context_change:
        connection = context_change.connection
        limits.lock_concurrency(connection)
        for name in limits.NAMES:
            value = getattr(change, name)
            if value is not None:
                limits.override(connection, name, value)
        for registry, one in of_registries.items():
            limits.override_registry(connection, registry, one.model_dump(exclude_none=True))
        # What waits at one that is paused now may be had elsewhere.
        parking.move(
            connection, parking.movable(connection, context_change.now), context_change.now
        )
    return _view(services)


@router.delete("/limits", operation_id="resetLimits", responses=problems(422))
def reset_limits(
    services: Injected,
    registry: Annotated[
        list[str] | None, Query(description="take back only what is set for these registries")
    ] = None,
) -> LimitsView:
    """Take overrides back: what start-up said is in force again, at once."""
    hosts = None if registry is None else [_registry(one) for one in registry]
    with services.context.change() as change:
        limits.lock_concurrency(change.connection)
        limits.reset(change.connection, registries_only=hosts)
    return _view(services)


@router.delete(
    "/limits/registries/{host}/parked",
    status_code=204,
    operation_id="unparkRegistry",
    responses=problems(422),
)
def unpark_registry(services: Injected, host: str) -> None:
    """Ask a registry again now that was left alone, with every credential, and all that waits.

    Where it does not answer, or the budget of a credential is still used up, it is parked anew.
    One that is not parked is asked already.
    """
    registry = _registry(host)
    left = True
    while left:
        with services.context.change() as change:
            parking.unpark(change.connection, registry)
            left = parking.hurry(change.connection, registry, change.now)
            admission.promote(change.connection, change.now)
            jobs.promote(change.connection, change.now, limit=parking.HURRIED)
        services.catalog.give_way()


def _view(services: Services) -> LimitsView:
    with services.catalog.read() as connection:
        found = limits.effective(connection)
        registries = limits.of_registries(connection)
        parked = parking.parked(connection, services.context.now())
        exhausted = parking.exhausted(connection, services.context.now())
    return LimitsView(
        **{
            name: LimitView(value=limit.value, source=limit.source) for name, limit in found.items()
        },
        registries={
            registry: RegistryLimitsView(
                **asdict(registries.get(registry, limits.RegistryLimits())),
                parked_seconds=round(parked.get(registry, 0.0), 1),
                budget_parked_seconds=round(exhausted.get(registry, 0.0), 1),
            )
            for registry in sorted({*registries, *parked, *exhausted})
        },
    )


def _registry(host: str) -> str:
    try:
        return parse_domain(host)
    except TransshipError as wrong:
        errors = [{"field": f"registries.{host}", "message": str(wrong)}]
        raise InvalidSpecError(str(wrong), errors=errors) from None
