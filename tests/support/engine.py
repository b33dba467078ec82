"""A whole engine in this process: a catalog, a store, and a worker on threads."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Row, text

from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.scheduling import jobs
from transship.store.content.ports import ContentStore
from transship.store.home import prepare_home
from transship.store.oci.platform import Platform
from transship.store.settings import Settings
from transship.workers.jobs.service import JobService
from transship.workers.jobs.submission import Submission
from transship.workers.process.bootstrap import make_context, open_catalog, write_defaults
from transship.workers.process.worker import Worker, threads_for
from transship.workers.registry.auth.credentials import Credential
from transship.workers.runtime.wire import LocalWire, Queue
from transship.workers.specs import parse_spec

PATIENCE_SECONDS = 60.0


class Engine:
    """Takes jobs from its start to its end; a context manager.

    Args:
        home: The data directory.
        content: Stands between the engine and its store, given the store.
        settings: Of `Settings`, by name.
    """

    def __init__(self, home: Path, *, content: Any = None, **settings: Any) -> None:
        self.settings = Settings(home=home, **settings)
        prepare_home(self.settings.home)
        self.catalog = open_catalog(self.settings)
        write_defaults(self.catalog, self.settings)
        threads = threads_for(set(Queue))
        self._wire = LocalWire(threads)
        self.context = make_context(self.settings, self.catalog, self._wire)
        if content is not None:
            object.__setattr__(self.context, "content", content(self.context.content))
        self.content: ContentStore = self.context.content
        self._worker = Worker(self.context, threads)
        self._wire.attach(self._worker.run)
        self._queue = JobService(self.catalog, self.context.sealer, self._wire, Platform.host())

    def __enter__(self) -> Self:
        self._worker.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._worker.leave(5.0)
        self._wire.close()
        self._worker.stop()
        self.context.close()

    def submit(self, *, credentials: Mapping[str, Credential] | None = None, **spec: Any) -> str:
        """Ask for a job, and return its id."""
        submission = Submission(
            spec=parse_spec(spec),
            requested_by="a test",
            tenant=HOUSE,
            credentials=credentials or {},
        )
        (answer,) = self._queue.submit([submission])
        assert isinstance(answer, str), answer
        return answer

    def end(self, id_: str) -> Row[Any]:
        """Wait until a job has ended, and return its row."""
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            with self.catalog.read() as connection:
                row = jobs.get(connection, id_)
            assert row is not None
            if row.state in jobs.ENDED:
                return row
            assert time.monotonic() < until, f"{row.label} is {row.state} still"
            time.sleep(0.02)

    def run(self, *, credentials: Mapping[str, Credential] | None = None, **spec: Any) -> Row[Any]:
        """Do a job, and return its row."""
        return self.end(self.submit(credentials=credentials, **spec))

    def ask(self, statement: str) -> list[Any]:
        """The rows of a query."""
        with self.catalog.read() as connection:
            return list(connection.execute(text(statement)).all())
