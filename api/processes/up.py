"""`transship up`: one command that runs a whole server, and keeps it running."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import sys
import threading
import time
from pathlib import Path

from transship.api.page.sessions import make_link
from transship.api.processes import locks
from transship.api.processes.embedded import Engine
from transship.api.processes.locks import SOCKET
from transship.api.processes.roles import CHILD_VARIABLE, LISTENER_VARIABLE, TASK_EVENTS_VARIABLE
from transship.api.processes.server import address_of, bind_tcp, host_and_port
from transship.api.views.children import Child
from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.scheduling import heartbeats
from transship.store.errors import MissingProgramError, RequestError, StoreError
from transship.store.home import prepare_home
from transship.store.settings import Settings
from transship.workers.process.bootstrap import (
    open_catalog,
    reap_predecessors,
    sealer,
    write_defaults,
)
from transship.workers.registry.transport.addresses import is_loopback
from transship.workers.runtime import logs

log = logging.getLogger(__name__)

_REDIS = ("redis-server", "valkey-server")
_REDIS_START_SECONDS = 10.0
_STOP_SECONDS = 10.0
_RESTART_SECONDS = 1.0  # between two starts of the same child, lest it spin


def run(settings: Settings, *, flower: str | None, workers: int) -> int:
    """Serve until a signal comes; returns the exit code.

    Raises:
        EngineRunningError: the home is in use.
        AddressInUseError: the address is.
        MissingProgramError: Flower was asked for and there is no broker for it.
    """
    stop = _stop_event()
    logs.to_stderr(settings.log, settings.log_format)
    redis = None if settings.broker_url else next(filter(None, map(shutil.which, _REDIS)), None)
    if settings.broker_url is None and redis is None:
        return _run_in_one_process(settings, flower, stop)
    return _Supervisor(settings, redis=redis, flower=flower, workers=workers).run(stop)


def _run_in_one_process(settings: Settings, flower: str | None, stop: threading.Event) -> int:
    if flower is not None:
        raise MissingProgramError(
            "Flower shows Celery's tasks, and there is no Redis for Celery",
            subject="--flower",
            hint="install redis-server or valkey-server, or set TRANSSHIP_BROKER_URL",
        )
    listener = bind_tcp(settings.listen_host, settings.listen_port)
    engine = Engine(settings, kind="up", listeners=[listener])
    logs.started("engine", home=settings.home)
    _say(f"API  {address_of(listener)}  (no Redis found: everything runs in this process)")
    _say(f"page {_login_link(listener, settings)}")
    stop.wait()
    engine.stop(wait_for_clients=False)
    return 0


class _Supervisor:
    """The parent of a Redis, an API, some workers and a Flower."""

    def __init__(
        self, settings: Settings, *, redis: str | None, flower: str | None, workers: int
    ) -> None:
        prepare_home(settings.home)
        self._settings = settings
        self._redis = redis
        self._flower = _free_address(flower) if flower is not None else None
        self._workers = workers
        self._broker = (
            settings.broker_url.get_secret_value()
            if settings.broker_url is not None
            else f"redis+socket://{settings.run_dir / 'redis.sock'}"
        )

    def run(self, stop: threading.Event) -> int:
        """Start the children, keep them running until *stop* is set, and end them all."""
        settings = self._settings
        lock = locks.engine_exclusive(settings.run_dir, kind="up")
        children: list[Child] = []
        try:
            catalog = open_catalog(settings)
            listener = bind_tcp(settings.listen_host, settings.listen_port)
            write_defaults(catalog, settings)
            sealer(settings)  # makes the key before two children would
            reap_predecessors(catalog)
            children = self._children(listener)
            self._start(children)
            self._announce(listener)
            self._keep(children, catalog, stop)
            catalog.close()
            return 0
        finally:
            self._end(children)
            (settings.run_dir / SOCKET).unlink(missing_ok=True)
            lock.close()

    def _children(self, listener: socket.socket) -> list[Child]:
        settings = self._settings
        transship = [sys.executable, "-P", "-m", "transship"]
        environment = {
            CHILD_VARIABLE: str(os.getpid()),
            "TRANSSHIP_HOME": str(settings.home),
            "TRANSSHIP_BROKER_URL": self._broker,
            "TRANSSHIP_LISTEN": settings.listen,
            LISTENER_VARIABLE: str(listener.fileno()),
            TASK_EVENTS_VARIABLE: "1" if self._flower is not None else "",
        }
        children = []
        if self._redis is not None:
            children.append(Child("redis", self._redis_command(self._redis), {}, other="REDIS_"))
        children.append(
            Child("api", [*transship, "api"], environment, pass_fds=(listener.fileno(),))
        )
        children += [
            Child(f"worker {number}", [*transship, "worker"], environment)
            for number in range(1, self._workers + 1)
        ]
        if self._flower is not None:
            # Flower reads the broker, and needs none of the server's other secrets.
            only = {"TRANSSHIP_BROKER_URL": self._broker}
            command = self._flower_command(self._flower)
            children.append(Child("flower", command, only, other="FLOWER_"))
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
        """Flower on the broker of its environment: command lines can be read by everyone."""
        host, _, port = address.rpartition(":")
        return [
            sys.executable, "-P", "-m", "celery", "--quiet",
            "--app=transship.workers.broker.app:app", "flower",
            f"--address={host.strip('[]')}", f"--port={port}",
            "--read-only=True", "--purge_offline_workers=300", "--logging=error",
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
        _say(f"API     {address_of(listener)}")
        _say(f"page    {_login_link(listener, self._settings)}")
        _say(f"workers {self._workers}, over {where}; home {self._settings.home}")
        if self._flower is not None:
            _say(f"Flower  http://{self._flower}")

    def _keep(self, children: list[Child], catalog: Catalog, stop: threading.Event) -> None:
        """Start again what has ended, until *stop* is set."""
        while not stop.wait(0.2):
            for child in children:
                process = child.process
                if process is None or process.poll() is None:
                    continue
                if time.monotonic() - child.started < _RESTART_SECONDS:
                    continue
                log.warning("%s ended with %s, starting it again", child.name, process.returncode)
                # Its end is certain, so nobody need wait for its leases to expire.
                try:
                    with catalog.write() as connection:
                        heartbeats.bury_process(connection, process.pid, catalog.now())
                except StoreError as error:
                    log.warning("what it held is free only when its leases expire: %s", error)
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


def _login_link(listener: socket.socket, settings: Settings) -> str:
    """The page's address, by which the owner of the home logs in once within the hour."""
    host, port = listener.getsockname()[:2]
    # A browser on this machine finds a server that listens everywhere on loopback.
    near = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 -- only compared
    shown = f"[{near}]" if ":" in near else near
    return f"http://{shown}:{port}/login?once={make_link(settings.run_dir)}"


def _stop_event() -> threading.Event:
    stop = threading.Event()
    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(one, lambda *_: stop.set())
    return stop


def _free_address(text: str) -> str:
    """Flower's address, which is free and on loopback: it has no login.

    Raises:
        RequestError: it is not, or no address at all.
    """
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise RequestError("expected HOST:PORT", subject=f"--flower={text}")
    name = host.strip("[]") or "127.0.0.1"
    if not is_loopback(name):
        raise RequestError(
            "Flower is served on loopback only, for it has no login",
            subject=f"--flower={text}",
            hint="use 127.0.0.1, and a proxy with a login in front",
        )
    probe = bind_tcp(name, int(port), option="--flower")
    address = host_and_port(probe)
    probe.close()
    return address


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def _say(line: str) -> None:
    print(line, flush=True)
