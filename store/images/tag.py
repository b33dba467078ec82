"""Gives an image another name: Docker's TagImage."""

from __future__ import annotations

from sqlalchemy import Connection

from store.catalog import blobs, lineage, references
from store.errors import InvalidReferenceError
from store.images.records import happened
from store.images.resolve import find
from store.oci.platform import Platform
from store.oci.reference import HUB, Reference


def tag(
    connection: Connection, source: str, target: str, *, now: float, host: Platform | None = None
) -> Reference:
    """Let *target* stand for what *source* stands for, whatever it stood for before.

    Returns the target, with its default tag.

    Raises:
        NotFoundError: there is no such image.
        InvalidReferenceError: the target has a digest, or would read as one.
    """
    name = check_target(target)
    blobs.lock(connection, [str(find(connection, source, host=host).root.digest)])
    found = find(connection, source, host=host)
    references.assign(connection, str(name), str(found.root.digest), found.root.media_type, now=now)
    lineage.tagged(connection, found.local.id, now)
    happened(
        connection, "tag", found.local.id, name=name.familiar, now=now, image=found.local.manifest
    )
    return name


def check_target(text: str) -> Reference:
    """Read the name that an image is to get, with its default tag.

    Raises:
        InvalidReferenceError: it has a digest, or its repository is called like an algorithm.
    """
    reference = Reference.parse(text)
    if reference.digest is not None:
        raise InvalidReferenceError(
            "a name cannot be given together with a digest", subject=text, hint="REPOSITORY:TAG"
        )
    if reference.domain == HUB and reference.path == "library/sha256":
        raise InvalidReferenceError(
            "a repository called like a digest's algorithm could not be told from a digest",
            subject=text,
        )
    return reference.with_default_tag()
