"""What the routes reach for."""

from __future__ import annotations

import asyncio
import queue
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request
from pydantic import AfterValidator

from transship.api.access.administration import Access
from transship.api.http.notifications import Notifications
from transship.api.http.receive import Bodies
from transship.api.http.registry_calls import RegistryCalls
from transship.api.views.liveness import Liveness
from transship.api.views.metrics import Metrics
from transship.store.catalog.db.engine import Catalog
from transship.store.content.ports import ContentStore
from transship.store.errors import TransshipError
from transship.workers.jobs.service import JobService
from transship.workers.jobs.submission import Submission
from transship.workers.runtime.context import WorkerContext
from transship.workers.runtime.wire import Wire

MAX_TOGETHER = 64


class Submitter:
    """One thread that commits waiting submissions together: one sync to disk serves many.

    An answer means that the row is on disk. No answer waits for the broker.
    """

    def __init__(self, jobs: JobService) -> None:
        """Submit to *jobs*; the thread starts at once and ends with `close`."""
        self._jobs = jobs
        self._waiting: queue.SimpleQueue[tuple[Submission, Future[str]] | None] = (
            queue.SimpleQueue()
        )
        self._thread = threading.Thread(target=self._run, name="submitter", daemon=True)
        self._thread.start()

    async def submit(self, wanted: Submission) -> str:
        """Make the job and return its id.

        Raises:
            ConflictError: another request came with the same idempotency key.
        """
        answer: Future[str] = Future()
        self._waiting.put((wanted, answer))
        return await asyncio.wrap_future(answer)

    def close(self) -> None:
        """Answer what waits, and stop."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            batch = [first]
            ending = False
            while len(batch) < MAX_TOGETHER and not self._waiting.empty():
                more = self._waiting.get()
                if more is None:
                    ending = True
                    break
                batch.append(more)
            self._commit(batch)
            if ending:
                return

    def _commit(self, batch: list[tuple[Submission, Future[str]]]) -> None:
        # A client may have gone away. Its job is made all the same; it is told nothing, and from
        # here on nobody can leave any more.
        stays = [future.set_running_or_notify_cancel() for _, future in batch]

        def committed(answers: list[str | TransshipError]) -> None:
            for (_, future), there, answer in zip(batch, stays, answers, strict=True):
                if there and isinstance(answer, TransshipError):
                    future.set_exception(answer)
                elif there:
                    future.set_result(str(answer))

        try:
            self._jobs.submit([wanted for wanted, _ in batch], committed)
        except Exception as error:  # noqa: BLE001 -- whoever waits must hear of it
            for (_, future), there in zip(batch, stays, strict=True):
                if there and not future.done():
                    future.set_exception(error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The parts behind the API."""

    context: WorkerContext
    catalog: Catalog
    content: ContentStore
    wire: Wire
    jobs: JobService
    submitter: Submitter
    bodies: Bodies
    notifications: Notifications
    liveness: Liveness
    metrics: Metrics
    access: Access
    registry_calls: RegistryCalls


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


Injected = Annotated[Services, Depends(_services)]


def _unquoted(key: str | None) -> str | None:
    """The key, which the header's draft has in quotes and most clients send without."""
    return key.strip('"') if key else None


IdempotencyKey = Annotated[str | None, Header(max_length=255), AfterValidator(_unquoted)]
