"""The whole stack in one process: API, worker and local executors, on the home's unix socket.

A command that finds no server brings this with it. `transship up` runs it too where there is no
Redis.
"""

from __future__ import annotations

import socket

from transship.api.access import owner_token
from transship.api.access.administration import Access
from transship.api.app import create_app
from transship.api.processes import locks
from transship.api.processes.locks import SOCKET
from transship.api.processes.server import Server, bind_unix
from transship.store.home import prepare_home
from transship.store.settings import Settings
from transship.workers.process.bootstrap import (
    make_context,
    open_catalog,
    reap_predecessors,
    write_defaults,
)
from transship.workers.process.worker import HAND_BACK_SECONDS, Worker, threads_for
from transship.workers.runtime.wire import LocalWire, Queue


class Engine:
    """One engine on one home. Whoever starts it stops it."""

    def __init__(
        self, settings: Settings, *, kind: str, listeners: list[socket.socket] | None = None
    ) -> None:
        """Take the home and start everything.

        Raises:
            EngineRunningError: somebody has it.
            HomeUnusableError, SchemaVersionError: it cannot be used.
        """
        prepare_home(settings.home)
        self._settings = settings
        self._lock = locks.engine_exclusive(settings.run_dir, kind=kind)
        try:
            self._start(settings, listeners or [])
        except BaseException:
            self._lock.close()
            raise

    def _start(self, settings: Settings, listeners: list[socket.socket]) -> None:
        catalog = open_catalog(settings)
        write_defaults(catalog, settings)
        threads = threads_for(set(Queue))
        self._wire = LocalWire(threads)
        self._context = make_context(settings, catalog, self._wire)
        reap_predecessors(catalog)
        if listeners:
            owner_token.make_first(settings.home, Access(catalog, self._context.sealer))
        self._worker = Worker(self._context, threads)
        self._wire.attach(self._worker.run)
        self._server = Server(
            create_app(self._context, page=bool(listeners)),
            [*listeners, bind_unix(settings.run_dir / SOCKET)],
        )
        self._server.start()
        self._worker.start()

    def stop(self, *, wait_for_clients: bool) -> None:
        """Hand back what runs, and leave the home; first let the last command leave, if asked."""
        gate = locks.no_clients(self._settings.run_dir, wait=wait_for_clients)
        self._worker.leave(HAND_BACK_SECONDS)
        self._wire.close()
        self._worker.stop()
        self._server.stop()
        (self._settings.run_dir / SOCKET).unlink(missing_ok=True)
        self._context.close()
        self._lock.close()
        if gate is not None:
            gate.close()
