"""The names of images in the store, and what is known of each image that is held.

A name is the full one, with its tag or with its digest; never with both. Names are a tenant's (see
`tenants`); what is known of an image is whoever's it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Column, Connection, Row, Select, delete, func, select

from transship.store.catalog.access.tenants import HOUSE, hold, sees
from transship.store.catalog.db.schema import edges, images, jobs, references
from transship.store.catalog.db.sql import chunks, upsert
from transship.store.errors import ConflictError, Side


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldImage:
    """One platform's image whose config and layers are all in the store."""

    digest: str  # of the manifest
    image_id: str  # of the config
    media_type: str
    os: str
    architecture: str
    variant: str
    created: str
    size: int
    layers: int
    labels: dict[str, str] = field(default_factory=dict)


def add_image(connection: Connection, image: HeldImage) -> None:
    """The image is complete in the store."""
    values: dict[str, Any] = {name: getattr(image, name) for name in HeldImage.__dataclass_fields__}
    connection.execute(upsert(images).values(**values).on_conflict_do_nothing())


def publish(
    connection: Connection,
    tenant: str,
    name: str,
    digest: str,
    media_type: str,
    *,
    seq: int,
    now: float,
) -> str | None:
    """Let *name* stand for *digest*, unless something newer has written it already.

    Returns the id of the newer job then; '' where that is not on record any more, or was no job.
    """
    before = connection.execute(
        select(references.c.written_seq)
        .where(references.c.tenant == tenant, references.c.name == name)
        .with_for_update()
    ).scalar()
    if before is not None and before > seq:
        newer = connection.execute(select(jobs.c.id).where(jobs.c.seq == before)).scalar()
        return "" if newer is None else str(newer)
    _write(connection, tenant, name, digest, media_type, seq=seq, now=now)
    return None


def assign(
    connection: Connection, tenant: str, name: str, digest: str, media_type: str, *, now: float
) -> None:
    """Let *name* stand for *digest* at once, before every job that there is."""
    newest = connection.execute(select(func.coalesce(func.max(jobs.c.seq), 0))).scalar_one()
    _write(connection, tenant, name, digest, media_type, seq=newest + 1, now=now)


def add_digest(
    connection: Connection, tenant: str, name: str, digest: str, media_type: str, now: float
) -> None:
    """Note that *digest* is also known by *name*, which ends in it."""
    row = {"tenant": tenant, "name": name, "digest": digest, "media_type": media_type}
    connection.execute(
        upsert(references).values(**row, updated_at=now, written_seq=0).on_conflict_do_nothing()
    )


def _write(
    connection: Connection,
    tenant: str,
    name: str,
    digest: str,
    media_type: str,
    *,
    seq: int,
    now: float,
) -> None:
    hold(connection, tenant, [digest])
    values = {
        "digest": digest,
        "media_type": media_type,
        "updated_at": now,
        "written_seq": seq,
    }
    connection.execute(
        upsert(references)
        .values(tenant=tenant, name=name, **values)
        .on_conflict_do_update(index_elements=["tenant", "name"], set_=values)
    )


def own(connection: Connection, tenant: str, name: str) -> Row[Any] | None:
    """What the tenant's own *name* stands for, which its next job would write."""
    mine = (references.c.tenant == tenant) & (references.c.name == name)
    return connection.execute(select(references).where(mine)).one_or_none()


def get(connection: Connection, tenant: str, name: str) -> Row[Any] | None:
    """The reference of exactly that full name.

    Raises:
        ConflictError: the house has none, and several tenants have, of different images.
    """
    rows = connection.execute(_of(tenant).where(references.c.name == name)).all()
    for row in rows:
        if row.tenant == tenant:
            return row
    if len({row.digest for row in rows}) > 1:
        raise ConflictError(
            "several users have different images of this name",
            subject=name,
            hint="use the digest or the ID of the one that is meant",
            side=Side.STORE,
        )
    return rows[0] if rows else None


def listed(connection: Connection, tenant: str) -> Sequence[Row[Any]]:
    """Every reference, by name."""
    return _distinct(connection.execute(_of(tenant)))


