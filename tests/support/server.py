"""Transship as its users run it: real processes, talked to through the API and the command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import select

from tests.contract.catalog.prepared import prepared_sqlite
from tests.support.processes import ChildProcess, free_port, stop_all, wait_until
from tests.support.redis import RedisProcess
from transship.api.client import Client
from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.db.schema import transfers, workers
from transship.store.catalog.scheduling import jobs
from transship.store.home import read_token

TRANSSHIP = (sys.executable, "-P", "-m", "transship")


def environment(home: Path, **more: str) -> dict[str, str]:
    """What a process sees: nothing of this machine's settings, files or credentials."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home.parent),
        "DOCKER_CONFIG": str(home.parent / "docker"),
        "TRANSSHIP_HOME": str(home),
        "TRANSSHIP_TOKEN_HOSTS": "127.0.0.0/8,::1",  # the tests' registries
        **more,
    }


def run(
    *arguments: str, environ: Mapping[str, str], seconds: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run `transship` to its end."""
    return subprocess.run(
        [*TRANSSHIP, *arguments],
        env=dict(environ),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def bearer(home: Path) -> dict[str, str]:
    """Headers with the admin token that a server has made in its home."""
    return {"Authorization": f"Bearer {read_token(home)}"}


def remote(home: Path, url: str, server_home: Path) -> dict[str, str]:
    """What a process of another machine sees, which has the admin token of a server."""
    token = read_token(server_home) or ""
    return environment(home, TRANSSHIP_URL=url, TRANSSHIP_TOKEN=token)


def owner_client(url: str, home: Path) -> Client:
    """A client with the admin token that the server at *url* has made in its home."""
    return Client(url, token=read_token(home))


class Server:
    """An API and workers over a Redis, each started by hand, with nobody to start them again.

    Args:
        directory: Home, logs and Redis go there.
        workers: How many worker processes.
        redis: The broker.
        settings: More `TRANSSHIP_*` variables.
    """

    def __init__(
        self, directory: Path, *, workers: int, redis: RedisProcess, **settings: str
    ) -> None:
        self.directory = directory
        self.home = Path(settings.pop("TRANSSHIP_HOME", directory / "home"))
        self.redis = redis
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environ = environment(
            self.home, TRANSSHIP_BROKER_URL=redis.url, TRANSSHIP_LOG="INFO", **settings
        )
        self.client = Client(self.url)
        database = settings.get("TRANSSHIP_DATABASE_URL")
        self.catalog = Catalog(database or self._own_database())
        self.workers: list[ChildProcess] = []
        self._started = 0
        self.api = self._start("api", "api", "--listen", f"127.0.0.1:{self.port}")
        try:
            self.api.wait_ready(self.client.alive)
            self.client.close()
            self.client = owner_client(self.url, self.home)
            self.workers += [self._start(f"worker{n}", "worker") for n in range(workers)]
            wait_until(lambda: len(self.live_workers()) == workers, 30, "workers to register")
        except BaseException:
            self.stop()
            raise

    def _own_database(self) -> str:
        """The database in the home: one that is prepared, where there is none."""
        path = self.home / "catalog.sqlite3"
        if path.exists():
            return f"sqlite:///{path}"
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        return prepared_sqlite(self.home)

    def _start(self, name: str, *arguments: str) -> ChildProcess:
        return ChildProcess(
            [*TRANSSHIP, *arguments], directory=self.directory, name=name, environ=self.environ
        )

    def start_worker(self) -> ChildProcess:
        """Start one worker more, and return when it has registered."""
        before = set(self.live_workers())
        self._started += 1
        worker = self._start(f"another{self._started}", "worker")
        self.workers.append(worker)
        worker.wait_ready(lambda: set(self.live_workers()) - before, 30)
        return worker

    def restart_workers(self, **settings: str) -> None:
        """End the workers, and start as many with other settings."""
        count = len(self.workers)
        stop_all(self.workers)
        self.environ |= settings
        self.workers = [self._start(f"worker{n}-again", "worker") for n in range(count)]
        wait_until(lambda: len(self.live_workers()) == count, 30, "workers to register")

    def live_workers(self) -> dict[str, int]:
        """The registered workers and the process of each."""
        with self.catalog.read() as connection:
            return {row.id: row.pid for row in connection.execute(select(workers)).all()}

    def submit(self, **spec: Any) -> str:
        """Ask for a job, and return its id."""
        job: str = self.client.submit(spec, credentials={})["id"]
        return job

    def job_row(self, id_: str) -> Any:
        """A job's row."""
        with self.catalog.read() as connection:
            return jobs.get(connection, id_)

    def transfer_rows(self) -> list[Any]:
        """Every transfer there is."""
        with self.catalog.read() as connection:
            return list(connection.execute(select(transfers)).all())

    def worker_of(self, owner: str) -> ChildProcess:
        """The process of a worker that holds something."""
        pid = self.live_workers()[owner]
        return next(worker for worker in self.workers if worker.pid == pid)

    def stop(self) -> None:
        """End everything that was started here."""
        self.client.close()
        self.catalog.close()
        self.api.send(signal.SIGTERM)
        stop_all(self.workers)
        # It still serves those who have not noticed that it is not ready any more. There is nobody,
        # and a Ctrl-C tells it so.
        self.api.send(signal.SIGINT)
        self.api.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
