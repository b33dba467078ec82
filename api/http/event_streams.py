"""Events as they happen: server-sent events, or one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi.responses import StreamingResponse

from transship.store.errors import RequestError

NDJSON = "application/x-ndjson"
SSE = "text/event-stream"
LONGEST_EVENT_ID = 18  # digits; more would not fit the database's integers

_TEXT = {"type": "string"}
_EVENT = {
    "type": "object",
    "description": "each event; its data is a JSON object",
    "required": ["data"],
    "properties": {"event": _TEXT, "id": _TEXT, "data": _TEXT},
}
STREAM: dict[str, Any] = {
    "description": "the events, as they happen",
    "content": {SSE: {"schema": _EVENT}, NDJSON: {"schema": {"type": "string"}}},
}

Events = AsyncIterator[dict[str, Any] | None]


def streamed(events: Events, accept: str) -> StreamingResponse:
    """Answer with *events*, one a line where *accept* has that; None only says we are alive."""
    lines = NDJSON in accept
    return StreamingResponse(
        _as_lines(events) if lines else _as_sse(events),
        media_type=NDJSON if lines else SSE,
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def event_id(text: str) -> int:
    """Read the id of the last event that a client has seen.

    Raises:
        RequestError: it is none.
    """
    if not (text.isascii() and text.isdecimal() and len(text) <= LONGEST_EVENT_ID):
        raise RequestError("not an id of an event", subject="Last-Event-ID")
    return int(text)


async def _as_sse(events: Events) -> AsyncIterator[str]:
    async for event in events:
        if event is None:
            yield ": still here\n\n"
            continue
        id_ = f"id: {event['id']}\n" if "id" in event else ""
        yield f"{id_}event: {event['type']}\ndata: {json.dumps(event)}\n\n"


async def _as_lines(events: Events) -> AsyncIterator[str]:
    async for event in events:
        yield "\n" if event is None else json.dumps(event) + "\n"
