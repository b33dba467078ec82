"""Writes down what happened to an image, with what Docker's events say of it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row

from transship.store.catalog.content import image_events


def happened(
    connection: Connection,
    tenant: str,
    action: str,
    actor: str,
    *,
    name: str,
    now: float,
    image: Row[Any] | None = None,
) -> None:
    """Record *action*; the labels of *image* become attributes, and *name* one that wins over them.

    *actor* and *name* are, as with Docker: of a pull or push the familiar reference and the
    familiar repository; of a tag the ID and the familiar reference; of all others the ID, twice.
    """
    labels = {} if image is None else image.labels
    image_events.record(connection, tenant, action, actor, {**labels, "name": name}, now)
