"""Jobs: asked for, watched, stopped and tried again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from transship.api.client import requests
from transship.api.client.exchange import Exchange
from transship.api.client.requests import LONG_POLL_SECONDS, MAX_ON_A_PAGE, Request


class JobCalls(Exchange):
    """What can be asked about jobs, and what they take and give."""

    def submit(
        self,
        spec: dict[str, Any],
        *,
        credentials: dict[str, Any],
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """Ask for a job."""
        self._before_logins(credentials)
        return self._object(requests.submit(spec, credentials).keyed(idempotency_key))

    def send(
        self,
        path: str,
        body: Iterable[bytes],
        *,
        params: dict[str, Any],
        size: int | None,
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """Ask for a job whose *body*, of *size* bytes where that is known, is sent along.

        A body that did not make it, too, made a job: one that has failed.
        """
        request = requests.send(path, params, size=size).keyed(idempotency_key)
        response = self._response(request, content=body)
        if response.is_success:
            job: dict[str, Any] = response.json()
            return job
        if made := response.headers.get("Location", ""):
            return self.job(made.rpartition("/")[2])
        raise self._refusal(response)

    @contextmanager
    def download(self, id_: str, *, compress: str) -> Iterator[Iterator[bytes]]:
        """The bytes of an export. An end that comes early raises ServerUnreachableError."""
        with self._stream(requests.download(id_, compress=compress)) as response:
            yield response.pieces()

    def job(self, id_: str) -> dict[str, Any]:
        """A job."""
        return self._object(requests.job(id_))

    def wait(self, id_: str) -> dict[str, Any]:
        """A job, when it has ended."""
        while True:
            job = self._object(requests.job(id_, wait=LONG_POLL_SECONDS))
            if job["finished_at"] is not None:
                return job

    def jobs(self, *, limit: int | None = 100, **filters: Any) -> dict[str, Any]:
        """The newest *limit* jobs, or all of them, from as many pages as that takes."""
        wanted = {k: v for k, v in filters.items() if v is not None}
        items: list[dict[str, Any]] = []
        cursor = None
        while True:
            left = MAX_ON_A_PAGE if limit is None else limit - len(items)
            page = self._object(
                requests.jobs(wanted, limit=min(left, MAX_ON_A_PAGE), cursor=cursor)
            )
            items += page["items"]
            if page["next"] is None or len(items) == limit:
                return {"items": items, "next": page["next"]}
            cursor = page["next"]

    def rejected(self, *, limit: int) -> dict[str, Any]:
        """The last messages of the broker that could not become jobs."""
        return self._object(Request("GET", "/jobs/rejected", params={"limit": limit}))

    def transfers(self, id_: str) -> dict[str, Any]:
        """A job's transfers."""
        return self._object(requests.transfers(id_))

    def log(self, id_: str, *, after: str = "0") -> dict[str, Any]:
        """A page of a job's log."""
        return self._object(requests.log(id_, after=after))

    def cancel(self, id_: str) -> dict[str, Any]:
        """Ask a job to stop."""
        return self._object(requests.cancel(id_))

    def retry(self, id_: str, *, credentials: dict[str, Any]) -> dict[str, Any]:
        """Make a new job like an ended one."""
        self._before_logins(credentials)
        return self._object(requests.retry(id_, credentials))

    def events(self, id_: str, *, after: int = 0) -> Iterator[dict[str, Any]]:
        """A job's events from *after* on, as they happen, until it has ended."""
        return self._lines(requests.events(id_, after=after))