def remove(connection: Connection, tenant: str, name: str, digest: str) -> None:
    """Take away a name that stands for *digest*; the content stays until it is collected.

    The house takes it away from every tenant that has it.
    """
    connection.execute(
        delete(references).where(
            references.c.name == name,
            references.c.digest == digest,
            sees(tenant, references.c.tenant),
        )
    )


def of_repository(connection: Connection, tenant: str, repository: str) -> list[Row[Any]]:
    """The references of a repository, by name."""
    query = _of(tenant).where(references.c.name.startswith(repository, autoescape=True))
    rows = _distinct(connection.execute(query))
    return [row for row in rows if row.name.removeprefix(repository)[:1] in (":", "@")]


def of_digest(connection: Connection, tenant: str, digest: str) -> Sequence[Row[Any]]:
    """The references that stand for *digest*, by name."""
    return of_digests(connection, tenant, [digest])


def of_digests(connection: Connection, tenant: str, digests: Collection[str]) -> Sequence[Row[Any]]:
    """The references that stand for any of *digests*, by name."""
    rows: list[Row[Any]] = []
    for some in chunks(digests):
        rows += connection.execute(_of(tenant).where(references.c.digest.in_(some)))
    return _distinct(rows)


def _of(tenant: str) -> Select[Any]:
    return select(references).where(sees(tenant, references.c.tenant))


def _distinct(rows: Iterable[Row[Any]]) -> list[Row[Any]]:
    """By name, and the house's first: what several tenants call the same, once."""
    ordered = sorted(rows, key=lambda row: (row.name, row.tenant != HOUSE, row.tenant))
    return list({(row.name, row.digest): row for row in reversed(ordered)}.values())[::-1]


def image(connection: Connection, digest: str) -> Row[Any] | None:
    """The held image with that manifest."""
    return connection.execute(select(images).where(images.c.digest == digest)).one_or_none()


def images_of(connection: Connection, digests: Collection[str]) -> Sequence[Row[Any]]:
    """The held images with those manifests."""
    rows: list[Row[Any]] = []
    for some in chunks(digests):
        rows += connection.execute(select(images).where(images.c.digest.in_(some)))
    return rows


def images_with_id(connection: Connection, image_id: str) -> Sequence[Row[Any]]:
    """The held images with that ID: one config may be in several manifests."""
    return connection.execute(
        select(images).where(images.c.image_id == image_id).order_by(images.c.digest)
    ).all()


def every_image(connection: Connection) -> Sequence[Row[Any]]:
    """Every held image."""
    return connection.execute(select(images).order_by(images.c.digest)).all()


def remove_image(connection: Connection, digest: str) -> None:
    """The image with that manifest is held no more; its content stays until it is collected."""
    connection.execute(delete(images).where(images.c.digest == digest))


def images_under(connection: Connection, root: str) -> Sequence[Row[Any]]:
    """The held images that a root, a manifest or an index, leads to, at any depth."""
    below = select(edges.c.child).where(edges.c.parent == root).cte("below", recursive=True)
    below = below.union(select(edges.c.child).where(edges.c.parent == below.c.child))
    return connection.execute(
        select(images)
        .where((images.c.digest == root) | images.c.digest.in_(select(below.c.child)))
        .order_by(images.c.os, images.c.architecture, images.c.variant, images.c.digest)
    ).all()


def ids_beginning(connection: Connection, prefix: str) -> Sequence[str]:
    """IDs of held images, whoever's, that begin with *prefix*, which has the algorithm."""
    return _beginning(connection, images.c.image_id, prefix)


def roots_beginning(connection: Connection, prefix: str) -> Sequence[str]:
    """Digests of held images' manifests, and of what names stand for, that begin with *prefix*."""
    columns = (images.c.digest, references.c.digest)
    return sorted({one for column in columns for one in _beginning(connection, column, prefix)})


def _beginning(connection: Connection, column: Column[str], prefix: str) -> Sequence[str]:
    query = select(column).where(column.startswith(prefix, autoescape=True)).distinct()
    return connection.execute(query.order_by(column)).scalars().all()
