"""The lease of maintenance: one row, which says which worker does it.

The owner adds to the beat in every transaction of its maintenance, under its fence. One who finds
that the row is another's has lost it and does nothing, so maintenance never runs twice, whatever
clocks do. Who sees the row stand still for long enough, on its own monotonic clock, takes it.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from transship.store.catalog.db.schema import maintenance


@dataclass(frozen=True, slots=True)
class Ownership:
    """The row as it was read."""

    owner: str | None
    fence: int
    beat: int


def standing(connection: Connection) -> Ownership:
    """Who does the maintenance now."""
    row = connection.execute(_STANDING).one()
    return Ownership(row.owner, row.fence, row.beat)


def take(connection: Connection, worker: str, seen: Ownership) -> int | None:
    """Make *worker* the owner of the row that was *seen*, and return its fence.

    None where the row has changed since: the owner lives, or another was first.
    """
    taken = connection.execute(
        update(maintenance)
        .where(maintenance.c.fence == seen.fence, maintenance.c.beat == seen.beat)
        .values(owner=worker, fence=seen.fence + 1, beat=seen.beat + 1)
    )
    return seen.fence + 1 if taken.rowcount == 1 else None


def renew(connection: Connection, worker: str, fence: int) -> bool:
    """Show that the owner is at work; False: it is not the owner any more."""
    renewed = connection.execute(
        update(maintenance)
        .where(maintenance.c.owner == worker, maintenance.c.fence == fence)
        .values(beat=maintenance.c.beat + 1)
    )
    return renewed.rowcount == 1


def give_up(connection: Connection, worker: str) -> None:
    """Let others take the maintenance at once, if *worker* has it."""
    connection.execute(
        update(maintenance)
        .where(maintenance.c.owner == worker)
        .values(owner=None, beat=maintenance.c.beat + 1)
    )


_STANDING = select(maintenance.c.owner, maintenance.c.fence, maintenance.c.beat)
