"""Jobs: asked for, watched, stopped and tried again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from transship.api.client.exchange import BODY, Exchange, given, quoted

_WAIT_SECONDS = 30
_MAX_ON_A_PAGE = 1000


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
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return self._object(
            "POST", "/jobs", json={**spec, "credentials": credentials}, headers=headers
        )

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
        headers = {"Content-Type": "application/x-tar"}
        if size is not None:
            headers["Content-Length"] = str(size)
        if idempotency_key:
            headers["Idempotency-Key"] = idempotency_key
        response = self._response(
            "POST", path, content=body, params=given(**params), headers=headers, timeout=BODY
        )
        if response.is_success:
            job: dict[str, Any] = response.json()
            return job
        if made := response.headers.get("Location", ""):
            return self.job(made.rpartition("/")[2])
        raise self._refusal(response)

    @contextmanager
    def download(self, id_: str, *, compress: str) -> Iterator[Iterator[bytes]]:
        """The bytes of an export. An end that comes early raises ServerUnreachableError."""
        path = f"/exports/{quoted(id_)}"
        with self._stream(path, params={"compress": compress}, timeout=BODY) as response:
            yield response.pieces()

    def job(self, id_: str) -> dict[str, Any]:
        """A job."""
        return self._object("GET", f"/jobs/{quoted(id_)}")

    def wait(self, id_: str) -> dict[str, Any]:
        """A job, when it has ended."""
        while True:
            job = self._object("GET", f"/jobs/{quoted(id_)}", params={"wait": _WAIT_SECONDS})
            if job["finished_at"] is not None:
                return job

    def jobs(self, *, limit: int | None = 100, **filters: Any) -> dict[str, Any]:
        """The newest *limit* jobs, or all of them, from as many pages as that takes."""
        wanted = {k: v for k, v in filters.items() if v is not None}
        items: list[dict[str, Any]] = []
        while True:
            left = _MAX_ON_A_PAGE if limit is None else limit - len(items)
            page = self._object(
                "GET", "/jobs", params={**wanted, "limit": min(left, _MAX_ON_A_PAGE)}
            )
            items += page["items"]
            if page["next"] is None or len(items) == limit:
                return {"items": items, "next": page["next"]}
            wanted["cursor"] = page["next"]

    def rejected(self, *, limit: int) -> dict[str, Any]:
        """The last messages of the broker that could not become jobs."""
        return self._object("GET", "/jobs/rejected", params={"limit": limit})

    def transfers(self, id_: str) -> dict[str, Any]:
        """A job's transfers."""
        return self._object("GET", f"/jobs/{quoted(id_)}/transfers")

    def log(self, id_: str, *, after: str = "0") -> dict[str, Any]:
        """A page of a job's log."""
        return self._object("GET", f"/jobs/{quoted(id_)}/log", params={"after": after})

    def cancel(self, id_: str) -> dict[str, Any]:
        """Ask a job to stop."""
        return self._object("POST", f"/jobs/{quoted(id_)}/cancel")

    def retry(self, id_: str, *, credentials: dict[str, Any]) -> dict[str, Any]:
        """Make a new job like an ended one."""
        self._before_logins(credentials)
        return self._object("POST", f"/jobs/{quoted(id_)}/retry", json={"credentials": credentials})

    def events(self, id_: str, *, after: int = 0) -> Iterator[dict[str, Any]]:
        """A job's events from *after* on, as they happen, until it has ended."""
        headers = {"Last-Event-ID": str(after)}
        return self._lines(f"/jobs/{quoted(id_)}/events", headers=headers)
