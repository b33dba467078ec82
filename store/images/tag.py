"""Gives an image another name: Docker's TagImage."""

from __future__ import annotations

from sqlalchemy import Connection

from store.catalog import blobs, lineage, references
from store.images.records import happened
from store.images.resolve import find
from store.oci.platform import Platform
from store.oci.reference import Reference, parse_target


def tag(
    connection: Connection, source: str, target: str, *, now: float, host: Platform | None = None
) -> Reference:
    """Let *target* stand for what *source* stands for, whatever it stood for before.

    Returns the target, with its default tag.

    Raises:
        NotFoundError: there is no such image.
        InvalidReferenceError: the target has a digest, or would read as one.
    """
    name = parse_target(target)
    blobs.lock(connection, [str(find(connection, source, host=host).root.digest)])
    found = find(connection, source, host=host)
    references.assign(connection, str(name), str(found.root.digest), found.root.media_type, now=now)
    lineage.tagged(connection, found.local.id, now)
    happened(
        connection, "tag", found.local.id, name=name.familiar, now=now, image=found.local.manifest
    )
    return name
