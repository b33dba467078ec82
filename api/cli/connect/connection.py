"""Finds the server a command talks to, or brings one: a URL, the home's engine, its own engine."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from transship.api.cli.connect.target import NeedsServerError, Target
from transship.api.client import Client
from transship.api.client.server import shown_token
from transship.api.processes import locks
from transship.store.errors import EngineRunningError, ServerUnreachableError
from transship.store.home import prepare_home

if TYPE_CHECKING:
    from transship.api.processes.embedded import Engine

_START_SECONDS = 15.0  # an engine that has the lock but no socket yet, or a server that restarts

_SETTLE_SECONDS = 0.5  # an engine that has the lock and has not told of itself yet


class Connection:
    """A client, and behind it, where no server was there, an engine of this process."""

    def __init__(self, target: Target) -> None:
        """Connect to *target*, or start an engine.

        Raises:
            ServerUnreachableError: TRANSSHIP_URL names a server that does not answer.
            HomeUnusableError, SchemaVersionError: an engine cannot be started.
        """
        self._target = target
        self._engine: Engine | None = None
        self._presence: locks.HomeLock | None = None
        self.client = self._connect()

    @property
    def lasting(self) -> bool:
        """Whether the server stays when this command ends."""
        if self._target.url is not None:
            return True
        facts = locks.engine_facts(self._target.run_dir)
        return self._engine is None and facts.get("kind") == "up"

    def reconnect(self) -> None:
        """The server has gone: find it again, or take its place, where it ran on this home.

        Raises:
            ServerUnreachableError: it was named by its URL, and does not come back.
        """
        if self._target.url is not None:
            deadline = time.monotonic() + _START_SECONDS
            while time.monotonic() < deadline:
                if self.client.alive():
                    return
                time.sleep(0.1)
            raise ServerUnreachableError(
                "lost the server; the job continues when it is back",
                subject=self._target.url,
                hint="see `transship jobs wait`",
            )
        self.client.close()
        self._leave()
        self.client = self._connect()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.client.close()
        self._leave()
        if self._engine is None:
            return
        try:
            self._engine.stop(wait_for_clients=True)
        except KeyboardInterrupt:  # once more: the other commands must do without
            self._engine.stop(wait_for_clients=False)
            raise

    def _connect(self) -> Client:
        if self._target.url is not None:
            return server_client(self._target)
        prepare_home(self._target.home)
        began = time.monotonic()
        while True:
            self._presence = locks.client_presence(self._target.run_dir)
            client = Client("http://transship", socket=self._target.run_dir / locks.SOCKET)
            if client.alive():
                return client
            self._leave()
            try:
                from transship.api.processes.embedded import Engine  # noqa: PLC0415 -- a client needs none of it
                from transship.store.settings import Settings  # noqa: PLC0415

                self._engine = Engine(Settings.load(), kind="embedded")
            except EngineRunningError:
                client.close()
                waited = time.monotonic() - began
                kind = locks.engine_facts(self._target.run_dir).get("kind")
                if kind in locks.ROLES and waited > _SETTLE_SECONDS:
                    raise EngineRunningError(
                        "an API or a worker runs on this home by itself",
                        subject=str(self._target.home),
                        hint="set TRANSSHIP_URL to the address of the API",
                    ) from None
                if waited > _START_SECONDS:  # else it is starting, or stopping
                    raise
                time.sleep(0.05)
                continue
            return client

    def _leave(self) -> None:
        if self._presence is not None:
            self._presence.close()
            self._presence = None


def running_client(target: Target, *, seconds: float | None = None) -> Client:
    """A client of the server that is there; none is started. Whoever asks for it closes it.

    *seconds* is how long each answer may take, where that is less than usual.

    Raises:
        NeedsServerError: there is none on the data directory.
        RequestError: as `server_client`.
    """
    if target.url is not None:
        client = server_client(target)
    else:
        client = Client("http://transship", socket=target.run_dir / locks.SOCKET)
    if seconds is not None:
        client.be_quick(seconds)
    if target.url is None and not client.alive():
        client.close()
        raise NeedsServerError(
            "no server uses this data directory",
            subject=str(target.home),
            hint="start one with `transship up`, or set TRANSSHIP_URL",
        )
    return client


def server_client(target: Target) -> Client:
    """A client of the server that TRANSSHIP_URL names, with the token that it is to be shown.

    Raises:
        RequestError: everybody on the way could read the token.
    """
    assert target.url is not None
    token = shown_token(target.url, target.token, target.home)
    return Client(target.url, token=token, over_http=target.token_over_http)
