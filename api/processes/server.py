"""Serves the application on a TCP address, a unix socket, or both."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import cast

import uvicorn
from fastapi import FastAPI

from transship.api.http.connections import Connections, most_connections
from transship.store.errors import AddressInUseError, HomeUnusableError, StoreError
from transship.workers.process import interpreter

DRAIN_SECONDS = 2.0
_STOP_SECONDS = 5
_TICK_SECONDS = 1.0  # how often uvicorn makes the header with the date
# Whoever opens a thousand connections at once must not keep the loop from everything else.
_ACCEPTED_IN_A_ROW = 16
_QUEUED = 1024  # connections that the kernel keeps until then
_LONGEST_SOCKET_PATH = 107  # sun_path of unix(7), without its closing zero


def bind_tcp(host: str, port: int, *, option: str = "--listen") -> socket.socket:
    """A listening socket on *host* and *port*; port 0 takes a free one. *option* is for errors.

    Raises:
        AddressInUseError: somebody listens there.
        StoreError: nobody can, there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where the socket tells its protocol. With it, an
    # answer on a connection that was used before waits 40 ms for an acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise AddressInUseError(
                "another program listens there",
                subject=f"{host}:{port}",
                hint=f"choose another with {option} HOST:PORT",
            ) from None
        raise StoreError(
            f"cannot listen there: {error.strerror}", subject=f"{host}:{port}"
        ) from error
    listener.listen(128)
    return listener


def bind_unix(path: Path) -> socket.socket:
    """A listening socket at *path*, for the owner of the home only.

    What was there is replaced: the caller holds the engine's lock.

    Raises:
        HomeUnusableError: the path is too long for a socket.
    """
    if len(os.fsencode(path)) > _LONGEST_SOCKET_PATH:
        raise HomeUnusableError(
            f"the path is too long for a socket in it ({_LONGEST_SOCKET_PATH} bytes at most)",
            subject=str(path),
            hint="set TRANSSHIP_HOME to a shorter path",
        )
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    listener.listen(128)
    return listener


class _Uvicorn(uvicorn.Server):
    drain_seconds = 0.0
    listeners: Sequence[socket.socket] = ()
    _loop: asyncio.AbstractEventLoop | None = None

    async def main_loop(self) -> None:
        for one in self.listeners:
            one.listen(_QUEUED)  # asyncio has just said how many it accepts in a row
        self._stopped = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        # uvicorn looks ten times a second whether it is to stop. Its own tick is called as often
        # as it has something to do, and a stop is heard at once.
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(_TICK_SECONDS):
                    await self._stopped.wait()
        # Requests that wait for news would hold up the end, and be cut off in the middle.
        self.config.app.state.notifications.close()  # type: ignore[union-attr]
        until = time.monotonic() + self.drain_seconds
        # A signal's handler sets the flag, which is uvicorn's.
        while time.monotonic() < until and not self.force_exit:  # noqa: ASYNC110
            await asyncio.sleep(0.1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self.server_state.connections:
            await super().shutdown(sockets)
            return
        for server in self.servers:  # nobody is there to be waited for, as uvicorn does, for 0.1 s
            server.close()
        for one in sockets or ():
            one.close()
        await self.lifespan.shutdown()

    def leave(self) -> None:
        """Stop serving; from any thread, or a signal's handler."""
        self.should_exit = True
        if self._loop is not None:
            with suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._stopped.set)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self.leave()


def address_of(listener: socket.socket) -> str:
    """The address of a listening socket, as a client is given it."""
    if listener.family == socket.AF_UNIX:
        return f"unix:{listener.getsockname()}"
    return f"http://{host_and_port(listener)}"


def host_and_port(listener: socket.socket) -> str:
    """Where a socket listens for TCP, as in a URL."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Server:
    """uvicorn in a thread of this process, or in its main thread."""

    def __init__(self, app: FastAPI, listeners: list[socket.socket]) -> None:
        """Serve *app* on *listeners*; nothing is served before `start` or `run`."""
        self._listeners = listeners
        app.state.addresses = [address_of(one) for one in listeners]
        self.connections = connections = Connections(most_connections())
        self._uvicorn = _Uvicorn(
            uvicorn.Config(
                app,
                http=cast("type[asyncio.Protocol]", connections.protocol),  # what makes one
                log_level="warning",
                access_log=False,
                lifespan="on",
                backlog=_ACCEPTED_IN_A_ROW,
                timeout_graceful_shutdown=_STOP_SECONDS,
                timeout_keep_alive=30,
            )
        )
        self._uvicorn.listeners = listeners
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Serve from a thread; connections wait in the listeners' queues until it is ready."""
        self._thread = threading.Thread(
            target=self._uvicorn.run, args=(self._listeners,), name="api", daemon=True
        )
        self._thread.start()

    def run(self, *, drain_seconds: float = 0.0) -> None:
        """Serve from this, the main thread, until a signal comes, and *drain_seconds* longer.

        In these it is not ready any more, so that whoever shares out requests goes elsewhere, and
        it still serves those who have not noticed. Ctrl-C a second time cuts them short.
        """
        self._uvicorn.drain_seconds = drain_seconds
        interpreter.settle()
        self._uvicorn.run(self._listeners)

    def stop(self) -> None:
        """Stop serving; what is being answered gets a few seconds."""
        self._uvicorn.leave()
        if self._thread is not None:
            self._thread.join()
