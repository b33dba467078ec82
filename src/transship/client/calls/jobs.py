"""Jobs: asked for, watched, stopped and tried again."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from pydantic import TypeAdapter

from transship.api.client import requests
from transship.api.client.requests import LONG_POLL_SECONDS
from transship.api.models.jobs import (
    EventList,
    JobEvent,
    JobList,
    JobSummary,
    JobView,
    ProgressEvent,
    TransferList,
    TransferView,
)
from transship.client.calls.exchange import (
    STOPPING_PAUSE,
    Credentials,
    Exchange,
    given,
    new_key,
    several,
)
from transship.client.errors import (
    JobFailedError,
    ServerFailedError,
    ThrottledError,
    UnreachableError,
    WaitTimeoutError,
)
from transship.client.steps import Answer, Call, Give, Items, Open, Read, Sleep
from transship.workers.specs import AnySpec, asked

Event = JobEvent | ProgressEvent

_ON_A_PAGE: Final = 200
_EVENT: Final[TypeAdapter[Event]] = TypeAdapter(Event)


class JobCalls(Exchange):
    """What can be asked about jobs."""

    def submit(
        self,
        spec: AnySpec | Mapping[str, Any],
        *,
        priority: int | None = None,
        deadline: float | None = None,
        credentials: Credentials | None = None,
        idempotency_key: str | None = None,
    ) -> Call[JobView]:
        """Ask for a job, and return it as it was accepted: it is on disk, and will end.

        One job is made, whatever happens to the connection: the request carries an idempotency key
        and is sent again under the same.

        Args:
            spec: What to do: a spec of `transship.client`, or the JSON object that the API takes.
            priority: -100 to 100, higher goes first; instead of the one in *spec*.
            deadline: Seconds after which the job fails; instead of the one in *spec*.
            credentials: By registry, or namespace of one; kept sealed until the job has ended.
            idempotency_key: The same key and spec give the same job, from any process; a fresh one
                where it is missing.
        """
        body = dict(spec) if isinstance(spec, Mapping) else asked(spec)
        body |= given(priority=priority, deadline=deadline)
        logins = yield from self._logins(credentials)
        request = requests.submit(body, logins).keyed(idempotency_key or new_key())
        return (yield from self._parsed(request, JobView))

    def job(self, id_: str, /) -> Call[JobView]:
        """A job as it is now."""
        return (yield from self._parsed(requests.job(id_), JobView))

    def jobs(
        self,
        *,
        state: str | Iterable[str] | None = None,
        kind: str | Iterable[str] | None = None,
        parent: str | None = None,
        limit: int | None = None,
    ) -> Items[JobSummary]:
        """Jobs without their specs, the newest first; page after page, as they are iterated over.

        Args:
            state: Those in this state, or in one of several.
            kind: Those of this kind, or of one of several.
            parent: The children of this job; by default jobs that are nobody's children.
            limit: How many at most; by default all.
        """
        filters = {"state": several(state), "kind": several(kind), "parent": parent}
        cursor: str | None = None
        left = limit
        while left is None or left > 0:
            size = _ON_A_PAGE if left is None else min(left, _ON_A_PAGE)
            request = requests.jobs(filters, limit=size, cursor=cursor)
            page = yield from self._parsed(request, JobList)
            for item in page.items:
                yield Give(item)
            if page.next is None:
                return
            cursor = page.next
            left = None if left is None else left - len(page.items)

    def wait(
        self, id_: str, /, timeout: float | None = None, *, check: bool = False
    ) -> Call[JobView]:
        """Wait until a job has ended, and return it. A server that restarts is found again.

        Args:
            id_: The job.
            timeout: Seconds; by default as many as it takes.
            check: Whether a job that has not succeeded raises JobFailedError.

        Raises:
            WaitTimeoutError: it has not ended in *timeout* seconds.
            JobFailedError: it has ended otherwise than well, and *check* is set.
        """
        began = time.monotonic()
        patience = self._patience(until=None if timeout is None else began + timeout)
        while True:
            asked_at = time.monotonic()
            seconds = float(LONG_POLL_SECONDS)
            if timeout is not None:
                seconds = min(seconds, max(0.0, began + timeout - asked_at))
            request = replace(requests.job(id_, wait=seconds), timeout=seconds + self.timeout)
            try:
                job = yield from self._parsed(request, JobView, patience)
            except (ThrottledError, ServerFailedError) as error:
                yield from patience.pause(error)
                continue
            patience.renew()
            if job.ended:
                if check and not job.succeeded:
                    raise JobFailedError(job)
                return job
            now = time.monotonic()
            if timeout is not None and now - began >= timeout:
                raise WaitTimeoutError(job, timeout)
            if now - asked_at < seconds / 2:
                yield Sleep(min(STOPPING_PAUSE, seconds / 2))

    def follow(self, id_: str, /, after: int | None = None) -> Items[Event]:
        """What happens to a job and its children, from the beginning until the job has ended.

        A JobEvent has an id and comes once. A ProgressEvent has the job as it is; the last one has
        it as it ended. A connection that is lost is made again, and continues after the last event.

        Args:
            id_: The job.
            after: The id of the last event that was seen before.
        """
        last = after or 0
        patience = self._patience()
        while True:
            ended = False
            lines = _Lines()
            try:
                answer: Answer = yield Open(requests.events(id_, after=last))
                self._check(answer)
                while piece := (yield Read()):
                    patience.renew()
                    for line in lines.of(piece):
                        event = self._validated(answer, line, _EVENT)
                        if isinstance(event, ProgressEvent):
                            ended = event.job.ended
                        else:
                            last = event.id
                        yield Give(event)
            except (UnreachableError, ThrottledError, ServerFailedError) as error:
                yield from patience.pause(error)
                continue
            if ended:
                return
            yield Sleep(STOPPING_PAUSE)

    def log(self, id_: str, /, after: int = 0) -> Items[JobEvent]:
        """What has happened to a job until now, the oldest first, from the event *after* on."""
        following: str | None = str(after)
        while following is not None:
            page = yield from self._parsed(requests.log(id_, after=following), EventList)
            for item in page.items:
                yield Give(item)
            following = page.next

    def transfers(self, id_: str, /) -> Call[list[TransferView]]:
        """Every blob that a job has waited for, in the order in which it asked."""
        return (yield from self._parsed(requests.transfers(id_), TransferList)).items

    def cancel(self, id_: str, /) -> Call[JobView]:
        """Ask a job and its children to stop, and return it; one that has ended stays as it is."""
        return (yield from self._parsed(requests.cancel(id_), JobView))

    def retry(
        self,
        id_: str,
        /,
        *,
        credentials: Credentials | None = None,
        idempotency_key: str | None = None,
    ) -> Call[JobView]:
        """Make a new job like an ended one and return it; of a mirror for the images that failed.

        One that was submitted with credentials needs them again.
        """
        logins = yield from self._logins(credentials)
        request = requests.retry(id_, logins).keyed(idempotency_key or new_key())
        return (yield from self._parsed(request, JobView))


class _Lines:
    """Whole lines of pieces as they come."""

    def __init__(self) -> None:
        self._rest = b""

    def of(self, piece: bytes) -> list[bytes]:
        """The lines that *piece* ends; empty ones only say that the server lives."""
        *whole, self._rest = (self._rest + piece).split(b"\n")
        return [line for line in whole if line]
