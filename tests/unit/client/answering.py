"""A server that is a function, and both clients of it behind one interface."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx

from tests.support import clients
from tests.support.clients import Kind
from transship.client import Job

URL = "https://transship.test"
Handler = Callable[[httpx.Request], httpx.Response]


def asked(kind: Kind, handler: Handler, name: str, /, *args: Any, **options: Any) -> Any:
    """What a method of a client comes to whose requests *handler* answers."""
    names = {"url": URL, "token": "tst_1", "reconnect": 15.0}
    server = {name: options.pop(name, default) for name, default in names.items()}
    transport = httpx.MockTransport(handler)
    return clients.asked(kind, {**server, "transport": transport}, name, *args, **options)


class Stream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body in pieces; an exception among them is raised in its place."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece


def job_json(**changes: Any) -> dict[str, Any]:
    """A job as the server shows it."""
    figures = ("bytes_total", "bytes_done", "bytes_moved", "bytes_skipped")
    return {
        "id": "01a2",
        "kind": "pull",
        "state": "queued",
        "label": "docker.io/library/alpine:3",
        "priority": 0,
        "parent": None,
        "root": "01a2",
        "requested_by": "token:1",
        "created_at": "2026-11-24T10:00:00.000Z",
        "started_at": None,
        "finished_at": None,
        "deadline": None,
        "progress": {**dict.fromkeys(figures, 0), "blobs_total": 0, "blobs_done": 0},
        "children": {},
        "result": None,
        "error": None,
        "superseded_by": None,
        "retry_of": None,
        "spec": {},
        **changes,
    }


ENDED = {"state": "succeeded", "finished_at": "2026-11-24T10:00:01.000Z"}


def answer_of(value: Any, status: int = 200) -> httpx.Response:
    """An answer with JSON."""
    return httpx.Response(status, json=value)


def problem(status: int, code: str, **more: Any) -> httpx.Response:
    """A refusal as the server sends it."""
    facts = {
        "type": f"urn:transship:error:{code}",
        "title": code,
        "status": status,
        "code": code,
        "side": "request",
        "subject": "it",
        "detail": "it cannot be",
        "hint": "",
        "retryable": False,
        "attempts": 1,
    }
    return httpx.Response(
        status,
        content=json.dumps(facts | more),
        headers={"Content-Type": "application/problem+json"},
    )


def lines(*events: dict[str, Any]) -> bytes:
    """Events as the server streams them."""
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def event(id_: int, type_: str = "running", **more: Any) -> dict[str, Any]:
    """An event that is stored."""
    return {"id": id_, "job": "01a2", "time": "2026-11-24T10:00:00.000Z", "type": type_, **more}


def progress(**changes: Any) -> dict[str, Any]:
    """An event that says how far the job is."""
    job = Job.model_validate(job_json(**changes)).model_dump(exclude={"spec"})
    return {"type": "progress", "job": job, "transfers": []}
