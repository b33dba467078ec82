"""Receives bodies that go into the store as they arrive, each for a job of its own."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from fastapi import Request
from starlette.requests import ClientDisconnect

from transship.api.http.pipes import ClosedPipeError, Inlet
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.errors import IncompleteBodyError, TransshipError
from transship.workers.jobs.intake import Receiver
from transship.workers.jobs.service import JobService
from transship.workers.jobs.submission import Submission
from transship.workers.runtime.context import WorkerContext

MAX_AT_ONCE = 8  # hashing takes a processor each; others wait before they send


class Bodies:
    """The bodies on their way into this process. Whoever makes it closes it."""

    def __init__(self, context: WorkerContext, queue: JobService) -> None:
        """Receive into *context*, for jobs of *queue*."""
        self._receiver = Receiver(context, queue)
        self._free = asyncio.Semaphore(MAX_AT_ONCE)
        self._threads = ThreadPoolExecutor(MAX_AT_ONCE, "bodies")

    def close(self) -> None:
        """Let what is still on its way fail, and wait until it has."""
        self._receiver.stop()
        self._threads.shutdown()

    async def receive(
        self, request: Request, wanted: Submission
    ) -> tuple[str, TransshipError | None]:
        """Make a job of *wanted* and receive its body.

        Returns the job's id and, where the body did not make it, the error with which the job has
        failed. The body of a request that was made before is not read.

        Raises:
            ConflictError, DiskFullError: there is no such job; see `Receiver.begin`.
        """
        async with self._free:
            lease = await asyncio.to_thread(self._receiver.begin, wanted)
            if isinstance(lease, str):
                return lease, None
            try:
                await self._receive(request, lease)
            except TransshipError as error:
                return lease.id, error
            return lease.id, None

    async def _receive(self, request: Request, lease: JobLease) -> None:
        inlet = Inlet()
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._threads, self._work, lease, inlet, _length(request))
        work.add_done_callback(_noticed)  # whoever is cancelled does not wait for it
        feeding = asyncio.create_task(_feed(request, inlet))
        try:
            await asyncio.wait({work, feeding}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                await feeding
            await work
        except asyncio.CancelledError:
            inlet.end(IncompleteBodyError("the server stopped before the body was whole"))
            raise
        finally:
            feeding.cancel()
            with suppress(asyncio.CancelledError, ClientDisconnect):
                await feeding

    def _work(self, lease: JobLease, inlet: Inlet, total: int | None) -> None:
        try:
            self._receiver.receive(lease, inlet.reader, total=total)
        finally:
            inlet.close()


def _noticed(work: asyncio.Future[None]) -> None:
    if not work.cancelled():
        work.exception()


async def _feed(request: Request, inlet: Inlet) -> None:
    try:
        async for piece in request.stream():
            await inlet.write(piece)
        inlet.end()
    except ClosedPipeError:
        return
    except ClientDisconnect:
        inlet.end(IncompleteBodyError("the client went away before the body was whole"))


def _length(request: Request) -> int | None:
    announced = request.headers.get("content-length", "")
    return int(announced) if announced.isdecimal() else None
