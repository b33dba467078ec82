"""The catalog in a file: SQLite in WAL mode with `synchronous=FULL`.

An accepted job survives a power cut. A write transaction begins with BEGIN IMMEDIATE, because one
that reads first and writes later passes limits in silence. Each process has one connection for
writing, so that its own threads queue in Python and not in SQLite's sleeping busy handler, and a
few for reading.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import QueuePool

from transship.store.catalog.db.mounts import network_filesystem
from transship.store.errors import (
    DatabaseUnavailableError,
    DiskFullError,
    HomeUnusableError,
    StoreError,
)

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection

_BUSY_SECONDS = 10


class SqliteDatabase:
    """A database file of one host, used by its processes and their threads."""

    shared = False

    def __init__(self, url: URL) -> None:
        """Use the file that *url* names; its directory must exist."""
        self._path = Path(url.database or "")
        self.name = str(self._path)
        self._writer = _engine(url, begin="BEGIN IMMEDIATE", connections=1)
        self._reader = _engine(url, begin="BEGIN", connections=8)
        self._turn = threading.Lock()
        self._turn_file: int | None = None

    def check(self) -> None:
        """Make sure that the file lies on this host and can be opened.

        Raises:
            HomeUnusableError: it lies on a network file system, where two hosts would not see
                each other's locks and write-ahead log, and damage it.
        """
        kind = network_filesystem(self._path.parent)
        if kind is not None:
            raise HomeUnusableError(
                f"SQLite does not work on a network file system ({kind})",
                subject=self.name,
                hint="set TRANSSHIP_DATABASE_URL to a PostgreSQL, or to SQLite on a local disk",
            )
        # The first connection changes a new file to WAL: two that do so at once find it locked.
        with self._translated(), self._our_turn(), self._reader.connect():
            pass

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that nobody else writes beside."""
        with self._translated(), self._our_turn(), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state."""
        with self._translated(), self._reader.begin() as connection:
            yield connection

    def now(self) -> float:
        """All that use the file are on this host, so its clock is the database's."""
        return time.time()

    def lift_time_limits(self, connection: Connection) -> None:
        """Statements here have none."""

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
            raise _unusable(error.strerror, self.name) from error

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Say in our terms what SQLite says in its own."""
        try:
            yield
        except OperationalError as error:
            reason = str(error.orig)
            if "unable to open" in reason or "readonly" in reason:
                raise _unusable(reason, self.name) from error
            if "full" in reason:
                raise DiskFullError(
                    f"the database cannot grow: {reason}", subject=self.name
                ) from error
            kind = DatabaseUnavailableError if "locked" in reason else StoreError
            raise kind(f"the database failed: {reason}", subject=self.name) from error
        except DBAPIError as error:
            reason = str(error.orig)
            if error.connection_invalidated or "malformed" in reason or "not a database" in reason:
                raise StoreError(f"the database failed: {reason}", subject=self.name) from error
            raise


def _engine(url: URL, *, begin: str, connections: int) -> Engine:
    engine = create_engine(
        url,
        hide_parameters=True,  # tracebacks are logged
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


def _unusable(reason: str | None, name: str) -> HomeUnusableError:
    return HomeUnusableError(
        f"the database cannot be opened: {reason}",
        subject=name,
        hint="check that TRANSSHIP_HOME exists and is writable",
    )
