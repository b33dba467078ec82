"""What a name, a digest or an ID stands for in the store."""

from __future__ import annotations

import re

from sqlalchemy import Connection

from store.catalog import references
from store.errors import InvalidReferenceError, NotFoundError, Side
from store.oci.descriptor import Descriptor
from store.oci.digest import Digest
from store.oci.reference import Reference

_ID = re.compile(r"(sha256:)?[0-9a-f]{4,64}")


def resolve_root(connection: Connection, text: str) -> Descriptor:
    """The root manifest or index that *text* stands for; its size is left at 0, unknown.

    Names win over IDs, as with Docker: first a reference (with the tag `latest` where it has
    none), then the digest of a manifest, then an image ID or a prefix of one.

    Raises:
        NotFoundError: nothing in the store has that name, or more than one image that prefix.
    """
    by_name = _by_name(connection, text)
    if by_name is not None:
        return by_name
    if _ID.fullmatch(text):
        prefix = text if text.startswith("sha256:") else f"sha256:{text}"
        for row in references.of_digest(connection, prefix):
            return _descriptor(row.digest, row.media_type)
        found = references.images_by_id(connection, prefix)
        if len(found) == 1:
            return _descriptor(found[0].digest, found[0].media_type)
        if found:
            raise NotFoundError(
                "more than one image has an ID that begins so", subject=text, side=Side.STORE
            )
    raise NotFoundError(
        "no such image in the store", subject=text, hint="see `transship images`", side=Side.STORE
    )


def _by_name(connection: Connection, text: str) -> Descriptor | None:
    try:
        reference = Reference.parse(text).with_default_tag()
    except InvalidReferenceError:
        return None
    row = references.get(connection, str(reference))
    if row is not None:
        return _descriptor(row.digest, row.media_type)
    if reference.digest is not None:
        # Held under a tag of the same repository: the digest names it as well.
        for tagged in references.of_digest(connection, str(reference.digest)):
            if Reference.parse(tagged.name).repository == reference.repository:
                return _descriptor(tagged.digest, tagged.media_type)
    return None


def _descriptor(digest: str, media_type: str) -> Descriptor:
    return Descriptor(media_type=media_type, digest=Digest.parse(digest), size=0)


def names_of(connection: Connection, digest: str, *, matching: str | None = None) -> list[str]:
    """The references that stand for *digest*; only the one that *matching* spells, if it does."""
    names = [row.name for row in references.of_digest(connection, digest)]
    if matching is not None:
        try:
            exact = str(Reference.parse(matching).with_default_tag())
        except InvalidReferenceError:
            return names
        if exact in names:
            return [exact]
    return names
