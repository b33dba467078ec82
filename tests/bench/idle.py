"""`make idle`: what a cluster without work costs its database, and how maintenance outlives deaths.

An API and four workers, real processes, on SQLite and on PostgreSQL. PostgreSQL counts its
transactions itself, those that only read too; it is asked from another database. SQLite counts
commits: the version of the data is looked at often enough to see each.

Then the worker that does the maintenance is killed, again and again, and another is started in its
place. The database logs each transaction of maintenance by a trigger.
"""

from __future__ import annotations

import argparse
import platform
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from tests.bench.scale import write
from tests.support.maintenance import (
    interleaved,
    kill_owner,
    log_runs,
    longest_pause,
    runs,
)
from tests.support.postgres import PostgresCluster, postgres_programs
from tests.support.redis import RedisProcess
from tests.support.server import Server

BEGIN, END = "<!-- idle -->", "<!-- /idle -->"
WORKERS = 4
SETTLE_SECONDS = 12.0  # so long PostgreSQL may keep what it has counted to itself
MAX_A_SECOND = 2.0
SHORT_LEASE_SECONDS = 4.0
DATABASES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


@dataclass(frozen=True, slots=True)
class Measured:
    """One database: transactions a second, and what came of the deaths."""

    kind: str
    a_second: float
    crashes: int
    longest_pause: float
    twice: int

    @property
    def good(self) -> bool:
        """Whether it keeps within the bounds."""
        return (
            self.a_second < MAX_A_SECOND
            and self.longest_pause < SHORT_LEASE_SECONDS
            and not self.twice
        )

    def line(self) -> str:
        """A row of the table."""
        return (
            f"| {DATABASES[self.kind]} | {self.a_second:.2f} | {self.crashes} "
            f"| {self.longest_pause:.2f} s | {self.twice} | {'yes' if self.good else '**no**'} |"
        )


@contextmanager
def _cluster(kind: str, **settings: str) -> Iterator[tuple[Server, PostgresCluster | None, str]]:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="idle-")))
        redis = stack.enter_context(RedisProcess(directory / "redis"))
        postgres: PostgresCluster | None = None
        name = ""
        if kind == "postgresql":
            postgres = stack.enter_context(PostgresCluster())
            name = stack.enter_context(postgres.database())
            settings["TRANSSHIP_DATABASE_URL"] = postgres.url(name)
        server = Server(directory, workers=WORKERS, redis=redis, **settings)
        yield stack.enter_context(server), postgres, name


def count(kind: str, seconds: float) -> float:
    """Transactions a second of a cluster in which nothing is under way."""
    with _cluster(kind) as (server, postgres, name):
        time.sleep(SETTLE_SECONDS)
        if postgres is None:
            return _commits(server, seconds) / seconds
        server.catalog.close()  # what is counted is the cluster alone
        before = _transactions(postgres, name)
        time.sleep(seconds)
        return (_transactions(postgres, name) - before) / seconds


def _transactions(postgres: PostgresCluster, name: str) -> int:
    query = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = %s"
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        row = connection.execute(query, (name,)).fetchone()
    assert row is not None
    return int(row[0])


def _commits(server: Server, seconds: float) -> int:
    number, last = 0, None
    until = time.monotonic() + seconds
    with closing(sqlite3.connect(server.home / "catalog.sqlite3", isolation_level=None)) as raw:
        while time.monotonic() < until:
            (version,) = raw.execute("PRAGMA data_version").fetchone()
            number += last is not None and version != last
            last = version
            time.sleep(0.005)
    return number


def kill(kind: str, crashes: int) -> tuple[float, int]:
    """Kill the worker that does the maintenance; the longest pause, and what was done twice."""
    with _cluster(kind, TRANSSHIP_LEASE_SECONDS=str(SHORT_LEASE_SECONDS)) as (server, _, _):
        log_runs(server.catalog)
        for number in range(crashes):
            kill_owner(server)
            print(f"  {DATABASES[kind]}: {number + 1} of {crashes}", flush=True)
        done = runs(server.catalog)
    return longest_pause(done), len(interleaved(done))


def report(lines: list[str], seconds: float) -> str:
    """What RESULTS.md has between its markers."""
    return "\n".join(
        [
            BEGIN,
            "# A cluster without work",
            "",
            (
                f"`make idle`, {datetime.now(UTC):%d %B %Y}: {platform.machine()}, Python "
                f"{platform.python_version()}. Transactions a second of an API and {WORKERS} "
                f"workers without work, over {seconds:.0f} s with a lease of 20 s: on PostgreSQL "
                "all that the server counts, reads too, on SQLite commits. Then the worker that "
                f"does the maintenance is killed by SIGKILL, with a lease of "
                f"{SHORT_LEASE_SECONDS:g} s: the longest time between two transactions of "
                "maintenance, and how many were made by one that had lost it. Within bounds: "
                f"below {MAX_A_SECOND:g} a second, no pause of a lease, none twice."
            ),
            "",
            "| database | transactions a second | killed | longest pause | twice | within bounds |",
            "|---|---|---|---|---|---|",
            *lines,
            END,
        ]
    )


def main() -> int:
    """Run the bench; 1 where a bound is not kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.idle", description=__doc__)
    parser.add_argument("databases", nargs="*", help=f"of {', '.join(DATABASES)}")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--deaths", type=int, default=20)
    parser.add_argument("--write", action="store_true", help="write RESULTS.md")
    options = parser.parse_args()
    measured: list[Measured] = []
    for kind in options.databases or DATABASES:
        if kind == "postgresql" and postgres_programs() is None:
            print("postgresql is not installed: not measured", file=sys.stderr)
            return 1
        a_second = count(kind, options.seconds)
        print(f"{DATABASES[kind]}: {a_second:.2f} transactions a second", flush=True)
        measured.append(Measured(kind, a_second, options.crashes, *kill(kind, options.crashes)))
        print(measured[-1].line(), flush=True)
    found = report([one.line() for one in measured], options.seconds)
    print(found)
    if options.write:
        write(found, BEGIN, END)
    return 0 if all(one.good for one in measured) else 1


if __name__ == "__main__":
    sys.exit(main())
