"""Gives an image another name: Docker's TagImage."""

from __future__ import annotations

from sqlalchemy import Connection

from transship.store.catalog.content import blobs, lineage, references
from transship.store.images.edit.records import happened
from transship.store.images.view.resolve import find
from transship.store.oci.platform import Platform
from transship.store.oci.reference import Reference, parse_target


def tag(
    connection: Connection,
    tenant: str,
    source: str,
    target: str,
    *,
    now: float,
    host: Platform | None = None,
) -> Reference:
    """Let the tenant's *target* stand for what *source* does, whatever it stood for before.

    Returns the target, with its default tag.

    Raises:
        NotFoundError: there is no such image.
        InvalidReferenceError: the target has a digest, or would read as one.
    """
    name = parse_target(target)
    blobs.lock(connection, [str(find(connection, tenant, source, host=host).root.digest)])
    found = find(connection, tenant, source, host=host)
    root, image = found.root, found.local
    references.assign(connection, tenant, str(name), str(root.digest), root.media_type, now=now)
    lineage.tagged(connection, tenant, image.id, now)
    happened(connection, tenant, "tag", image.id, name=name.familiar, now=now, image=image.manifest)
    return name
