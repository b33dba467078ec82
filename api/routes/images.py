"""The images in the store."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, Any

from fastapi import APIRouter, Query

from api.openapi import problems
from api.schemas import ImageList, held_image, image_view
from api.services import Injected
from store.catalog import references
from store.errors import ConflictError, NotFoundError, Side
from store.images.resolve import names_of, resolve_root
from store.oci import mediatypes
from store.oci.config import MAX_CONFIG_BYTES
from store.oci.digest import Digest
from store.oci.manifest import MAX_MANIFEST_BYTES
from store.oci.strictjson import loads

router = APIRouter(tags=["images"])


@router.get("/images", operation_id="listImages", responses=problems(422))
def list_images(services: Injected, pattern: str | None = None) -> ImageList:
    """References in the store, those that match *pattern* (a glob on the name) where given."""
    with services.catalog.read() as connection:
        views = [
            image_view(row, references.images_under(connection, row.digest))
            for row in references.listed(connection)
        ]
    if pattern is not None:
        views = [
            view
            for view in views
            if any(
                fnmatchcase(name, pattern) or name.rpartition(":")[0] == pattern
                for name in (view.reference, view.familiar)
            )
        ]
    return ImageList(items=views)


@router.get("/images/{ref:path}/inspect", operation_id="inspectImage", responses=problems(404, 422))
def inspect_image(ref: str, services: Injected) -> dict[str, Any]:
    """What is held of an image: its manifest, and manifest and config of each platform."""
    with services.catalog.read() as connection:
        root = resolve_root(connection, ref)
        names = names_of(connection, str(root.digest))
        images = [held_image(row) for row in references.images_under(connection, str(root.digest))]
    raw = services.content.read(root.digest, max_bytes=MAX_MANIFEST_BYTES)
    for image in images:
        manifest = services.content.read(
            Digest.parse(image["digest"]), max_bytes=MAX_MANIFEST_BYTES
        )
        image["manifest"] = loads(manifest, what="manifest", max_bytes=MAX_MANIFEST_BYTES)
        if mediatypes.is_config(image["manifest"]["config"]["mediaType"]):
            config = services.content.read(
                Digest.parse(image["image_id"]), max_bytes=MAX_CONFIG_BYTES
            )
            image["config"] = loads(config, what="image config", max_bytes=MAX_CONFIG_BYTES)
    return {
        "digest": str(root.digest),
        "media_type": root.media_type,
        "references": names,
        "manifest": loads(raw, what="manifest", max_bytes=MAX_MANIFEST_BYTES),
        "images": images,
    }


@router.delete("/images/{ref:path}", operation_id="deleteImage", responses=problems(404, 409, 422))
def delete_image(
    ref: str,
    services: Injected,
    force: bool = False,
    _: Annotated[bool, Query(alias="noprune", description="content stays anyway")] = False,
) -> list[dict[str, str]]:
    """Take a name away; with *force*, all names of what a digest or an ID stands for.

    Without, an image that was not named itself must have a single name. Content stays until it is
    collected.
    """
    with services.catalog.write() as connection:
        root = resolve_root(connection, ref)
        names = names_of(connection, str(root.digest), matching=ref)
        if not names:
            raise NotFoundError("the image has no name", subject=ref, side=Side.STORE)
        if len(names) > 1 and not force:
            raise ConflictError(
                f"the image has {len(names)} names: {', '.join(names)}",
                subject=ref,
                hint="remove them one by one, or all of them by force",
            )
        for name in names:
            references.remove(connection, name)
    return [{"untagged": name} for name in names]
