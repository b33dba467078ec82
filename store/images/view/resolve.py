"""What a name, a digest or an ID stands for in the store: Docker's GetImage."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Row

from transship.store.catalog.content import references
from transship.store.errors import InvalidReferenceError, NotFoundError, OtherPlatformError, Side
from transship.store.images.view.view import ImageView, LocalImage, fitting, lead, platform_of
from transship.store.oci.descriptor import Descriptor
from transship.store.oci.digest import Digest
from transship.store.oci.platform import Platform
from transship.store.oci.reference import Reference

_FULL_ID = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
_PREFIX = re.compile(r"(?:sha256:)?([0-9a-f]{1,64})")
_AMBIGUOUS = 2  # so many that begin alike are enough to know


@dataclass(frozen=True, slots=True)
class Found:
    """What a text stands for.

    Attributes:
        root: The manifest or index; its size is left at 0, unknown.
        image: The image meant, of an index the one for the platform.
        name: The full name, where it was found by one.
        local: The image as Docker counts them, with its names.
        members: Every image that is held under the root.
    """

    root: Descriptor
    image: Row[Any] | None
    name: str | None
    local: LocalImage
    members: tuple[Row[Any], ...] = ()


def find(
    connection: Connection,
    tenant: str,
    text: str,
    *,
    platform: Platform | None = None,
    host: Platform | None = None,
) -> Found:
    """Find what *text* stands for, for a tenant: what it may not see is not there.

    64 hex digits, or a whole digest, are an ID and nothing else. Else names win: a reference (with
    the tag `latest` where it has none; with both, its digest alone counts), then the beginning of
    an ID. Digests of manifests are known as well, after IDs.

    Raises:
        NotFoundError: nothing here is called so, or more than one ID begins so.
        InvalidReferenceError: it can be neither a name nor an ID.
        OtherPlatformError: it is held, but not for *platform*; the error brings what is.
        ConflictError: the house asks for what several tenants call so.
    """
    row = None if _FULL_ID.fullmatch(text) else _by_name(connection, tenant, text)
    if row is not None:
        view = ImageView.around(connection, tenant, [row.digest], host)
        image = view.leader(row.digest)
        whole = ImageView.of_id(connection, tenant, image.id, host).image(image.id)
        found = Found(_descriptor(row), None, row.name, whole or image)
        members = view.members(row.digest)
    else:
        found, members = _by_id(connection, tenant, text, host)
    return _for_platform(found, members, text, platform, host or Platform.host())


def resolve_root(connection: Connection, tenant: str, text: str) -> Descriptor:
    """The root manifest or index that *text* stands for; see `find`."""
    return find(connection, tenant, text).root


def _by_name(connection: Connection, tenant: str, text: str) -> Row[Any] | None:
    try:
        reference = Reference.parse(text)
    except InvalidReferenceError:
        if _PREFIX.fullmatch(text):
            return None
        raise
    return references.get(connection, tenant, stored_name(reference))


def stored_name(reference: Reference) -> str:
    """The name under which a reference is kept: with both tag and digest, the digest alone."""
    if reference.digest is not None:
        return str(reference.with_digest(reference.digest))
    return str(reference.with_default_tag())


def _by_id(
    connection: Connection, tenant: str, text: str, host: Platform | None
) -> tuple[Found, list[Row[Any]]]:
    match = _PREFIX.fullmatch(text)
    if match is None:
        raise no_such_image(text)
    prefix = f"sha256:{match[1]}"
    ids = list(islice(_seen_ids(connection, tenant, prefix, host), _AMBIGUOUS))
    if len(ids) == 1:
        (local,) = ids
        assert local.manifest is not None
        return Found(_descriptor(local.manifest), None, None, local), [local.manifest]
    seen = () if ids else _seen_digests(connection, tenant, prefix, host)
    digests = list(islice(seen, _AMBIGUOUS))
    if len(digests) == 1:
        return _by_digest(connection, tenant, digests[0], host)
    if ids or digests:
        raise no_such_image(text, hint="more than one image has an ID that begins so")
    raise no_such_image(text)


def no_such_image(text: str, *, hint: str = "see `transship images`") -> NotFoundError:
    """The error for what stands for no image, in Docker's words (ErrImageDoesNotExist)."""
    full = _FULL_ID.fullmatch(text)
    if full is not None:
        name = f"sha256:{full[1]}"
    else:
        try:
            name = Reference.parse(text).with_default_tag().familiar
        except InvalidReferenceError:
            name = text
    return NotFoundError(f"No such image: {name}", subject=text, hint=hint, side=Side.STORE)


def _seen_ids(
    connection: Connection, tenant: str, prefix: str, host: Platform | None
) -> Iterator[LocalImage]:
    """The images whose ID begins with *prefix*, as far as the tenant sees them."""
    for id_ in references.ids_beginning(connection, prefix):
        image = ImageView.of_id(connection, tenant, id_, host).image(id_)
        if image is not None:
            yield image


def _seen_digests(
    connection: Connection, tenant: str, prefix: str, host: Platform | None
) -> Iterator[str]:
    """The same of the digests of manifests, and of what names stand for."""
    for digest in references.roots_beginning(connection, prefix):
        if ImageView.around(connection, tenant, [digest], host).has(digest):
            yield digest


def _by_digest(
    connection: Connection, tenant: str, digest: str, host: Platform | None
) -> tuple[Found, list[Row[Any]]]:
    view = ImageView.around(connection, tenant, [digest], host)
    held = view.rows.get(digest)
    if held is not None:
        local = view.image(held.image_id)
        assert local is not None
        return Found(_descriptor(held), None, None, local), [held]
    named = references.of_digest(connection, tenant, digest)[0]
    return Found(_descriptor(named), None, None, view.leader(digest)), view.members(digest)


def _for_platform(
    found: Found,
    members: Sequence[Row[Any]],
    text: str,
    platform: Platform | None,
    host: Platform,
) -> Found:
    image = lead(members, host)
    if platform is not None and image is not None:
        fits = fitting(members, platform.normalized())
        if fits is None:
            raise OtherPlatformError(
                f"it is held for {platform_of(image)}, not for {platform}",
                subject=text,
                image={
                    "id": image.image_id,
                    "digest": image.digest,
                    "platform": str(platform_of(image)),
                },
            )
        image = fits
    return Found(found.root, image, found.name, found.local, tuple(members))


def _descriptor(row: Row[Any]) -> Descriptor:
    return Descriptor(media_type=row.media_type, digest=Digest.parse(row.digest), size=0)
