"""What the buttons of the page do, for `admin`."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request, Response

from transship.api.http.auth import Caller
from transship.api.http.checked_route import CheckedRoute
from transship.api.models.mirrors import MirrorChange
from transship.api.page.frame import ACTING, Acting, Form, Paged, done
from transship.api.page.parts import FAILURES_SECONDS
from transship.api.routes.admin.limits import (
    LimitsChange,
    RegistryChange,
    change_limits,
    unpark_registry,
)
from transship.api.routes.jobs.jobs import cancel_job
from transship.api.routes.jobs.mirrors import MirrorName, change_mirror
from transship.api.services import Injected, Services
from transship.api.views import failures
from transship.store.errors import NotFoundError, RequestError, TransshipError

RETRIED_AT_ONCE: Final = 200

router = APIRouter(route_class=CheckedRoute, include_in_schema=False)


@router.post("/jobs/{id_}/retry", operation_id="pageRetry")
def retry(request: Request, services: Injected, page: Paged, acting: Acting, id_: str) -> Response:
    """Retry one job."""
    made = _retried(services, acting, id_)
    return done(request, page, f"Retried as job {made}", f"/jobs/{made}")


@router.post("/jobs/{id_}/cancel", operation_id="pageCancel")
def cancel(request: Request, services: Injected, page: Paged, acting: Acting, id_: str) -> Response:
    """Ask a job to stop."""
    cancel_job(services, acting, id_)
    return done(request, page, "Asked it to stop", f"/jobs/{id_}")


@router.post("/failures/{cause}/retry", operation_id="pageRetryAll")
def retry_all(
    request: Request, services: Injected, page: Paged, acting: Acting, cause: str
) -> Response:
    """Retry the jobs of a group, a page of them at a time."""
    group = failure_group(services, acting, cause)
    rows = group.rows[:RETRIED_AT_ONCE]
    refused: list[str] = []
    for row in rows:
        try:
            _retried(services, acting, row.id)
        except TransshipError as error:
            refused.append(error.as_json()["detail"])
    note = f"Retried {len(rows) - len(refused)} of {len(group.rows)}"
    if refused:
        note += f"; {len(refused)} cannot be: {refused[0]}"
    return done(request, page, note, "/")


@router.post("/mirrors/{name}/run", operation_id="pageRun")
def run(
    request: Request, services: Injected, page: Paged, acting: Acting, name: MirrorName
) -> Response:
    """Start a run."""
    made = services.jobs.run_mirror(name, requested_by=acting.name)
    return done(request, page, f"Run of {name} started", f"/jobs/{made}")


@router.post("/mirrors/{name}/enable", operation_id="pageEnable", dependencies=ACTING)
def enable(request: Request, services: Injected, page: Paged, name: MirrorName) -> Response:
    """Let its interval count."""
    change_mirror(services, name, MirrorChange(enabled=True))
    return done(request, page, f"{name} runs on its interval", f"/mirrors/{name}")


@router.post("/mirrors/{name}/disable", operation_id="pageDisable", dependencies=ACTING)
def disable(request: Request, services: Injected, page: Paged, name: MirrorName) -> Response:
    """Let its interval count no more."""
    change_mirror(services, name, MirrorChange(enabled=False))
    return done(request, page, f"{name} runs only when asked", f"/mirrors/{name}")


@router.post("/registries/{host}/pause", operation_id="pagePause", dependencies=ACTING)
def pause(request: Request, services: Injected, page: Paged, host: str) -> Response:
    """Ask nothing of a registry."""
    change_limits(services, LimitsChange(registries={host: RegistryChange(paused=True)}))
    return done(request, page, f"Paused {host}", "/#registries")


@router.post("/registries/{host}/resume", operation_id="pageResume", dependencies=ACTING)
def resume(request: Request, services: Injected, page: Paged, host: str) -> Response:
    """Ask it again."""
    change_limits(services, LimitsChange(registries={host: RegistryChange(paused=False)}))
    return done(request, page, f"Resumed {host}", "/#registries")


@router.post("/registries/{host}/unpark", operation_id="pageUnpark", dependencies=ACTING)
def unpark(request: Request, services: Injected, page: Paged, host: str) -> Response:
    """Ask a parked registry now."""
    unpark_registry(services, host)
    return done(request, page, f"{host} is asked again", "/#registries")


@router.post("/registries/{host}/limit", operation_id="pageLimit", dependencies=ACTING)
def limit(request: Request, services: Injected, page: Paged, host: str, form: Form) -> Response:
    """Say how many blobs may move at a time, to or from a registry.

    Raises:
        RequestError: that is no number.
    """
    given = form.get(f"concurrency:{host}", "").strip()
    if not (given.isascii() and given.isdecimal() and len(given) < 6):
        raise RequestError("expected a number", subject=given[:40], hint="0 pauses its transfers")
    change = RegistryChange(concurrency=int(given))
    change_limits(services, LimitsChange(registries={host: change}))
    return done(request, page, f"{host}: {given} at a time", "/#registries")


def _retried(services: Services, acting: Caller, id_: str) -> str:
    """The job that retries *id_*: one, however often the button is pressed."""
    return services.jobs.retry(
        id_,
        requested_by=acting.name,
        tenant=acting.tenant,
        may_use=acting.may_use,
        may_hurry=acting.may_hurry,
        idempotency_key=f"page:retry:{id_}",
    )


def failure_group(services: Services, asking: Caller, cause: str) -> failures.Group:
    """The failures of a day for one cause.

    Raises:
        NotFoundError: there are none, or not any more.
    """
    with services.catalog.read() as connection:
        since = services.context.now() - FAILURES_SECONDS
        found, _ = failures.groups(connection, asking, since)
    for group in found:
        if group.id == cause:
            return group
    raise NotFoundError(
        "nothing has failed for this cause within a day, or all of it was retried",
        subject=cause[:40],
    )
