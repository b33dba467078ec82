"""The server's own credentials for registries. All of it needs the scope `admin`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body

from transship.api.access.administration import CredentialList, CredentialView, NewCredential
from transship.api.http.auth import Auditing
from transship.api.http.checked_route import CheckedRoute
from transship.api.openapi import problems
from transship.api.services import Injected

router = APIRouter(route_class=CheckedRoute, tags=["access"])


@router.post(
    "/credentials",
    status_code=201,
    operation_id="addCredential",
    responses=problems(400, 409, 413, 422),
)
def add_credential(
    services: Injected, who: Auditing, wanted: Annotated[NewCredential, Body()]
) -> CredentialView:
    """Keep a credential, sealed, in place of one of that name for the same registry."""
    return services.access.add_credential(wanted, who)


@router.get("/credentials", operation_id="listCredentials", responses=problems())
def list_credentials(services: Injected) -> CredentialList:
    """Every credential that is kept, by name, without its secret."""
    return services.access.credentials()


@router.delete(
    "/credentials/{name:path}",
    status_code=204,
    operation_id="deleteCredential",
    responses=problems(404, 422),
)
def delete_credential(services: Injected, who: Auditing, name: str) -> None:
    """Forget a credential. Jobs that were submitted before keep theirs until they have ended."""
    services.access.remove_credential(name, who)
