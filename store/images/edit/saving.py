"""Which images a save takes, under which names: as `docker save` reads what it is given."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection

from transship.store.archives.plan import SavedImage
from transship.store.catalog.content import blobs, lineage, references
from transship.store.errors import InvalidReferenceError, NotFoundError
from transship.store.images.view.resolve import find
from transship.store.images.view.view import is_digest_name
from transship.store.oci.digest import Digest
from transship.store.oci.reference import Reference


def chosen(connection: Connection, tenant: str, texts: Iterable[str]) -> list[SavedImage]:
    """What *texts* stand for, each image once, with the names that it is to have.

    A repository without a tag stands for all its tags; an ID, or a digest, for an image without a
    name.

    Raises:
        NotFoundError: one of them stands for nothing.
        InvalidReferenceError: one of them can be neither a name nor an ID.
    """
    found: dict[Digest, SavedImage] = {}
    for text in texts:
        for image in _of_repository(connection, tenant, text) or [_one(connection, tenant, text)]:
            known = found.setdefault(image.digest, image)
            names = dict.fromkeys((*known.names, *image.names))
            found[image.digest] = SavedImage(
                image.digest, image.media_type, tuple(names), known.parent
            )
    return list(found.values())


def held_under(connection: Connection, root: str) -> set[str]:
    """*root* and everything below it that the store holds on to."""
    found: set[str] = set()
    ahead = {root}
    while ahead:
        found |= ahead
        ahead = {child for _, child in blobs.links(connection, parents=ahead)} - found
    return found


def _of_repository(connection: Connection, tenant: str, text: str) -> list[SavedImage]:
    """Everything that has a name in the repository *text*; nothing where it is none."""
    try:
        repository = Reference.parse(text)
    except InvalidReferenceError:
        return []
    if repository.tag is not None or repository.digest is not None:
        return []
    prefixes = (f"{repository}:", f"{repository}@")
    return [
        _saved(connection, tenant, Digest.parse(row.digest), row.media_type, row.name)
        for row in references.listed(connection, tenant)
        if row.name.startswith(prefixes)
    ]


def _one(connection: Connection, tenant: str, text: str) -> SavedImage:
    found = find(connection, tenant, text)
    if found.image is None and not found.members and found.name is None:
        raise NotFoundError("nothing of it is held", subject=text)
    return _saved(connection, tenant, found.root.digest, found.root.media_type, found.name)


def _saved(
    connection: Connection, tenant: str, digest: Digest, media_type: str, name: str | None
) -> SavedImage:
    named = name is not None and not is_digest_name(name)
    names = (Reference.parse(name),) if name is not None and named else ()
    image = references.image(connection, str(digest))
    known = lineage.get(connection, tenant, image.image_id) if image is not None else None
    parent = Digest.parse(known.parent) if known is not None and known.parent else None
    return SavedImage(digest, media_type, names, parent)
