"""Which blobs are held, where each digest has been seen, and who keeps it from being collected.

Lease first, then ask whether a blob is there: what is leased is not swept.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, bindparam, select, update

from store.catalog.schema import blob_sources, blobs, edges, leases
from store.catalog.sql import upsert


@dataclass(frozen=True, slots=True)
class Source:
    """A repository as seen with one credential; *fingerprint* is '' without one."""

    registry: str
    repository: str
    fingerprint: str


# Built once: SQLAlchemy does not cache what it compiles for these.
_LEASE = upsert(leases).on_conflict_do_nothing()
_ADD = upsert(blobs).on_conflict_do_update(
    index_elements=["digest"], set_={"used_at": bindparam("now")}
)
_CONFIRM = upsert(blob_sources).on_conflict_do_update(
    index_elements=["digest", "registry", "repository", "fingerprint"],
    set_={"confirmed_at": bindparam("now")},
)


def lease(connection: Connection, holder: str, digests: Iterable[str]) -> None:
    """Keep *digests*, held or yet to come, for *holder* (a job) until it ends."""
    rows = [{"holder": holder, "digest": digest} for digest in digests]
    if rows:
        connection.execute(_LEASE, rows)


def add(connection: Connection, digest: str, size: int, now: float) -> None:
    """The blob is in the store."""
    row = {"digest": digest, "size": size, "created_at": now, "used_at": now, "now": now}
    connection.execute(_ADD, row)


def held(connection: Connection, digests: Collection[str], now: float) -> set[str]:
    """Those of *digests* that are in the store; they count as used now."""
    found: set[str] = set()
    for some in _chunks(digests):
        found.update(
            connection.execute(
                update(blobs)
                .where(blobs.c.digest.in_(some))
                .values(used_at=now)
                .returning(blobs.c.digest)
            ).scalars()
        )
    return found


def forget(connection: Connection, digest: str) -> None:
    """The store lost the blob; it is absent from now on."""
    connection.execute(blobs.delete().where(blobs.c.digest == digest))


def confirm(connection: Connection, digests: Iterable[str], source: Source, now: float) -> None:
    """*source* has shown that it holds *digests*."""
    where = asdict(source)
    rows = [{**where, "digest": d, "confirmed_at": now, "now": now} for d in digests]
    if rows:
        connection.execute(_CONFIRM, rows)


def confirmed(
    connection: Connection, digests: Collection[str], source: Source, *, since: float = 0.0
) -> set[str]:
    """Those of *digests* that *source* is known to hold, by what it showed after *since*."""
    found: set[str] = set()
    for some in _chunks(digests):
        found.update(
            connection.execute(
                select(blob_sources.c.digest).where(
                    blob_sources.c.digest.in_(some),
                    blob_sources.c.registry == source.registry,
                    blob_sources.c.repository == source.repository,
                    blob_sources.c.fingerprint == source.fingerprint,
                    blob_sources.c.confirmed_at > since,
                )
            ).scalars()
        )
    return found


def repositories_with(
    connection: Connection, digest: str, *, registry: str, fingerprint: str, but: str
) -> list[str]:
    """Other repositories of a registry from which *digest* may be mounted, the latest first."""
    return list(
        connection.execute(
            select(blob_sources.c.repository)
            .where(
                blob_sources.c.digest == digest,
                blob_sources.c.registry == registry,
                blob_sources.c.fingerprint == fingerprint,
                blob_sources.c.repository != but,
            )
            .order_by(blob_sources.c.confirmed_at.desc())
            .limit(4)
        ).scalars()
    )


def link(connection: Connection, parent: str, children: Iterable[str]) -> None:
    """*parent*, a manifest or index, holds on to *children*."""
    for child in children:
        connection.execute(
            upsert(edges).values(parent=parent, child=child).on_conflict_do_nothing()
        )


def children(connection: Connection, parent: str) -> set[str]:
    """What *parent* holds on to."""
    return set(connection.execute(select(edges.c.child).where(edges.c.parent == parent)).scalars())


def _chunks(digests: Collection[str], size: int = 500) -> Iterable[list[str]]:
    ordered = list(digests)
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]
