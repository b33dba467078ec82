"""Redis servers of a test's own."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import redis

from tests.support.processes import ChildProcess, free_port, wait_until
from tests.support.relay import Relay, connected, listening

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
            *("--repl-diskless-sync-delay", "0"),
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


class RedisPair:
    """A primary and its replica, and one address that leads to whichever is the primary.

    What leads there is a relay, as the virtual address of a managed Redis, or the name that its
    operator changes.
    """

    def __init__(self, directory: Path, *, persistent: bool = False) -> None:
        self._servers = [
            RedisProcess(directory / name, persistent=persistent) for name in ("first", "second")
        ]
        listener = listening(0)
        self.port = int(listener.getsockname()[1])
        self._relay = Relay(listener, lambda: connected(self.primary.port))
        self._replicate(self.replica, self.primary)
        self.wait_in_sync()

    @property
    def url(self) -> str:
        """The URL of the primary, whichever server that is."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def primary(self) -> RedisProcess:
        """The server that takes writes."""
        return self._servers[0]

    @property
    def replica(self) -> RedisProcess:
        """The server that follows it."""
        return self._servers[1]

    @property
    def process(self) -> ChildProcess:
        """The primary's process."""
        return self.primary.process

    def restart(self) -> None:
        """Kill the primary and start it again at the same place, as `RedisProcess.restart`."""
        self.primary.restart()

    def fail_over(self) -> None:
        """The primary dies, its replica is promoted, and a new replica is started."""
        dead = self.primary
        dead.process.kill()
        self._promote()
        dead.restart()
        self._replicate(dead, self.primary)

    def switch_over(self) -> None:
        """The primary becomes the replica; those who are connected to it stay so.

        What they write is refused with READONLY, and what they wait for ends with UNBLOCKED. New
        connections lead to the new primary.
        """
        old = self.primary
        self._promote()
        self._replicate(old, self.primary)

    def wait_in_sync(self) -> None:
        """Wait until the replica has what the primary has."""

        def in_sync() -> bool:
            with _client(self.replica) as client:
                return bool(client.info("replication").get("master_link_status") == "up")

        wait_until(in_sync, 20, "the replica to be in sync")

    def consumers(self) -> int:
        """How many connections to the primary have asked for messages last."""
        with _client(self.primary) as client:
            return sum(one["cmd"].startswith("brpop") for one in client.client_list())

    def stop(self) -> None:
        """End both servers."""
        self._relay.close()
        for server in self._servers:
            server.stop()

    def _promote(self) -> None:
        with _client(self.replica) as client:
            client.replicaof("NO", "ONE")
        self._servers.reverse()

    def _replicate(self, replica: RedisProcess, primary: RedisProcess) -> None:
        with _client(replica) as client:
            client.replicaof("127.0.0.1", str(primary.port))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def _client(server: RedisProcess) -> Any:
    return redis.Redis(port=server.port, socket_timeout=5)
