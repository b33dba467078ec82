"""A PostgreSQL of the tests' own."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
import pytest

from tests.support.processes import ChildProcess, free_port

USER, PASSWORD = "transship", "kept out of every message"
_PLACES = "/usr/lib/postgresql/*/bin"  # Debian keeps them off PATH
_UNPRIVILEGED = ("postgres", "nobody")  # the server refuses to run as root
_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
_SMALL = ("shared_buffers=32MB", "max_connections=60", "max_wal_size=256MB")


def postgres_programs() -> Path | None:
    """Return the directory of the installed server's programs, the newest if there are several."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    places = [path for path in Path("/").glob(_PLACES[1:]) if (path / "initdb").exists()]
    return max(places, key=lambda path: int(path.parent.name), default=None)


def require_postgres() -> Path:
    """Return the directory of the server's programs, or skip the test."""
    programs = postgres_programs()
    if programs is None:
        pytest.skip("postgresql is not installed")
    return programs


class PostgresCluster:
    """A server on a free loopback port, with a password, and with its files in a directory.

    The directory is not the tests' own, into which only their user may look; it goes with the
    server.

    Args:
        durable: Keep what is committed even over a crash of the machine; slower.
    """

    def __init__(self, *, durable: bool = False) -> None:
        self._programs = require_postgres()
        self._as_user = _unprivileged()
        self._directory = Path(tempfile.mkdtemp(prefix="transship-postgres-"))
        self._numbers = count(1)
        self.port = free_port()
        options = ["listen_addresses=127.0.0.1", f"unix_socket_directories={self._directory}"]
        options += [*_SMALL, *(() if durable else _FAST)]
        self._command: list[str | Path] = [
            *self._as_user,
            *(self._programs / "postgres", "-D", self._directory / "data", "-p", str(self.port)),
            *(part for option in options for part in ("-c", option)),
        ]
        try:
            self._make()
            self._process = self._start()
        except BaseException:
            shutil.rmtree(self._directory, ignore_errors=True)
            raise

    @property
    def process(self) -> ChildProcess:
        """The server's first process."""
        return self._process

    def url(self, database: str = "postgres") -> str:
        """The URL of a database over TCP, with the password."""
        return (
            f"postgresql://{USER}:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{self.port}/{database}"
        )

    def socket_url(self, database: str = "postgres") -> str:
        """The URL of a database over the unix socket."""
        where = f"?host={self._directory}&port={self.port}"
        return f"postgresql://{USER}:{PASSWORD.replace(' ', '%20')}@/{database}{where}"

    @contextmanager
    def database(self, *, template: str = "template0") -> Iterator[str]:
        """A new database, dropped in the end with whoever is connected; gives its name."""
        name = f"test_{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield name
        finally:
            self.run(f"DROP DATABASE {name} WITH (FORCE)")

    def run(self, statement: str) -> None:
        """Run one statement of an administrator."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement)

    def go_down(self) -> None:
        """Cut every connection and end, as `pg_ctl stop -m fast` does."""
        self._process.send(signal.SIGINT)
        self._process.wait(20)

    def crash(self) -> None:
        """End at once and without a checkpoint, as `pg_ctl stop -m immediate` does."""
        self._process.send(signal.SIGQUIT)
        self._process.wait(20)

    def come_back(self) -> None:
        """Start again with what was committed."""
        self._process = self._start()

    def stop(self) -> None:
        """End the server, and remove its files."""
        if self._process.exit_status is None:
            self._process.send(signal.SIGQUIT)  # nobody wants the files: no checkpoint
            self._process.wait(20)
        shutil.rmtree(self._directory, ignore_errors=True)

    def _make(self) -> None:
        password = self._directory / "password"
        password.write_text(PASSWORD + "\n")
        if self._as_user:
            self._give_away(self._directory)
            self._give_away(password)
        subprocess.run(
            [
                *self._as_user,
                *(self._programs / "initdb", "--pgdata", self._directory / "data"),
                *("--username", USER, f"--pwfile={password}", "--auth=scram-sha-256"),
                *("--encoding=UTF8", "--no-locale", "--no-sync", "--no-instructions"),
            ],
            cwd=self._directory,
            check=True,
            capture_output=True,
        )

    def _give_away(self, path: Path) -> None:
        record = pwd.getpwnam(re.sub(".*=", "", self._as_user[1]))
        os.chown(path, record.pw_uid, record.pw_gid)

    def _start(self) -> ChildProcess:
        process = ChildProcess(self._command, directory=self._directory, name="postgres")
        process.wait_ready(self._answers)
        return process

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def _unprivileged() -> list[str]:
    """What to put before a command so that it does not run as root."""
    if os.geteuid() != 0:
        return []
    known = {record.pw_name for record in pwd.getpwall()}
    user = next((name for name in _UNPRIVILEGED if name in known), None)
    if user is None or shutil.which("setpriv") is None:
        pytest.skip("PostgreSQL does not run as root, and there is no setpriv or nobody to run it")
    group = pwd.getpwnam(user).pw_gid
    return [
        *("setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"),
        "--pdeathsig=QUIT",  # tests that are killed leave no server behind
    ]
