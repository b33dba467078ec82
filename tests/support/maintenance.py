"""Who did the maintenance, and when, as the database itself has logged it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from sqlalchemy import text

from tests.support.processes import wait_until
from tests.support.server import Server
from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.scheduling import maintenance

_SQLITE = (
    "CREATE TABLE runs (id INTEGER PRIMARY KEY, owner TEXT, fence INTEGER, at REAL)",
    """
    CREATE TRIGGER log_runs AFTER UPDATE ON maintenance BEGIN
      INSERT INTO runs (owner, fence, at)
      VALUES (NEW.owner, NEW.fence, (julianday('now') - 2440587.5) * 86400.0);
    END
    """,
)
_POSTGRESQL = (
    "CREATE TABLE runs (id SERIAL PRIMARY KEY, owner TEXT, fence INTEGER, at DOUBLE PRECISION)",
    """
    CREATE FUNCTION log_run() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO runs (owner, fence, at)
      VALUES (NEW.owner, NEW.fence, extract(epoch FROM clock_timestamp()));
      RETURN NEW;
    END $$
    """,
    "CREATE TRIGGER log_runs AFTER UPDATE ON maintenance FOR EACH ROW EXECUTE FUNCTION log_run()",
)


@dataclass(frozen=True, slots=True)
class Run:
    """A transaction of maintenance; without an owner it gave the lease up."""

    owner: str | None
    fence: int
    at: float


def log_runs(catalog: Catalog) -> None:
    """Let the database write down each transaction of maintenance; return after the first."""
    with catalog.write() as connection:
        for statement in _POSTGRESQL if catalog.shared else _SQLITE:
            connection.exec_driver_sql(statement)
    wait_until(lambda: runs(catalog), 30, "a transaction of maintenance")


def runs(catalog: Catalog) -> list[Run]:
    """What was written down, in the order of the commits."""
    with catalog.read() as connection:
        rows = connection.execute(text("SELECT owner, fence, at FROM runs ORDER BY id"))
        return [Run(row.owner, row.fence, row.at) for row in rows]


def owner_of(catalog: Catalog) -> str | None:
    """The worker that does the maintenance."""
    with catalog.read() as connection:
        return maintenance.standing(connection).owner


def living_owner(server: Server) -> str:
    """The worker that does the maintenance, once there is one and it lives."""

    def found() -> str:
        owner = owner_of(server.catalog) or ""
        return owner if owner in server.live_workers() else ""

    return wait_until(found, 30, "somebody to do the maintenance")


def await_another(server: Server, owner: str) -> None:
    """Wait until another than *owner* does it."""
    wait_until(
        lambda: owner_of(server.catalog) not in (owner, None), 30, "another to do the maintenance"
    )


def kill_owner(server: Server) -> None:
    """Kill the worker that does the maintenance; return when another does it, of as many."""
    owner = living_owner(server)
    server.worker_of(owner).kill()
    await_another(server, owner)
    server.start_worker()


def longest_pause(done: list[Run]) -> float:
    """The most seconds between two transactions of maintenance."""
    return max(later.at - earlier.at for earlier, later in pairwise(done))


def interleaved(done: list[Run]) -> list[Run]:
    """Those that were made after another owner, or a later fence, had begun."""
    owners: dict[int, str | None] = {}
    late = []
    highest = 0
    for run in done:
        known = owners.setdefault(run.fence, run.owner)
        if run.fence < highest or run.owner not in (known, None):
            late.append(run)
        highest = max(highest, run.fence)
    return late
