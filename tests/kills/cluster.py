"""The processes that are killed, each started again at once, and the registries around them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select

from tests.support.postgres import PostgresCluster
from tests.support.processes import ChildProcess, free_port, wait_until
from tests.support.proxy import Action, ProxiedRequest, SlowProxy
from tests.support.redis import RedisPair, RedisProcess
from tests.support.registries import RegistryProcess
from tests.support.server import TRANSSHIP, environment, owner_client
from tests.support.up import processes_under
from transship.api.client import Client
from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.db.schema import workers
from transship.store.errors import TransshipError

LEASE_SECONDS = 2
BODY_BYTES_PER_SECOND = 4_000_000
HEAD_SECONDS = 0.08  # so that control work can be caught at it
PUT_SECONDS = 0.25
ROLES = {
    "control": ["worker", "-Q", "control,local"],
    "download 1": ["worker", "-Q", "downloads"],
    "download 2": ["worker", "-Q", "downloads"],
    "upload 1": ["worker", "-Q", "uploads"],
    "upload 2": ["worker", "-Q", "uploads"],
}


FAILOVERS = ("failover", "switchover")


def slowly(request: ProxiedRequest) -> Action | None:
    """Real registries take their time; a claim lasts long enough to be hit."""
    if request.is_blob_get or request.is_upload:
        return Action(bytes_per_second=BODY_BYTES_PER_SECOND)
    if "/manifests/" in request.path:
        return Action(delay_seconds=PUT_SECONDS if request.method == "PUT" else HEAD_SECONDS)
    return None


@dataclass
class Cluster:
    """A running Transship whose parts can be killed by name; each comes back at once.

    *shape*: "roles", single processes as in production on several hosts, or "up".
    """

    directory: Path
    shape: str
    source: SlowProxy
    target: SlowProxy
    upstream: RegistryProcess
    redis: RedisProcess | RedisPair
    postgres: PostgresCluster | None
    database_url: str
    lease_seconds: float = LEASE_SECONDS
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.home = self.directory / "home"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environ = environment(
            self.home,
            TRANSSHIP_LEASE_SECONDS=str(self.lease_seconds),
            TRANSSHIP_BROKER_URL=self.redis.url,
            TRANSSHIP_DATABASE_URL=self.database_url,
            TRANSSHIP_MAX_CONCURRENT_DOWNLOADS="4",
            TRANSSHIP_MAX_CONCURRENT_UPLOADS="4",
            TRANSSHIP_LOG="WARNING",
            **self.settings,
        )
        self.client = Client(self.url)
        self.processes: dict[str, ChildProcess] = {}
        self._lives: dict[str, int] = {}
        for role in ("up",) if self.shape == "up" else ("api", *ROLES):
            self.start(role)
            if role in ("api", "up"):
                self.processes[role].wait_ready(self.client.alive, 60)
        self.client.close()
        self.client = owner_client(self.url, self.home)
        self.catalog = Catalog(self.database_url)
        wait_until(lambda: len(self.worker_pids()) >= self.expected_workers, 60, "workers")

    @property
    def expected_workers(self) -> int:
        """How many worker processes there are when all live."""
        return 3 if self.shape == "up" else len(ROLES)

    def start(self, role: str) -> None:
        """Start a process for a role."""
        arguments = {
            "api": ["api", "--listen", f"127.0.0.1:{self.port}"],
            "up": ["up", "--listen", f"127.0.0.1:{self.port}", "--workers", "3"],
            **ROLES,
        }[role]
        life = self._lives[role] = self._lives.get(role, 0) + 1
        self.processes[role] = ChildProcess(
            [*TRANSSHIP, *arguments],
            directory=self.directory,
            name=f"{role.replace(' ', '-')}.{life}",
            environ=self.environ,
        )

    def kill(self, role: str) -> None:
        """SIGKILL a role; PostgreSQL is told to stop at once, without a word to anybody.

        "failover" kills the primary Redis and promotes its replica, "switchover" swaps the two.
        """
        if role == "redis":
            self.redis.process.kill()
        elif role in FAILOVERS:
            pair = self._pair()
            (pair.fail_over if role == "failover" else pair.switch_over)()
        elif role == "postgres":
            assert self.postgres is not None
            self.postgres.crash()
        else:
            process = self.processes[role]
            children = processes_under(process.pid) if role == "up" else {}
            process.kill()
            # They end with it, and let go of its port.
            wait_until(lambda: all(map(ended, children)), 15, "the children of `up` to end")

    def supervise(self) -> None:
        """Start again what ended because the database was away when it began, as systemd does."""
        for role, process in list(self.processes.items()):
            if process.exit_status == 1 and "database" in process.log[-2000:]:
                self.start(role)

    def revive(self, role: str) -> None:
        """Start a role again that was killed."""
        if role == "redis":
            self.redis.restart()
        elif role in FAILOVERS:
            wait_until(self._all_ask, 30, "every worker to ask the new primary for messages")
        elif role == "postgres":
            assert self.postgres is not None
            self.postgres.come_back()
        else:
            self.start(role)
            if role == "up":  # all of it died: what nobody has got to yet has to get its chance
                self.processes[role].wait_ready(self.client.alive, 60)
                wait_until(lambda: self._living() >= self.expected_workers, 60, "workers")

    def wait_in_sync(self) -> None:
        """Wait until Redis can fail over."""
        self._pair().wait_in_sync()

    def _pair(self) -> RedisPair:
        assert isinstance(self.redis, RedisPair)
        return self.redis

    def _all_ask(self) -> bool:
        self.supervise()
        return self._pair().consumers() >= self.expected_workers

    def _living(self) -> int:
        return sum(not ended(pid) for pid in self.worker_pids().values())

    def role_of(self, worker: str) -> str | None:
        """Which of the processes started here a worker is; in "up" it is a child of it."""
        pid = self.worker_pids().get(worker)
        for role, process in self.processes.items():
            if process.pid == pid:
                return role
        return None

    def worker_pids(self) -> dict[str, int]:
        """The registered workers and the process of each."""
        found: dict[str, int] = self.read(
            lambda connection: {
                row.id: row.pid for row in connection.execute(select(workers)).all()
            }
        )
        return found

    def read(self, query: Callable[[Any], Any]) -> Any:
        """Read the catalog; again while the database is away."""

        def once() -> tuple[Any] | None:
            try:
                with self.catalog.read() as connection:
                    return (query(connection),)
            except TransshipError:
                return None

        (found,) = wait_until(once, 30, "the database to answer") or (None,)
        return found

    def stop(self) -> None:
        """End everything that was started here."""
        self.client.close()
        self.catalog.close()
        for process in self.processes.values():
            process.stop()


@contextmanager
def cluster(
    directory: Path,
    *,
    shape: str = "roles",
    postgres: bool = False,
    persistent_redis: bool = False,
    redis_pair: bool = False,
    lease_seconds: float = LEASE_SECONDS,
    **settings: str,
) -> Iterator[Cluster]:
    """A cluster between two slow registries of its own."""
    directory.mkdir(parents=True)
    with ExitStack() as running:
        upstream = running.enter_context(
            RegistryProcess(directory / "source", host_name="localhost")
        )
        downstream = running.enter_context(
            RegistryProcess(directory / "target", host_name="localhost")
        )
        redis: RedisProcess | RedisPair
        if redis_pair:
            redis = RedisPair(directory / "redis", persistent=persistent_redis)
        else:
            redis = RedisProcess(directory / "redis", persistent=persistent_redis)
        running.callback(redis.stop)
        database = running.enter_context(PostgresCluster(durable=True)) if postgres else None
        url = f"sqlite:///{directory / 'home' / 'catalog.sqlite3'}"
        if database is not None:
            name = running.enter_context(database.database())
            url = database.url(name)
        made = Cluster(
            directory=directory,
            shape=shape,
            source=running.enter_context(
                SlowProxy(upstream.host, on_request=slowly, host_name="localhost")
            ),
            target=running.enter_context(
                SlowProxy(downstream.host, on_request=slowly, host_name="localhost")
            ),
            upstream=upstream,
            redis=redis,
            postgres=database,
            database_url=url,
            lease_seconds=lease_seconds,
            settings=settings,
        )
        running.callback(made.stop)
        yield made


def ended(pid: int) -> bool:
    """Whether no process has that id any more."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
