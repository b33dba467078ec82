"""Who may write a name in a registry, how new its newest writer was, and what became of what.

Of two jobs that write the same name the older one never overwrites what the newer one wrote.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, bindparam, select, update

from transship.store.catalog.db.schema import derivations, targets
from transship.store.catalog.db.schema import jobs as job_rows
from transship.store.catalog.db.sql import chunks, upsert
from transship.store.catalog.scheduling import jobs
from transship.store.catalog.scheduling.jobs import JobLease

_NEW = upsert(targets)
_KNOWN = _NEW.on_conflict_do_nothing()
_OF_NAMES = (
    select(targets)
    .where(targets.c.name.in_(bindparam("names", expanding=True)))
    .order_by(targets.c.name)
    .with_for_update()
)
_ACTIVE_JOBS = select(job_rows.c.id).where(
    job_rows.c.id.in_(bindparam("ids", expanding=True)), jobs.active(job_rows)
)
_HOLD = update(targets).where(targets.c.name == bindparam("target")).values(holder=bindparam("by"))
_WRITTEN = (
    update(targets)
    .where(targets.c.name == bindparam("target"), targets.c.holder == bindparam("by"))
    .values(holder=None, written_seq=bindparam("seq"), written_by=bindparam("by"))
)
_LET_GO = (
    update(targets)
    .where(targets.c.name == bindparam("target"), targets.c.holder == bindparam("by"))
    .values(holder=None)
)
_FOUND = _NEW.on_conflict_do_update(
    index_elements=["name"],
    set_={"written_seq": _NEW.excluded.written_seq, "written_by": _NEW.excluded.written_by},
    where=targets.c.written_seq < _NEW.excluded.written_seq,
)


def hold(connection: Connection, wanted: Sequence[tuple[JobLease, str]]) -> list[str | None]:
    """Let each job be the one who may write the name that it wants.

    For each there is None when it is its own now, the id of a newer job that has written it
    already, or '' when another active job holds it.
    """
    names = sorted({name for _, name in wanted})
    connection.execute(_KNOWN, [{"name": name, "written_seq": 0} for name in names])
    rows = {
        row.name: row
        for some in chunks(names)
        for row in connection.execute(_OF_NAMES, {"names": some})
    }
    holders = {name: row.holder for name, row in rows.items() if row.holder is not None}
    alive = {
        id_
        for some in chunks(sorted(set(holders.values())))
        for id_ in connection.execute(_ACTIVE_JOBS, {"ids": some}).scalars()
    }
    answers: list[str | None] = []
    taken: list[dict[str, str]] = []
    for lease, name in wanted:
        row, holder = rows[name], holders.get(name)
        if row.written_seq > lease.seq:
            answers.append(str(row.written_by))
        elif holder is not None and holder != lease.id and holder in alive:
            answers.append("")
        else:
            holders[name] = lease.id
            alive.add(lease.id)
            taken.append({"target": name, "by": lease.id})
            answers.append(None)
    if taken:
        connection.execute(_HOLD, taken)
    return answers


def written(connection: Connection, names: Sequence[tuple[JobLease, str]]) -> None:
    """Record that jobs have written the names that they hold, and let the next one have each."""
    connection.execute(
        _WRITTEN, [{"target": name, "by": lease.id, "seq": lease.seq} for lease, name in names]
    )


def let_go(connection: Connection, names: Sequence[tuple[JobLease, str]]) -> None:
    """Let the next one have the names that jobs hold, of which they have made nothing newer."""
    if names:
        connection.execute(_LET_GO, [{"target": name, "by": lease.id} for lease, name in names])


def superseded(connection: Connection, names: Sequence[tuple[JobLease, str]]) -> list[str | None]:
    """For each the id of a newer job that has written the name or found it up to date, or None."""
    rows = {
        row.name: row
        for some in chunks(sorted({name for _, name in names}))
        for row in connection.execute(_OF_NAMES, {"names": some})
    }
    return [
        str(rows[name].written_by) if rows[name].written_seq > lease.seq else None
        for lease, name in names
    ]


def found_up_to_date(connection: Connection, names: Mapping[str, str]) -> None:
    """Record for jobs, by their ids, that the names which they were to write need nothing.

    From then on no older job overwrites them.
    """
    seqs: dict[str, int] = {}
    for some in chunks(names):
        seqs |= {
            row.id: row.seq
            for row in connection.execute(
                select(job_rows.c.id, job_rows.c.seq).where(job_rows.c.id.in_(some))
            )
        }
    rows = [
        {"name": name, "written_seq": seqs[id_], "written_by": id_}
        for id_, name in sorted(names.items(), key=lambda one: one[1])
        if id_ in seqs
    ]
    if rows:
        connection.execute(_FOUND, rows)


def record_derivation(
    connection: Connection, source: str, transform: str, target: str, now: float
) -> None:
    """Remember what *source* became under *transform*."""
    connection.execute(
        upsert(derivations)
        .values(source_digest=source, transform=transform, target_digest=target, used_at=now)
        .on_conflict_do_update(
            index_elements=["source_digest", "transform"],
            set_={"target_digest": target, "used_at": now},
        )
    )


def derived(connection: Connection, source: str, transform: str) -> str | None:
    """What *source* became under *transform*, if that was ever done."""
    return connection.execute(
        select(derivations.c.target_digest).where(
            derivations.c.source_digest == source, derivations.c.transform == transform
        )
    ).scalar()
