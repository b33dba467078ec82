"""Which stream a layer's blob holds: digest and diffID, Docker's metadata of a distribution.

The same stream may be held in several blobs, compressed differently. From where a blob can be had
is `blobs`' to know.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from transship.store.catalog.db.schema import layers
from transship.store.catalog.db.sql import chunks, upsert


@dataclass(frozen=True, slots=True)
class Pair:
    """A layer's blob and its diffID; *diff_size* is the stream's length, where it is known."""

    digest: str
    diff_id: str
    diff_size: int | None = None


def record(connection: Connection, pairs: Iterable[Pair], *, verified: bool) -> None:
    """Write pairs down: *verified* ones were computed from the bytes, others only claimed.

    What was verified once stays so, and a size that is known stays known.
    """
    rows = [{**asdict(pair), "verified": verified} for pair in pairs]
    if not rows:
        return
    statement = upsert(layers)
    changed: dict[str, Any] = {
        "diff_size": func.coalesce(statement.excluded.diff_size, layers.c.diff_size)
    }
    if verified:
        changed["verified"] = True
    connection.execute(
        statement.on_conflict_do_update(index_elements=["digest", "diff_id"], set_=changed), rows
    )


def diff_id_of(connection: Connection, digest: str) -> str | None:
    """The diffID of a layer's blob; one that was verified goes before a claim."""
    return connection.execute(
        select(layers.c.diff_id)
        .where(layers.c.digest == digest)
        .order_by(layers.c.verified.desc(), layers.c.diff_id)
        .limit(1)
    ).scalar()


def digests_of(connection: Connection, diff_id: str, *, verified: bool = False) -> list[str]:
    """The blobs that hold the stream *diff_id*, those that were *verified* first, or they alone."""
    query = select(layers.c.digest).where(layers.c.diff_id == diff_id)
    if verified:
        query = query.where(layers.c.verified)
    ordered = query.order_by(layers.c.verified.desc(), layers.c.digest)
    return list(connection.execute(ordered).scalars())


def diff_sizes(connection: Connection, digests: Collection[str]) -> dict[str, int]:
    """How long the streams in *digests* are, of those blobs where that is known."""
    found: dict[str, int] = {}
    for some in chunks(digests):
        rows = connection.execute(
            select(layers.c.digest, layers.c.diff_size).where(
                layers.c.digest.in_(some), layers.c.diff_size.is_not(None)
            )
        )
        found.update((row.digest, int(row.diff_size)) for row in rows)
    return found
