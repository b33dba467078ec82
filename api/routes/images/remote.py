"""What registries have: an image there, and a search."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from pydantic import BaseModel

from transship.api.http.auth import Asking, Caller
from transship.api.http.checked_route import CheckedRoute
from transship.api.models.images import DescriptorView, RemoteImage
from transship.api.openapi import problems
from transship.api.services import Injected, Services
from transship.store.catalog.access.tenants import is_token
from transship.store.errors import DigestMismatchError, NotFoundError, RequestError, Side
from transship.store.images.view.filters import Filters
from transship.store.oci.config import MAX_CONFIG_BYTES, ImageConfig
from transship.store.oci.digest import Digest
from transship.store.oci.manifest import Index, Manifest
from transship.store.oci.reference import Reference
from transship.workers.registry.auth.credentials import Credential
from transship.workers.registry.client import Repository
from transship.workers.registry.search import (
    DEFAULT_LIMIT,
    KEYS,
    MAX_RESULTS,
    SearchFilter,
    index_and_term,
)
from transship.workers.runtime.context import at

router = APIRouter(route_class=CheckedRoute, tags=["registries"])

LONGEST_AUTH = 16 * 1024
_AUTH_FIELDS = {
    "username": "username",
    "password": "password",
    "identitytoken": "identity_token",
    "registrytoken": "registry_token",
}


class FoundRepository(BaseModel):
    """A repository that an index knows."""

    name: str
    description: str
    star_count: int
    is_official: bool
    is_automated: bool


class SearchResults(BaseModel):
    """What an index has found, as far as the filters leave it."""

    items: list[FoundRepository]
    next: str | None = None


@router.get(
    "/remote/{ref:path}/inspect",
    operation_id="inspectRemote",
    responses=problems(400, 404, 502),
)
async def inspect_remote(
    ref: str,
    services: Injected,
    asking: Asking,
    x_registry_auth: Annotated[
        str | None,
        Header(
            max_length=LONGEST_AUTH,
            description="base64url of a JSON object with username and password, or identitytoken, "
            "or registrytoken; else a credential of the server's that the token may use",
        ),
    ] = None,
) -> RemoteImage:
    """What the reference stands for in its registry now, and for which platforms. Not kept."""
    reference = Reference.parse(ref).with_default_tag()
    given = _credential(x_registry_auth) if x_registry_auth else None
    if given is None:
        given = await asyncio.to_thread(
            services.access.credential_for, reference.repository, asking.may_use
        )
    return await services.registry_calls.ask(
        reference.domain, lambda: _inspected(services, asking, reference, given)
    )


def _inspected(
    services: Services, asking: Caller, reference: Reference, given: Credential | None
) -> RemoteImage:
    repository = services.context.registries.repository(
        reference.repository, credential=given, confined=is_token(asking.tenant)
    )
    with at(Side.SOURCE):
        root = repository.head_manifest(reference.identifier, sure=True)
        if root is None:
            raise NotFoundError(
                "image not found, or access denied",
                subject=str(reference),
                hint="check the name and the tag, and whether it needs credentials",
                side=Side.SOURCE,
            )
        manifest = repository.get_manifest(str(root.digest))
        platforms = _platforms(manifest, repository)
    return RemoteImage(
        reference=str(reference),
        descriptor=DescriptorView(
            media_type=root.media_type, digest=str(root.digest), size=root.size
        ),
        platforms=platforms,
    )


@router.get("/search", operation_id="searchRegistry", responses=problems(422, 502))
async def search_registry(
    services: Injected,
    asking: Asking,
    term: Annotated[str, Query(max_length=255, description="a host in front names the index")],
    filter_: Annotated[
        list[str] | None, Query(alias="filter", description=f"KEY=VALUE; of {', '.join(KEYS)}")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_RESULTS)] = DEFAULT_LIMIT,
) -> SearchResults:
    """Search an index of images, Docker's unless the term begins with another's host."""
    wish = SearchFilter.parse(Filters.parse(filter_ or (), KEYS))
    found = await services.registry_calls.ask(
        index_and_term(term)[0].name,
        lambda: services.context.registries.search(
            term, limit=limit, confined=is_token(asking.tenant)
        ),
    )
    return SearchResults(items=[FoundRepository(**asdict(one)) for one in found if wish.fits(one)])


def _platforms(manifest: Manifest | Index, repository: Repository) -> list[dict[str, Any]]:
    """The platforms that an index names, or the one that an image's config has."""
    if isinstance(manifest, Index):
        return [one.platform.to_json() for one in manifest.manifests if one.platform is not None]
    config = manifest.config
    if not manifest.has_image_config or config.size > MAX_CONFIG_BYTES:
        return []
    raw = bytearray()
    with repository.open_blob(config) as body:
        body.read_into(raw.extend, check=lambda: None)
    actual = Digest.of(bytes(raw), config.digest.algorithm)
    if actual != config.digest:
        raise DigestMismatchError(expected=str(config.digest), actual=str(actual))
    return [ImageConfig.parse(bytes(raw)).platform.to_json()]


def _credential(text: str) -> Credential:
    try:
        padded = text + "=" * (-len(text) % 4)
        fields = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if not isinstance(fields, dict):
            raise TypeError
        known = {ours: fields.get(theirs) or "" for theirs, ours in _AUTH_FIELDS.items()}
        if not all(isinstance(value, str) for value in known.values()):
            raise TypeError
    except (binascii.Error, ValueError, TypeError, RecursionError):
        raise RequestError(
            "not base64 of a JSON object with credentials", subject="X-Registry-Auth"
        ) from None
    return Credential(**known)
