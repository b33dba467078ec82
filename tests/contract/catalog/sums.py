"""What rows of children have to say, counted from the children themselves."""

from __future__ import annotations

from sqlalchemy import Connection, case, func, select

from transship.store.catalog.db.schema import job_children, jobs
from transship.store.catalog.scheduling.children import FIGURES, STATES

Sums = dict[str, dict[str, int]]


def kept(connection: Connection) -> Sums:
    """The rows of all parents."""
    columns = [job_children.c[name] for name in ("job", *STATES, *FIGURES)]
    rows = connection.execute(select(*columns)).mappings()
    return {row["job"]: {name: row[name] for name in (*STATES, *FIGURES)} for row in rows}


def counted(connection: Connection) -> Sums:
    """The same, from all children."""
    sums = [
        *(func.sum(case((jobs.c.state == state, 1), else_=0)).label(state) for state in STATES),
        *(func.sum(jobs.c[name]).label(name) for name in FIGURES),
    ]
    query = select(jobs.c.parent, *sums).where(jobs.c.parent.is_not(None)).group_by(jobs.c.parent)
    rows = connection.execute(query).mappings()
    return {row["parent"]: {name: int(row[name]) for name in (*STATES, *FIGURES)} for row in rows}
