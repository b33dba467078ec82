"""Opens the database and hands out transactions.

SQLite runs in WAL mode with `synchronous=FULL`: an accepted job survives a power cut. A write
transaction begins with BEGIN IMMEDIATE, because one that reads first and writes later passes
limits in silence. Each process has one connection for writing, so that its own threads queue in
Python and not in SQLite's sleeping busy handler, and a few for reading.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, create_engine, event, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import QueuePool

from store.errors import (
    DiskFullError,
    HomeUnusableError,
    SchemaVersionError,
    StoreError,
)

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection

SCHEMA_VERSION = "0002"  # the newest revision in migrations/versions
_BUSY_SECONDS = 10


class Catalog:
    """The database of one process; safe to use from many threads. Whoever opens it closes it."""

    def __init__(self, url: str) -> None:
        """Open the database at *url*; nothing is connected yet."""
        self._url = url
        parsed = make_url(url)
        if parsed.get_backend_name() != "sqlite":
            raise StoreError(
                f"databases of the kind {parsed.get_backend_name()!r} are not supported",
                subject="TRANSSHIP_DATABASE_URL",
                hint="use sqlite:///PATH, or leave it out",
            )
        self._path = Path(parsed.database or "")
        self._writer = _sqlite(url, begin="BEGIN IMMEDIATE", connections=1)
        self._reader = _sqlite(url, begin="BEGIN", connections=8)
        self._turn = threading.Lock()
        self._turn_file: int | None = None
        self._local = threading.local()

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
            with _translated(self._path), self._our_turn(), self._writer.begin() as connection:
                yield connection
        finally:
            self._local.writing = False

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A read transaction: one consistent view, which sees no later commit."""
        with _translated(self._path), self._reader.begin() as connection:
            yield connection

    def prepare(self) -> None:
        """Create the schema in a new database, or check that it is this program's.

        Raises:
            SchemaVersionError: the database has another version.
            HomeUnusableError: it cannot be opened.
        """
        found = self._version()
        if found is None:
            self.migrate()
        elif found != SCHEMA_VERSION:
            raise SchemaVersionError(
                f"the database has schema {found}, this program needs {SCHEMA_VERSION}",
                subject=str(self._path),
                hint="stop every process on it and run `transship migrate`",
            )

    def migrate(self) -> None:
        """Bring the schema to this program's version; does nothing when it is there."""
        from alembic import command  # noqa: PLC0415 -- half a second, needed once in a life
        from alembic.config import Config  # noqa: PLC0415

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        with self.write() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def close(self) -> None:
        """Close every connection."""
        self._writer.dispose()
        self._reader.dispose()
        with self._turn:
            if self._turn_file is not None:
                os.close(self._turn_file)
                self._turn_file = None

    @contextmanager
    def _our_turn(self) -> Iterator[None]:
        """Wait for the other writers, of this process and of others.

        SQLite's own waiting sleeps for up to 100 ms at a time; the kernel wakes us at once.
        """
        with self._turn:
            if self._turn_file is None:
                self._turn_file = self._open_turn_file()
            fcntl.flock(self._turn_file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._turn_file, fcntl.LOCK_UN)

    def _open_turn_file(self) -> int:
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            return os.open(f"{self._path}-turn", flags, 0o600)
        except OSError as error:
            raise HomeUnusableError(
                f"the database cannot be opened: {error.strerror}",
                subject=str(self._path),
                hint="check that TRANSSHIP_HOME exists and is writable",
            ) from error

    def _version(self) -> str | None:
        with self.read() as connection:
            table = text("SELECT name FROM sqlite_master WHERE name = 'alembic_version'")
            if connection.execute(table).first() is None:
                return None
            return connection.execute(select(text("version_num FROM alembic_version"))).scalar()


def _sqlite(url: str, *, begin: str, connections: int) -> Engine:
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=60,
        connect_args={
            "timeout": _BUSY_SECONDS,
            "isolation_level": None,
            "check_same_thread": False,
        },
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: DBAPIConnection, _record: Any) -> None:
        cursor = connection.cursor()
        for pragma in (
            f"busy_timeout={_BUSY_SECONDS * 1000}",
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "journal_size_limit=67108864",
            "wal_autocheckpoint=4000",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Say in our terms what the database says in its own."""
    try:
        yield
    except OperationalError as error:
        reason = str(error.orig)
        if "unable to open" in reason or "readonly" in reason:
            raise HomeUnusableError(
                f"the database cannot be opened: {reason}",
                subject=str(path),
                hint="check that TRANSSHIP_HOME exists and is writable",
            ) from error
        if "full" in reason:
            raise DiskFullError(f"the database cannot grow: {reason}", subject=str(path)) from error
        raise StoreError(f"the database failed: {reason}", subject=str(path)) from error
    except DBAPIError as error:
        reason = str(error.orig)
        if error.connection_invalidated or "malformed" in reason or "not a database" in reason:
            raise StoreError(f"the database failed: {reason}", subject=str(path)) from error
        raise
