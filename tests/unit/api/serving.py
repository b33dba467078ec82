"""The HTTP application on a real port, over a real database; no worker takes up what it accepts."""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from sqlalchemy import Connection

from transship.api.access.administration import Access, NewToken
from transship.api.app import create_app
from transship.api.http.audit_log import OWNER
from transship.api.http.notifications import Notifications
from transship.api.processes.server import Server, bind_tcp, bind_unix
from transship.api.services import Submitter
from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.scheduling.heartbeats import Threads
from transship.store.home import prepare_home
from transship.store.settings import Settings
from transship.workers.process.bootstrap import make_context, write_defaults
from transship.workers.runtime.wire import LocalWire

PREFIX = "/api/v1"


class CountingCatalog(Catalog):
    """A catalog that counts its write transactions."""

    writes = 0

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A write transaction, counted when it is committed."""
        with super().write() as connection:
            yield connection
        self.writes += 1


class Api:
    """A served application, and a client for it.

    Args:
        directory: The home is there.

    Attributes:
        http: Asks without the prefix of the API, over the home's socket: as its owner, or with a
            token that is given.
        anybody: The same over TCP.
        home, catalog, news: The application's own.
    """

    def __init__(self, directory: Path) -> None:
        settings = Settings(home=directory / "home")
        prepare_home(settings.home)
        self.catalog = CountingCatalog(settings.catalog_url)
        self.catalog.prepare()
        write_defaults(self.catalog, settings)
        self.wire = LocalWire(Threads(control=1, downloads=1, uploads=1, local=1))
        self.context = make_context(settings, self.catalog, self.wire)
        listener = bind_tcp("127.0.0.1", 0)
        self.address: tuple[str, int] = listener.getsockname()
        self.home = settings.home
        app = create_app(self.context)
        self.notifications: Notifications = app.state.notifications
        self._state = app.state
        self._short = tempfile.TemporaryDirectory()  # paths of sockets must not be long
        self._socket = Path(self._short.name) / "api.sock"
        self.server = Server(app, [listener, bind_unix(self._socket)])
        self.server.start()
        limits = httpx.Limits(max_connections=200)
        base_url = "http://{}:{}".format(*self.address)
        self.http = httpx.Client(
            base_url=base_url,
            timeout=20,
            transport=httpx.HTTPTransport(uds=str(self._socket), limits=limits),
        )
        self.anybody = httpx.Client(base_url=base_url, timeout=20, limits=limits, trust_env=False)

    @property
    def submitter(self) -> Submitter:
        """What commits requests; there once the server has answered."""
        submitter: Submitter = self._state.services.submitter
        return submitter

    def connect(self, timeout: float) -> socket.socket:
        """A connection of the owner's, for requests that are not well."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout)
        connection.connect(str(self._socket))
        return connection

    def get(self, path: str, **options: Any) -> httpx.Response:
        """GET under the prefix."""
        return self.http.get(PREFIX + path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        """POST under the prefix."""
        return self.http.post(PREFIX + path, **options)

    def submit(self, reference: str = "localhost:1/team/app:1", **more: Any) -> dict[str, Any]:
        """Ask for a pull, which stays queued."""
        answer = self.post("/jobs", json={"kind": "pull", "reference": reference, **more})
        assert answer.status_code == 202, answer.text
        job: dict[str, Any] = answer.json()
        return job

    def token(self, *scopes: str, name: str | None = None, expires: int | None = None) -> str:
        """Make a token; the server knows it at the latest a second after."""
        access = Access(self.catalog, self.context.sealer)
        wanted = NewToken(name=name, scopes=list(scopes), expires_in_seconds=expires)
        return access.create_token(wanted, OWNER).token

    def in_background(self, ask: Any) -> tuple[threading.Thread, list[Any]]:
        """Call *ask* on a thread; its answer goes into the list."""
        answers: list[Any] = []
        thread = threading.Thread(target=lambda: answers.append(ask()))
        thread.start()
        return thread, answers

    def stop(self) -> None:
        """Stop serving, and close all."""
        self.http.close()
        self.anybody.close()
        self.server.stop()
        self._short.cleanup()
        self.wire.close()
        self.context.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
