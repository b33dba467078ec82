"""A Redis server of a test's own."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.support.processes import ChildProcess, free_port

PROGRAMS = ("redis-server", "valkey-server")


def redis_program() -> str | None:
    """Return the installed server, if there is one."""
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


def require_redis() -> str:
    """Return the installed server, or skip the test."""
    program = redis_program()
    if program is None:
        pytest.skip("neither redis-server nor valkey-server is installed")
    return program


class RedisProcess:
    """A private server on a free loopback port and a unix socket.

    Nothing is kept on disk unless it is *persistent*.

    Attributes:
        url: For TCP.
        socket_path, socket_url: For the unix socket.
    """

    def __init__(
        self, directory: Path, *, port: int | None = None, persistent: bool = False
    ) -> None:
        program = require_redis()
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self.port = free_port() if port is None else port
        self.socket_path = directory / "redis.sock"
        self._command = [
            program,
            *("--port", str(self.port), "--bind", "127.0.0.1"),
            *("--unixsocket", str(self.socket_path), "--unixsocketperm", "700"),
            *("--dir", str(directory), "--save", ""),
            *("--appendonly", "yes" if persistent else "no"),
        ]
        self._process = self._start()

    @property
    def url(self) -> str:
        """The URL for TCP."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def socket_url(self) -> str:
        """The URL of the unix socket, as Celery writes it."""
        return f"redis+socket://{self.socket_path}"

    @property
    def process(self) -> ChildProcess:
        """The server's process."""
        return self._process

    def restart(self) -> None:
        """Kill the server and start another at the same place, empty unless it is persistent."""
        self._process.kill()
        self._process = self._start()

    def stop(self) -> None:
        """End the server."""
        self._process.stop()

    def answers(self) -> bool:
        """Say whether the server answers a PING."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False

    def _start(self) -> ChildProcess:
        self.socket_path.unlink(missing_ok=True)
        process = ChildProcess(self._command, directory=self._directory, name="redis")
        process.wait_ready(self.answers)
        return process

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
