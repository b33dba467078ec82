"""The names of images in the store, and what is known of each image that is held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, delete, select

from store.catalog.schema import edges, images, jobs, references
from store.catalog.sql import upsert


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
    name: str,
    digest: str,
    media_type: str,
    *,
    seq: int,
    now: float,
) -> str | None:
    """Let *name* stand for *digest*, or return the id of the newer job that wrote it already."""
    before = connection.execute(
        select(references.c.written_seq).where(references.c.name == name).with_for_update()
    ).scalar()
    if before is not None and before > seq:
        return str(connection.execute(select(jobs.c.id).where(jobs.c.seq == before)).scalar_one())
    values = {
        "digest": digest,
        "media_type": media_type,
        "updated_at": now,
        "written_seq": seq,
    }
    connection.execute(
        upsert(references)
        .values(name=name, **values)
        .on_conflict_do_update(index_elements=["name"], set_=values)
    )
    return None


def get(connection: Connection, name: str) -> Row[Any] | None:
    """The reference of exactly that full name."""
    return connection.execute(select(references).where(references.c.name == name)).one_or_none()


def listed(connection: Connection) -> Sequence[Row[Any]]:
    """Every reference, by name."""
    return connection.execute(select(references).order_by(references.c.name)).all()


def remove(connection: Connection, name: str) -> bool:
    """Take a name away; the content stays until it is collected."""
    return connection.execute(delete(references).where(references.c.name == name)).rowcount == 1


def of_digest(connection: Connection, digest: str) -> Sequence[Row[Any]]:
    """The references that stand for *digest*."""
    return connection.execute(
        select(references).where(references.c.digest == digest).order_by(references.c.name)
    ).all()


def image(connection: Connection, digest: str) -> Row[Any] | None:
    """The held image with that manifest."""
    return connection.execute(select(images).where(images.c.digest == digest)).one_or_none()


def images_under(connection: Connection, root: str) -> Sequence[Row[Any]]:
    """The held images that a root, a manifest or an index, leads to."""
    below = select(edges.c.child).where(edges.c.parent == root)
    return connection.execute(
        select(images)
        .where((images.c.digest == root) | images.c.digest.in_(below))
        .order_by(images.c.os, images.c.architecture, images.c.variant)
    ).all()


def images_by_id(connection: Connection, prefix: str, *, limit: int = 2) -> Sequence[Row[Any]]:
    """Held images whose id, or whose manifest digest, begins with *prefix* (with algorithm)."""
    return connection.execute(
        select(images)
        .where(
            images.c.image_id.startswith(prefix, autoescape=True)
            | images.c.digest.startswith(prefix, autoescape=True)
        )
        .order_by(images.c.digest)
        .limit(limit)
    ).all()
