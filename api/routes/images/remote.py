"""What registries have: an image there, and a search."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Header, Query
from pydantic import BaseModel

from transship.api.http.auth import Asking, Caller
from transship.api.http.checked_route import CheckedRoute
from transship.api.models.images import DescriptorView, RemoteDigest, RemoteImage, TagList
from transship.api.openapi import problems
from transship.api.services import Injected, Services
from transship.store.catalog.access.tenants import is_token
from transship.store.errors import (
    DigestMismatchError,
    NotFoundError,
    PlatformNotFoundError,
    RequestError,
    Side,
)
from transship.store.images.view.filters import Filters
from transship.store.oci.config import MAX_CONFIG_BYTES, ImageConfig
from transship.store.oci.descriptor import Descriptor
from transship.store.oci.digest import Digest
from transship.store.oci.manifest import Index, Manifest
from transship.store.oci.mediatypes import is_index
from transship.store.oci.platform import Platform, select
from transship.store.oci.reference import Reference, parse_repository
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

_T = TypeVar("_T")

router = APIRouter(route_class=CheckedRoute, tags=["registries"])

LONGEST_AUTH = 16 * 1024
LONGEST_CURSOR = 8 * 1024
MAX_ON_A_PAGE = 1000
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


RegistryAuth = Annotated[
    str | None,
    Header(
        max_length=LONGEST_AUTH,
        description="base64url of a JSON object with username and password, or identitytoken, "
        "or registrytoken; else a credential of the server's that the token may use",
    ),
]


@router.get(
    "/remote/{ref:path}/inspect",
    operation_id="inspectRemote",
    responses=problems(400, 404, 502),
)
async def inspect_remote(
    ref: str, services: Injected, asking: Asking, x_registry_auth: RegistryAuth = None
) -> RemoteImage:
    """What the reference stands for in its registry now, and for which platforms. Not kept."""
    reference = Reference.parse(ref).with_default_tag()

    def inspected(repository: Repository) -> RemoteImage:
        root = _root(repository, reference)
        platforms = _platforms(repository.get_manifest(str(root.digest)), repository)
        return RemoteImage(
            reference=str(reference), descriptor=_described(root), platforms=platforms
        )

    return await _asked(services, asking, reference, x_registry_auth, inspected)


@router.get(
    "/remote/{ref:path}/digest",
    operation_id="digestRemote",
    responses=problems(400, 404, 502),
)
async def digest_remote(
    ref: str,
    services: Injected,
    asking: Asking,
    platform: Annotated[
        str | None, Query(max_length=160, description="of an index, the image for this platform")
    ] = None,
    x_registry_auth: RegistryAuth = None,
) -> RemoteDigest:
    """The digest that the reference stands for now: of the index where it is one.

    Without a platform it costs a HEAD, which registries do not count as a pull.
    """
    reference = Reference.parse(ref).with_default_tag()
    wanted = None if platform is None else Platform.parse(platform)

    def resolved(repository: Repository) -> RemoteDigest:
        root = _root(repository, reference)
        if wanted is not None and is_index(root.media_type):
            root = _for_platform(repository, reference, root, wanted)
        return RemoteDigest(reference=str(reference), **_described(root).model_dump())

    return await _asked(services, asking, reference, x_registry_auth, resolved)


@router.get("/remote/{repo:path}/tags", operation_id="listTags", responses=problems(400, 404, 502))
async def list_tags(
    repo: str,
    services: Injected,
    asking: Asking,
    cursor: Annotated[str | None, Query(max_length=LONGEST_CURSOR)] = None,
    limit: Annotated[
        int, Query(ge=1, le=MAX_ON_A_PAGE, description="asked for; a registry may give others")
    ] = MAX_ON_A_PAGE,
    x_registry_auth: RegistryAuth = None,
) -> TagList:
    """A page of the repository's tags, in the registry's order. What cannot be a tag is left out.

    Pages are the registry's own: one may be empty, and still have another behind it.
    """
    repository_reference = parse_repository(repo)
    after = None if cursor is None else _decoded(cursor)

    def page(repository: Repository) -> TagList:
        tags, following = repository.page_of_tags(after, page_size=limit)
        return TagList(items=tags, next=None if following is None else _encoded(following))

    return await _asked(services, asking, repository_reference, x_registry_auth, page)


async def _asked(
    services: Services,
    asking: Caller,
    reference: Reference,
    auth: str | None,
    question: Callable[[Repository], _T],
) -> _T:
    """What *question* finds in the repository of *reference*, with the caller's credential for it.

    Without *auth*, that is the server's own where the caller may use it.
    """
    given = _credential(auth) if auth else None
    if given is None:
        given = await asyncio.to_thread(
            services.access.credential_for, reference.repository, asking.may_use
        )

    def ask() -> _T:
        repository = services.context.registries.repository(
            reference.repository, credential=given, confined=is_token(asking.tenant)
        )
        with at(Side.SOURCE):
            return question(repository)

    return await services.registry_calls.ask(reference.domain, ask)


def _root(repository: Repository, reference: Reference) -> Descriptor:
    root = repository.head_manifest(reference.identifier, sure=True)
    if root is None:
        raise NotFoundError(
            "image not found, or access denied",
            subject=str(reference),
            hint="check the name and the tag, and whether it needs credentials",
            side=Side.SOURCE,
        )
    return root


def _for_platform(
    repository: Repository, reference: Reference, root: Descriptor, wanted: Platform
) -> Descriptor:
    index = repository.get_manifest(str(root.digest))
    children = index.manifests if isinstance(index, Index) else ()
    found = select(children, wanted)
    if found is None:
        offered = ", ".join(dict.fromkeys(str(one.platform) for one in children if one.platform))
        raise PlatformNotFoundError(
            f"the image has no {wanted}",
            subject=str(reference),
            hint=f"it has {offered}" if offered else "",
        )
    return found


def _described(descriptor: Descriptor) -> DescriptorView:
    return DescriptorView(
        media_type=descriptor.media_type, digest=str(descriptor.digest), size=descriptor.size
    )


def _encoded(query: str) -> str:
    return base64.urlsafe_b64encode(query.encode()).decode().rstrip("=")


def _decoded(cursor: str) -> str:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except ValueError:
        raise RequestError("not a cursor of this list", subject="cursor") from None


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
