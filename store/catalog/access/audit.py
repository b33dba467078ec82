"""The audit log: who was refused, and who changed what; the newest entries only.

Refusals can be asked for without end, and must not push out what was changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Final

from sqlalchemy import Connection, delete, func, insert, select

from transship.store.catalog.db.schema import audit

REFUSALS_KEPT: Final = 10_000  # entries later a refusal is forgotten
MAX_KEPT: Final = 1_000_000  # and anything


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """What somebody asked for at *time*, and the HTTP status that it was answered with.

    Attributes:
        time: In seconds since the epoch.
        caller: As jobs are requested by; empty where that is not known.
        peer: The address that asked; empty over the home's socket.
        operation: As the API calls it; a method where it did not get so far.
        subject: What it was about: a name, or the path.
        status: Of the answer.
        id: Given when it is kept; later ones are larger.
    """

    time: float
    caller: str
    peer: str
    operation: str
    subject: str
    status: int
    id: int = 0


def record(connection: Connection, entries: Iterable[AuditEntry]) -> None:
    """Keep *entries*, and forget the oldest ones."""
    rows = [{name: it for name, it in asdict(one).items() if name != "id"} for one in entries]
    if not rows:
        return
    connection.execute(insert(audit), rows)
    newest_id = connection.execute(select(func.max(audit.c.id))).scalar_one()
    old = newest_id - REFUSALS_KEPT
    # Those that have just become old: of the older ones only what was changed is left.
    refusals = (audit.c.id > old - len(rows)) & (audit.c.id <= old) & (audit.c.status >= 400)
    connection.execute(delete(audit).where(refusals))
    connection.execute(delete(audit).where(audit.c.id <= newest_id - MAX_KEPT))


def newest(connection: Connection, limit: int, before: int | None = None) -> list[AuditEntry]:
    """The last *limit* entries, the newest first; those *before* the one with an id, if given."""
    query = select(audit).order_by(audit.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(audit.c.id < before)
    return [AuditEntry(**row) for row in connection.execute(query).mappings()]
