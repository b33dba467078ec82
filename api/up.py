"""`transship up`: one command that runs a whole server, and keeps it running."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from api import locks
from api.engine import SOCKET, Engine
from api.roles import CHILD_VARIABLE, LISTENER_VARIABLE
from api.server import bind_tcp
from store.catalog import heartbeats
from store.catalog.engine import Catalog
from store.errors import MissingProgramError, StoreError
from store.home import prepare_home
from store.settings import Settings
from workers.wiring import open_catalog, sealer, write_defaults

log = logging.getLogger(__name__)

_REDIS = ("redis-server", "valkey-server")
_REDIS_START_SECONDS = 10.0
_STOP_SECONDS = 10.0
_RESTART_SECONDS = 1.0  # between two starts of the same child, lest it spin


@dataclass(slots=True)
class Child:
    """A process that is started again when it ends."""

    name: str
    command: list[str]
    environment: dict[str, str]
    pass_fds: tuple[int, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    started: float = field(default=0.0)

    def start(self) -> None:
        """Start it."""
        self.started = time.monotonic()
        self.process = subprocess.Popen(  # noqa: S603 -- our own commands
            self.command, env={**os.environ, **self.environment}, pass_fds=self.pass_fds
        )

    def stop(self) -> None:
        """Ask it to end."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def reap(self, deadline: float) -> None:
        """Wait for its end until *deadline*, then make it end."""
        if self.process is None:
            return
        try:
            self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def run(settings: Settings, *, flower: str | None, workers: int) -> int:
    """Serve until a signal comes; returns the exit code.

    Raises:
        EngineRunningError: the home is in use.
        AddressInUseError: the address is.
        MissingProgramError: Flower was asked for and there is no broker for it.
    """
    logging.basicConfig(
        level=os.environ.get("TRANSSHIP_LOG", "INFO").upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    for noisy in ("httpx", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    redis = None if settings.broker_url else next(filter(None, map(shutil.which, _REDIS)), None)
    if settings.broker_url is None and redis is None:
        return _run_in_one_process(settings, flower)
    return _Supervisor(settings, redis=redis, flower=flower, workers=workers).run()


def _run_in_one_process(settings: Settings, flower: str | None) -> int:
    if flower is not None:
        raise MissingProgramError(
            "Flower shows Celery's tasks, and there is no Redis for Celery",
            subject="--flower",
            hint="install redis-server or valkey-server, or set TRANSSHIP_BROKER_URL",
        )
    listener = bind_tcp(settings.listen_host, settings.listen_port)
    engine = Engine(settings, kind="up", listeners=[listener])
    _say(f"API  {_url(listener)}  (no Redis found: everything runs in this process)")
    _until_signal()
    engine.stop(wait_for_clients=False)
    return 0


class _Supervisor:
    """The parent of a Redis, an API, some workers and a Flower."""

    def __init__(
        self, settings: Settings, *, redis: str | None, flower: str | None, workers: int
    ) -> None:
        prepare_home(settings)
        self._settings = settings
        self._redis = redis
        self._flower = flower
        self._workers = workers
        self._broker = (
            settings.broker_url.get_secret_value()
            if settings.broker_url is not None
            else f"redis+socket://{settings.run_dir / 'redis.sock'}"
        )

    def run(self) -> int:
        """Start the children, keep them running, and end them all."""
        settings = self._settings
        lock = locks.engine_exclusive(settings.run_dir, kind="up")
        children: list[Child] = []
        try:
            listener = bind_tcp(settings.listen_host, settings.listen_port)
            catalog = open_catalog(settings)
            write_defaults(catalog, settings)
            sealer(settings)  # makes the key before two children would
            with catalog.write() as connection:  # the lock is ours: whoever had work is gone
                heartbeats.bury_everyone(connection, time.time())
            children = self._children(listener)
            self._start(children)
            self._announce(listener)
            self._keep(children, catalog)
            catalog.close()
            return 0
        finally:
            self._end(children)
            (settings.run_dir / SOCKET).unlink(missing_ok=True)
            lock.close()

    def _children(self, listener: socket.socket) -> list[Child]:
        settings = self._settings
        transship = [sys.executable, "-P", "-m", "api"]
        environment = {
            CHILD_VARIABLE: str(os.getpid()),
            "TRANSSHIP_HOME": str(settings.home),
            "TRANSSHIP_BROKER_URL": self._broker,
            "TRANSSHIP_LISTEN": settings.listen,
            LISTENER_VARIABLE: str(listener.fileno()),
        }
        children = []
        if self._redis is not None:
            children.append(Child("redis", self._redis_command(self._redis), {}))
        children.append(
            Child("api", [*transship, "api"], environment, pass_fds=(listener.fileno(),))
        )
        children += [
            Child(f"worker {number}", [*transship, "worker"], environment)
            for number in range(1, self._workers + 1)
        ]
        if self._flower is not None:
            children.append(Child("flower", self._flower_command(self._flower), environment))
        return children

    def _redis_command(self, program: str) -> list[str]:
        """A Redis on a private socket, which keeps nothing: nothing would be missed."""
        run_dir = self._settings.run_dir
        options = {
            "port": "0",
            "unixsocket": str(run_dir / "redis.sock"),
            "unixsocketperm": "700",
            "dir": str(run_dir),
            "save": "",
            "appendonly": "no",
            "maxmemory-policy": "noeviction",
            "logfile": str(run_dir / "redis.log"),
            "loglevel": "warning",
        }
        return [program, *(part for key, value in options.items() for part in (f"--{key}", value))]

    def _flower_command(self, address: str) -> list[str]:
        host, _, port = address.rpartition(":")
        return [
            sys.executable, "-P", "-m", "celery", "--app=workers.app:app",
            f"--broker={self._broker}", "flower",
            f"--address={host or '127.0.0.1'}", f"--port={port}",
            "--read-only=True", "--purge_offline_workers=300", "--logging=warning",
        ]  # fmt: skip

    def _start(self, children: list[Child]) -> None:
        for child in children:
            child.start()
            if child.name == "redis":
                self._await_redis(child)

    def _await_redis(self, child: Child) -> None:
        path = self._settings.run_dir / "redis.sock"
        deadline = time.monotonic() + _REDIS_START_SECONDS
        while not _accepts(path):
            ended = child.process is not None and child.process.poll() is not None
            if ended or time.monotonic() > deadline:
                raise StoreError(
                    "the private Redis does not start",
                    subject=str(path),
                    hint=f"see {self._settings.run_dir / 'redis.log'}",
                )
            time.sleep(0.01)

    def _announce(self, listener: socket.socket) -> None:
        where = "a private Redis" if self._redis is not None else "TRANSSHIP_BROKER_URL"
        _say(f"API     {_url(listener)}")
        _say(f"workers {self._workers}, over {where}; home {self._settings.home}")
        if self._flower is not None:
            _say(f"Flower  http://{self._flower}")

    def _keep(self, children: list[Child], catalog: Catalog) -> None:
        """Start again what has ended, until a signal comes."""
        stop = _stop_event()
        while not stop.wait(0.2):
            for child in children:
                process = child.process
                if process is None or process.poll() is None:
                    continue
                if time.monotonic() - child.started < _RESTART_SECONDS:
                    continue
                log.warning("%s ended with %s, starting it again", child.name, process.returncode)
                # Its end is certain, so nobody need wait for its leases to expire.
                with catalog.write() as connection:
                    heartbeats.bury_process(connection, process.pid, time.time())
                child.start()

    def _end(self, children: list[Child]) -> None:
        """End the children: those that serve first, Redis when nobody needs it any more."""
        deadline = time.monotonic() + _STOP_SECONDS
        redis = [child for child in children if child.name == "redis"]
        others = [child for child in children if child.name != "redis"]
        for group in (others, redis):
            for child in group:
                child.stop()
            for child in group:
                child.reap(deadline)


def _stop_event() -> threading.Event:
    stop = threading.Event()
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, lambda *_: stop.set())
    return stop


def _until_signal() -> None:
    _stop_event().wait()


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _say(line: str) -> None:
    print(line, flush=True)
