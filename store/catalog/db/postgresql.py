"""The catalog on a PostgreSQL server, for several hosts.

A write transaction is READ COMMITTED and begins by waiting for one advisory lock, as it begins
with BEGIN IMMEDIATE on SQLite. Each process has one connection for writing, since its threads
would queue for that lock anyway, and a few for reading. A server that is being restarted is waited
for, a while, before a transaction begins; a transaction under way fails, and may be tried again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from transship.store.errors import DatabaseUnavailableError, DiskFullError, StoreError

# Its number says nothing; nobody else who uses the same database may take it.
# It brings the server's clock along, so that to know the time costs no round trip.
_TURN = text("SELECT pg_advisory_xact_lock(7236832049), extract(epoch FROM clock_timestamp())")
_CLOCK = text("SELECT extract(epoch FROM clock_timestamp())")
_PATIENCE_SECONDS = 5.0  # a restart takes about one; owners must hear soon that it takes longer
_RETRY_SECONDS = 0.1
_READERS = 8

# Nobody may hold the turn, or make others wait for an answer, while leases expire.
_SESSION = {
    "statement_timeout": "60s",
    "lock_timeout": "30s",
    "idle_in_transaction_session_timeout": "10s",  # a stopped process, or a host that is gone
    "tcp_keepalives_idle": "5s",
    "tcp_keepalives_interval": "5s",
    "tcp_keepalives_count": "3",
    # To compile, and to start other processes, takes longer than any statement of ours.
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    # A plan made once for all values misses the partial indexes, and reads whole tables.
    "plan_cache_mode": "force_custom_plan",
}
# What is written is found by indexes. A plan that reads a whole table, because it is small today or
# was never analysed, would keep everybody from writing when it has grown.
_WRITER = {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off"}
_CONNECTION: dict[str, Any] = {
    "application_name": "transship",
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,  # milliseconds
}


class PostgresqlDatabase:
    """A database on a server, used by the processes of many hosts and their threads."""

    shared = True

    def __init__(self, url: URL) -> None:
        """Use the database that *url* names. Its query may set what libpq knows."""
        self.name = _name(url)
        self._writer = self._engine(
            url,
            _SESSION | _WRITER,
            isolation_level="READ COMMITTED",
            pool_size=1,
            max_overflow=0,  # that it still works is seen by who takes its turn
        )
        self._reader = self._engine(
            url,
            _SESSION,
            isolation_level="REPEATABLE READ",
            pool_size=2,
            max_overflow=_READERS - 2,
            pool_pre_ping=True,
        ).execution_options(postgresql_readonly=True)
        self._turn = threading.Lock()
        self._answered = False
        self._ahead: float | None = None  # the server's clock less our monotonic one

    def check(self) -> None:
        """A server may be anywhere, and whether it answers is seen soon enough."""

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that nobody else writes beside."""
        with self._translated(), self._turn, self._begun() as connection:
            yield connection
            connection.commit()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state, that of its first statement."""
        with self._translated(), self._reader.connect() as connection:
            yield connection
            connection.commit()  # with a rollback psycopg forgets every statement it has prepared

    def now(self) -> float:
        """Read the server's clock, as the last write transaction of this process measured it."""
        if self._ahead is None:
            with self.read() as connection:
                self._set_clock(connection.execute(_CLOCK).scalar_one())
        assert self._ahead is not None
        return time.monotonic() + self._ahead

    def lift_time_limits(self, connection: Connection) -> None:
        """Let the statements of this transaction take as long as they take."""
        for name in ("statement_timeout", "lock_timeout"):
            connection.execute(text(f"SET LOCAL {name} = 0"))

    def close(self) -> None:
        """Close every connection."""
        self._writer.dispose()
        self._reader.dispose()

    def _begun(self) -> Connection:
        """A connection that has the turn.

        A server that goes down takes along those who wait for their turn. They have done nothing
        yet, and wait again.
        """
        try:
            return self._with_turn()
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
        return self._with_turn()

    def _with_turn(self) -> Connection:
        connection = self._writer.connect()
        try:
            self._set_clock(connection.execute(_TURN).one()[1])
        except BaseException:
            connection.close()
            raise
        return connection

    def _set_clock(self, epoch_seconds: Any) -> None:
        self._ahead = float(epoch_seconds) - time.monotonic()

    def _engine(self, url: URL, settings: Mapping[str, str], **options: Any) -> Engine:
        given = {key: value for key, value in _CONNECTION.items() if key not in url.query}
        session = " ".join(f"-c {name}={value}" for name, value in settings.items())
        engine = create_engine(
            url.set(drivername="postgresql+psycopg"),
            hide_parameters=True,  # tracebacks are logged
            poolclass=QueuePool,
            pool_timeout=60,
            use_native_hstore=False,  # or each process would ask whether there is one
            connect_args={**given, "options": f"{session} {url.query.get('options', '')}"},
            **options,
        )
        engine.dialect.do_ping = _answers  # type: ignore[assignment,method-assign]

        @event.listens_for(engine, "do_connect")
        def _connect(dialect: Any, _record: Any, arguments: Any, named: Any) -> Any:
            return self._connected(lambda: dialect.connect(*arguments, **named), dialect)

        return engine

    def _connected(self, connect: Callable[[], Any], dialect: Any) -> Any:
        """A new connection; a server that has answered before is given time to come back."""
        deadline = time.monotonic() + (_PATIENCE_SECONDS if self._answered else 0.0)
        while True:
            try:
                connection = connect()
            except dialect.loaded_dbapi.OperationalError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(_RETRY_SECONDS)
            else:
                self._answered = True
                return connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Say in our terms what PostgreSQL says in its own."""
        try:
            yield
        except DBAPIError as error:
            translated = self._translation(error)
            if translated is None:
                raise
            raise translated from error

    def _translation(self, error: DBAPIError) -> StoreError | None:
        """Our error for one of the database's; None for faults of this program."""
        reason = " ".join(str(error.orig).split()).removeprefix("connection failed: ")
        state: str = getattr(error.orig, "sqlstate", None) or ""
        if state == "53100":
            return DiskFullError(f"the database cannot grow: {reason}", subject=self.name)
        if error.connection_invalidated or not state or state in _PASSING or state[:2] in _CLASSES:
            return DatabaseUnavailableError(
                f"the database cannot be used now: {reason}",
                subject=self.name,
                hint="check TRANSSHIP_DATABASE_URL, and that PostgreSQL runs there",
            )
        if state in _REFUSALS:
            return StoreError(
                f"the database refuses: {reason}", subject=self.name, hint=_REFUSALS[state]
            )
        if state[:2] in ("53", "58", "XX"):  # out of resources, input and output, internal
            return StoreError(f"the database failed: {reason}", subject=self.name)
        return None


# Codes of SQLSTATE. They pass: others hold what is wanted for too long, or the server goes down.
_PASSING = frozenset({"40001", "40P01", "55P03", "57014", "25P03", "53300"})
_CLASSES = frozenset({"08", "57"})
_REFUSALS = {
    "25006": "point TRANSSHIP_DATABASE_URL to the primary server, which can be written",
    "42501": "let the user of TRANSSHIP_DATABASE_URL own the database",
}


def _answers(connection: Any) -> bool:
    """Whether a pooled connection still works; an idle cluster asks by no transaction.

    A pipeline of nothing is one message there and one back. Any statement, the empty one too, is a
    transaction for the server, which would make each of ours two.
    """
    with connection.pipeline():
        return True


def _name(url: URL) -> str:
    """The address without anything that may be secret: user, password and query."""
    host = url.host or url.query.get("host") or "localhost"
    shown = URL.create("postgresql", host=str(host), port=url.port, database=url.database)
    return shown.render_as_string()
