"""Which blobs are held, where each digest has been seen, and who keeps it from being collected.

Lease first, then ask whether a blob is there: what is leased is not swept.

A registry's word that it holds a digest, by HEAD, a mount or an upload, is one thing; bytes that
came from there are another. Only bytes prove who may use a blob that is held (`proven`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import takewhile

from sqlalchemy import Connection, bindparam, delete, select, update

from transship.store.catalog.db.schema import (
    blob_origins,
    blob_sources,
    blobs,
    cluster,
    edges,
    leases,
)
from transship.store.catalog.db.sql import chunks, upsert


@dataclass(frozen=True, slots=True)
class Source:
    """A repository as seen with one credential; *fingerprint* is '' without one."""

    registry: str
    repository: str
    fingerprint: str


_MAX_SEEN = 50  # of the places where a digest was seen, as many as Docker remembers

# Built once: SQLAlchemy does not cache what it compiles for these.
_LEASE = upsert(leases).on_conflict_do_nothing()
_COLLECTION = select(cluster.c.collection).scalar_subquery()
_ADD = (
    upsert(blobs)
    .values(
        digest=bindparam("digest"),
        size=bindparam("size"),
        created_at=bindparam("created_at"),
        used_at=bindparam("used_at"),
        collection=_COLLECTION,
    )
    .on_conflict_do_update(
        index_elements=["digest"],
        set_={"used_at": bindparam("now"), "collection": _COLLECTION},
    )
)
_STAMP = (
    update(blobs)
    .where(blobs.c.digest.in_(bindparam("digests", expanding=True)))
    .values(collection=_COLLECTION)
)
_ORIGIN = upsert(blob_origins).on_conflict_do_update(
    index_elements=["digest", "registry", "repository"], set_={"proven": True}
)
_CONFIRMED_AT = select(blob_sources.c.digest, blob_sources.c.confirmed_at).where(
    blob_sources.c.digest.in_(bindparam("digests", expanding=True)),
    blob_sources.c.registry == bindparam("registry"),
    blob_sources.c.repository == bindparam("repository"),
    blob_sources.c.fingerprint == bindparam("fingerprint"),
)
_SEEN_ELSEWHERE = (
    select(blob_sources.c.digest)
    .where(
        blob_sources.c.digest.in_(bindparam("digests", expanding=True)),
        blob_sources.c.registry == bindparam("registry"),
        blob_sources.c.repository != bindparam("but"),
    )
    .distinct()
)
_CONFIRM = upsert(blob_sources).on_conflict_do_update(
    index_elements=["digest", "registry", "repository", "fingerprint"],
    set_={"confirmed_at": bindparam("now")},
)


def lease(connection: Connection, holder: str, digests: Iterable[str]) -> None:
    """Keep *digests*, held or yet to come, for *holder* (a job) until it ends.

    A collection under way spares them, although it looked before they were leased.
    """
    lease_all(connection, [(holder, digests)])


def lease_all(connection: Connection, wishes: Iterable[tuple[str, Iterable[str]]]) -> None:
    """The same for several holders, each with what it keeps."""
    rows = [
        {"holder": holder, "digest": digest}
        for holder, digests in wishes
        for digest in sorted(set(digests))
    ]
    for some in chunks(sorted({row["digest"] for row in rows})):
        _lock(connection, some)
        connection.execute(_STAMP, {"digests": some})
    if rows:
        connection.execute(_LEASE, rows)


def release(connection: Connection, holder: str) -> None:
    """*holder* keeps nothing any more."""
    connection.execute(delete(leases).where(leases.c.holder == holder))


def add(connection: Connection, sizes_: Mapping[str, int], now: float) -> None:
    """Blobs are in the store, each with its size."""
    times = {"created_at": now, "used_at": now, "now": now}
    rows = [{"digest": digest, "size": size, **times} for digest, size in sizes_.items()]
    if rows:
        connection.execute(_ADD, rows)


def held(connection: Connection, digests: Collection[str], now: float) -> set[str]:
    """Those of *digests* that are in the store; they count as used now."""
    return set(sizes(connection, digests, now))


def sizes(connection: Connection, digests: Collection[str], now: float) -> dict[str, int]:
    """How long those of *digests* are that are in the store; they count as used now."""
    found: dict[str, int] = {}
    for some in chunks(sorted(set(digests))):
        _lock(connection, some)
        rows = connection.execute(
            update(blobs)
            .where(blobs.c.digest.in_(some))
            .values(used_at=now)
            .returning(blobs.c.digest, blobs.c.size)
        )
        found.update((row.digest, row.size) for row in rows)
    return found


def forget(connection: Connection, digest: str) -> None:
    """The store lost the blob; it is absent from now on."""
    connection.execute(blobs.delete().where(blobs.c.digest == digest))


def record_bytes(connection: Connection, digests: Iterable[str], source: Source) -> None:
    """The bytes of *digests* came from the repository of *source*, and were checked."""
    where = {"registry": source.registry, "repository": source.repository, "proven": True}
    rows = [{**where, "digest": digest} for digest in digests]
    if rows:
        connection.execute(_ORIGIN, rows)


def proven(
    connection: Connection, digests: Collection[str], *, registry: str, repository: str
) -> set[str]:
    """Those of *digests* whose bytes once came from that very repository, by any credential."""
    found: set[str] = set()
    for some in chunks(digests):
        found.update(
            connection.execute(
                select(blob_origins.c.digest).where(
                    blob_origins.c.digest.in_(some),
                    blob_origins.c.registry == registry,
                    blob_origins.c.repository == repository,
                    blob_origins.c.proven,
                )
            ).scalars()
        )
    return found


def confirm(connection: Connection, digests: Iterable[str], source: Source, now: float) -> None:
    """*source* has said that it holds *digests*."""
    where = asdict(source)
    rows = [{**where, "digest": d, "confirmed_at": now, "now": now} for d in digests]
    if rows:
        connection.execute(_CONFIRM, rows)


def confirmed(
    connection: Connection, digests: Collection[str], source: Source, *, since: float = 0.0
) -> set[str]:
    """Those of *digests* that *source* is known to hold, by what it said after *since*."""
    times = confirmed_at(connection, digests, source)
    return {digest for digest, at in times.items() if at > since}


def confirmed_at(
    connection: Connection, digests: Collection[str], source: Source
) -> dict[str, float]:
    """When *source* said last that it holds each of *digests* of which it ever did."""
    return {
        digest: at
        for some in chunks(digests)
        for digest, at in connection.execute(_CONFIRMED_AT, {"digests": some, **asdict(source)})
    }


def repositories_with(
    connection: Connection, digest: str, *, registry: str, fingerprint: str, but: str, limit: int
) -> list[str]:
    """Other repositories of a registry from which *digest* may be mounted, at most *limit*.

    In Docker's order: first where this very credential has seen it, then those whose path begins
    most like the target's, then the latest. Whether it may be, the registry decides.
    """
    rows = connection.execute(
        select(blob_sources.c.repository, blob_sources.c.fingerprint, blob_sources.c.confirmed_at)
        .where(
            blob_sources.c.digest == digest,
            blob_sources.c.registry == registry,
            blob_sources.c.repository != but,
        )
        .order_by(blob_sources.c.confirmed_at.desc())
        .limit(_MAX_SEEN)
    ).all()
    best_first = sorted(
        rows,
        key=lambda row: (
            row.fingerprint != fingerprint,
            -_common_parts(row.repository, but),
            -row.confirmed_at,
        ),
    )
    return list(dict.fromkeys(row.repository for row in best_first))[:limit]


def seen_elsewhere(
    connection: Connection, digests: Collection[str], *, registry: str, but: str
) -> set[str]:
    """Those of *digests* that some other repository of a registry than *but* was seen to hold."""
    return {
        digest
        for some in chunks(digests)
        for digest in connection.execute(
            _SEEN_ELSEWHERE, {"digests": some, "registry": registry, "but": but}
        ).scalars()
    }


def _common_parts(one: str, other: str) -> int:
    """How many leading parts of their paths two repositories have in common."""
    pairs = zip(one.split("/"), other.split("/"), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def sources_of(connection: Connection, digest: str) -> list[Source]:
    """Where a held digest may be fetched again: where its bytes came from, then where it was seen.

    The latest first; each repository once, with the credential that was last seen to open it.
    """
    seen = connection.execute(
        select(blob_sources.c.registry, blob_sources.c.repository, blob_sources.c.fingerprint)
        .where(blob_sources.c.digest == digest)
        .order_by(blob_sources.c.confirmed_at.desc())
        .limit(_MAX_SEEN)
    ).all()
    origins = connection.execute(
        select(blob_origins.c.registry, blob_origins.c.repository)
        .where(blob_origins.c.digest == digest)
        .order_by(blob_origins.c.proven.desc())
        .limit(_MAX_SEEN)
    ).all()
    credential = {(row.registry, row.repository): row.fingerprint for row in reversed(seen)}
    places = dict.fromkeys((row.registry, row.repository) for row in [*origins, *seen])
    return [Source(*place, credential.get(place, "")) for place in places]


def link(connection: Connection, parent: str, children: Iterable[str]) -> None:
    """*parent*, a manifest or index, holds on to *children*."""
    for child in children:
        connection.execute(
            upsert(edges).values(parent=parent, child=child).on_conflict_do_nothing()
        )


def lock(connection: Connection, digests: Iterable[str]) -> None:
    """Keep others from naming, or deleting, what is called *digests* until the transaction ends."""
    _lock(connection, sorted(set(digests)))


def unlink(connection: Connection, parent: str) -> None:
    """*parent* is held no more, and holds on to nothing."""
    connection.execute(edges.delete().where(edges.c.parent == parent))


def children(connection: Connection, parent: str) -> set[str]:
    """What *parent* holds on to."""
    return set(connection.execute(select(edges.c.child).where(edges.c.parent == parent)).scalars())


def links(
    connection: Connection,
    *,
    parents: Collection[str] = (),
    children: Collection[str] = (),
) -> list[tuple[str, str]]:
    """Every parent and child of which the one is among *parents*, or the other among *children*."""
    found: set[tuple[str, str]] = set()
    for column, digests in ((edges.c.parent, parents), (edges.c.child, children)):
        for some in chunks(digests):
            query = select(edges.c.parent, edges.c.child).where(column.in_(some))
            found.update((row.parent, row.child) for row in connection.execute(query))
    return sorted(found)


def _lock(connection: Connection, ordered: list[str]) -> None:
    """Lock the rows of blobs, in their order, so that no two wait for each other."""
    connection.execute(
        select(blobs.c.digest)
        .where(blobs.c.digest.in_(ordered))
        .order_by(blobs.c.digest)
        .with_for_update()
    )
