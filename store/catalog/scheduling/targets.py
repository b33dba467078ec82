"""Who may write a name in a registry, how new its newest writer was, and what became of what.

Of two jobs that write the same name the older one never overwrites what the newer one wrote.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, select, update

from transship.store.catalog.db.schema import derivations, targets
from transship.store.catalog.db.schema import jobs as job_rows
from transship.store.catalog.db.sql import chunks, upsert
from transship.store.catalog.scheduling import jobs
from transship.store.catalog.scheduling.jobs import JobLease

_NEW = upsert(targets)
_FOUND = _NEW.on_conflict_do_update(
    index_elements=["name"],
    set_={"written_seq": _NEW.excluded.written_seq, "written_by": _NEW.excluded.written_by},
    where=targets.c.written_seq < _NEW.excluded.written_seq,
)


def hold(connection: Connection, name: str, lease: JobLease) -> str | None:
    """Become the one who may write *name*.

    Returns None when it is ours, the id of a newer job that has written it already, or ''
    when another active job holds it.
    """
    connection.execute(upsert(targets).values(name=name, written_seq=0).on_conflict_do_nothing())
    row = connection.execute(select(targets).where(targets.c.name == name).with_for_update()).one()
    if row.written_seq > lease.seq:
        return str(row.written_by)
    if row.holder is not None and row.holder != lease.id:
        holder = jobs.get(connection, row.holder)
        if holder is not None and holder.state in jobs.ACTIVE:
            return ""
    connection.execute(update(targets).where(targets.c.name == name).values(holder=lease.id))
    return None


def written(connection: Connection, name: str, lease: JobLease) -> None:
    """Record that the job has written *name*, and let the next one have it."""
    connection.execute(
        update(targets)
        .where(targets.c.name == name, targets.c.holder == lease.id)
        .values(holder=None, written_seq=lease.seq, written_by=lease.id)
    )


def is_superseded(connection: Connection, name: str, lease: JobLease) -> str | None:
    """The id of a newer job that has written *name* or found it up to date; None: there is none."""
    row = connection.execute(
        select(targets.c.written_seq, targets.c.written_by).where(targets.c.name == name)
    ).one()
    return str(row.written_by) if row.written_seq > lease.seq else None


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
