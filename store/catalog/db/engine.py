"""Opens the database and hands out transactions.

One writer at a time, in the whole cluster, on SQLite and on PostgreSQL alike. Nearly every write
ends by admitting what it made possible, and would hold the limits to its commit anyway; so to take
turns costs little. In return what a writer has read stays true until it commits, nobody deadlocks,
and the ids of events and jobs grow in the order of their commits.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from transship.store.catalog.db.postgresql import PostgresqlDatabase
from transship.store.catalog.db.sqlite import SqliteDatabase
from transship.store.errors import SchemaVersionError, StoreError

MAX_PAUSE_SECONDS = 0.25  # between two pages of long work

SCHEMA_VERSION = "0017"  # the newest revision in migrations/versions


class Database(Protocol):
    """What each kind of database does in its own way. Its errors are `store.errors`.

    Attributes:
        name: How messages call it; without a password.
        shared: Whether several hosts may use it.
    """

    name: str
    shared: bool

    def check(self) -> None:
        """Make sure, before anything else, that it can be used and that to use it is safe."""

    def write(self) -> AbstractContextManager[Connection]:
        """Wait for the turn, and make a transaction that ends with it."""

    def read(self) -> AbstractContextManager[Connection]:
        """Make a transaction that sees one state of the database and changes nothing."""

    def now(self) -> float:
        """Read the database's clock, in seconds since the epoch; costs no round trip as a rule."""

    def lift_time_limits(self, connection: Connection) -> None:
        """Let the statements of this transaction take as long as they take."""

    def close(self) -> None:
        """Close every connection."""


class Catalog:
    """The database of one process; safe to use from many threads. Whoever opens it closes it."""

    def __init__(self, url: str) -> None:
        """Open the database at *url*; nothing is connected yet.

        Raises:
            StoreError: the URL is none, or that of a database which is not supported.
        """
        self._database = _database(url)
        self._local = threading.local()

    @property
    def name(self) -> str:
        """How messages call the database; without a password."""
        return self._database.name

    @property
    def shared(self) -> bool:
        """Whether other hosts may use the same database."""
        return self._database.shared

    def now(self) -> float:
        """Read the database's clock, in seconds since the epoch.

        Every time that is written down, and every time that is compared with one, is read here:
        the clocks of hosts differ.

        Raises:
            DatabaseUnavailableError: it was never asked before, and does not answer.
        """
        return self._database.now()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A write transaction: committed on leaving, rolled back by an exception.

        Must not be nested in one thread: a second one would wait for the first for ever, so it
        raises RuntimeError at once.
        """
        if getattr(self._local, "writing", False):
            raise RuntimeError("a write transaction is open in this thread already")
        self._local.writing = True
        try:
            with self._database.write() as connection:
                began = time.monotonic()
                yield connection
            self._local.held = time.monotonic() - began
        finally:
            self._local.writing = False

    def give_way(self) -> None:
        """Let others write before this thread's next page: for as long as its last one took.

        Whoever begins the next transaction at once would mostly be first again: locks are not
        fair. Leases that could not be renewed for so long would be lost.
        """
        time.sleep(min(getattr(self._local, "held", 0.0), MAX_PAUSE_SECONDS))

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A read transaction: one consistent view, which sees no later commit."""
        with self._database.read() as connection:
            yield connection

    def prepare(self) -> None:
        """Create the schema in a new database, or check that it is this program's.

        Raises:
            SchemaVersionError: the database has another version.
            HomeUnusableError: it cannot be opened, or must not be used where it lies.
            DatabaseUnavailableError: it does not answer.
        """
        self._database.check()
        found = self.schema_version()
        if found is None:
            self.migrate()
        elif found != SCHEMA_VERSION:
            raise SchemaVersionError(
                f"the database has schema {found}, this program needs {SCHEMA_VERSION}",
                subject=self._database.name,
                hint="stop every process on it and run `transship migrate`",
            )

    def migrate(self) -> None:
        """Bring the schema to this program's version; does nothing when it is there.

        Raises:
            SchemaVersionError: a newer program has brought it further already.
        """
        from alembic import command  # noqa: PLC0415 -- half a second, needed once in a life
        from alembic.config import Config  # noqa: PLC0415
        from alembic.util.exc import CommandError  # noqa: PLC0415

        self._database.check()
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        with self.write() as connection:
            self._database.lift_time_limits(connection)
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except CommandError as error:
                raise SchemaVersionError(
                    f"the database has a schema that this program does not know: {error}",
                    subject=self._database.name,
                    hint="use the version of Transship that made it, or a newer one",
                ) from error

    def close(self) -> None:
        """Close every connection."""
        self._database.close()

    def schema_version(self) -> str | None:
        """The revision of the schema that is there; None for none."""
        with self.read() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            found: str | None = connection.execute(
                text("SELECT version_num FROM alembic_version")
            ).scalar()
            return found


def _database(url: str) -> Database:
    try:
        parsed: URL = make_url(url)
    except ArgumentError as error:  # its text may hold the password
        raise StoreError(
            "invalid database URL", subject="TRANSSHIP_DATABASE_URL", hint=_HINT
        ) from error
    match parsed.drivername:
        case "sqlite":
            return SqliteDatabase(parsed)
        case "postgresql" | "postgres" | "postgresql+psycopg":
            return PostgresqlDatabase(parsed)
        case other:
            raise StoreError(
                f"databases of the kind {other!r} are not supported",
                subject="TRANSSHIP_DATABASE_URL",
                hint=_HINT,
            )


_HINT = "use postgresql://USER:PASSWORD@HOST/NAME or sqlite:////PATH, or leave it out"
