"""The images in the store: list, look at, name, delete."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from transship.api.http.auth import Asking
from transship.api.http.checked_route import CheckedRoute
from transship.api.models.images import (
    ChildList,
    HistoryList,
    ImageDetails,
    ImageList,
    TagBody,
    Tagged,
)
from transship.api.openapi import problems
from transship.api.services import Injected, Services
from transship.api.views.images import details_view, platform_view, step_view, summary_view
from transship.store.catalog.content import lineage
from transship.store.errors import NotFoundError, Side
from transship.store.images.edit.delete import Deletion
from transship.store.images.edit.tag import tag
from transship.store.images.view.details import details, history
from transship.store.images.view.filters import LIST_KEYS, Filters, name_matcher
from transship.store.images.view.listing import listed
from transship.store.images.view.local_content import open_image
from transship.store.images.view.resolve import find
from transship.store.images.view.view import is_digest_name
from transship.store.oci.manifest import MAX_MANIFEST_BYTES
from transship.store.oci.platform import Platform
from transship.store.oci.strictjson import loads

router = APIRouter(route_class=CheckedRoute, tags=["images"])

FilterQuery = Annotated[
    list[str] | None, Query(alias="filter", description=f"KEY=VALUE; of {', '.join(LIST_KEYS)}")
]
PlatformQuery = Annotated[
    str | None, Query(max_length=256, description="os/arch[/variant]; by default the host's")
]


@router.get("/images", operation_id="listImages", responses=problems(400, 404, 422))
def list_images(
    services: Injected,
    asking: Asking,
    pattern: str | None = None,
    filter_: FilterQuery = None,
    all_: Annotated[bool, Query(alias="all", description="unnamed ones with children too")] = False,
) -> ImageList:
    """Images in the store, with the names that match *pattern* (a glob on them) where given.

    Filters of one key narrow each other down, except `reference`, of which one has to match.
    """
    filters = Filters.parse(filter_ or (), LIST_KEYS)
    named = None if pattern is None else name_matcher(pattern, across=True)
    with services.catalog.read() as connection:
        found = listed(
            connection, asking.tenant, filters, all_=all_, named=named, now=services.context.now()
        )
    return ImageList(items=[summary_view(summary) for summary in found])


@router.get(
    "/images/{ref:path}/inspect", operation_id="inspectImage", responses=problems(400, 404, 422)
)
def inspect_image(
    ref: str, services: Injected, asking: Asking, platform: PlatformQuery = None
) -> ImageDetails:
    """What is held of an image. Held for another platform only, it is in the problem's `image`."""
    wanted = Platform.parse(platform) if platform is not None else None
    with services.catalog.read() as connection:
        found = find(connection, asking.tenant, ref, platform=wanted)
        if found.image is None:
            raise _nothing_held(ref)
        looked_at = details(connection, asking.tenant, found.image, services.content)
    names = [row.name for row in found.local.names or found.local.part_of]
    raw = services.content.read(found.root.digest, max_bytes=MAX_MANIFEST_BYTES)
    return details_view(
        looked_at,
        tags=[name for name in names if not is_digest_name(name)],
        digests=[name for name in names if is_digest_name(name)],
        root={
            "digest": str(found.root.digest),
            "media_type": found.root.media_type,
            "manifest": loads(raw, what="manifest", max_bytes=MAX_MANIFEST_BYTES),
        },
        images=[_with_documents(row, services) for row in found.members],
    )


@router.get(
    "/images/{ref:path}/history", operation_id="imageHistory", responses=problems(400, 404, 422)
)
def image_history(
    ref: str, services: Injected, asking: Asking, platform: PlatformQuery = None
) -> HistoryList:
    """How the image came about, the newest step first."""
    wanted = Platform.parse(platform) if platform is not None else None
    with services.catalog.read() as connection:
        found = find(connection, asking.tenant, ref, platform=wanted)
        if found.image is None:
            raise _nothing_held(ref)
        steps = history(connection, asking.tenant, found.image, services.content)
    return HistoryList(items=[step_view(step) for step in steps])


@router.get(
    "/images/{ref:path}/children", operation_id="imageChildren", responses=problems(400, 404)
)
def image_children(ref: str, services: Injected, asking: Asking) -> ChildList:
    """The images that were made from this one here."""
    with services.catalog.read() as connection:
        found = find(connection, asking.tenant, ref)
        return ChildList(items=list(lineage.children(connection, asking.tenant, found.local.id)))


@router.post(
    "/images/{ref:path}/tag",
    status_code=201,
    operation_id="tagImage",
    responses=problems(400, 404, 413, 422),
)
def tag_image(ref: str, body: TagBody, services: Injected, asking: Asking) -> Tagged:
    """Let a name stand for the image from now on, whatever it stood for before."""
    with services.catalog.write() as connection:
        named = tag(connection, asking.tenant, ref, body.reference, now=services.context.now())
    return Tagged(reference=named.familiar)


@router.delete(
    "/images/{ref:path}", operation_id="deleteImage", responses=problems(400, 404, 409, 422)
)
def delete_image(
    ref: str,
    services: Injected,
    asking: Asking,
    force: bool = False,
    noprune: Annotated[bool, Query(description="keep parents that nothing else needs")] = False,
) -> list[dict[str, str]]:
    """Take a name away, and with its last name the image; given an ID, all names and the image.

    The answer has, in order, what was untagged and what was deleted: an image by its ID, then its
    layers that no other image has, by their chain IDs. Their bytes go when they are collected.
    """
    with services.catalog.write() as connection:
        deletion = Deletion(connection, asking.tenant, services.content, now=services.context.now())
        removed = deletion.delete(ref, force=force, prune=not noprune)
    return [one.as_json() for one in removed]


def _with_documents(row: Any, services: Services) -> dict[str, Any]:
    opened = open_image(row, services.content)
    raw = opened.manifest.raw
    shown = {
        **platform_view(row),
        "manifest": loads(raw, what="manifest", max_bytes=MAX_MANIFEST_BYTES),
    }
    if opened.config is not None:
        shown["config"] = opened.config.document
    return shown


def _nothing_held(ref: str) -> NotFoundError:
    return NotFoundError(
        "no image is held of this index", subject=ref, hint="pull it again", side=Side.STORE
    )
