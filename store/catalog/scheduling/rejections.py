"""Messages that could not become jobs, kept where operators see them; the newest ones only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select

from transship.store.catalog.db.schema import rejected_messages

MAX_KEPT = 1000
EXCERPT_CHARS = 1000
REASON_CHARS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A message that was rejected at *time*. *excerpt* is its beginning, escaped to ASCII."""

    time: float
    reason: str
    excerpt: str


def record(connection: Connection, rejected: Iterable[tuple[str, bytes]], now: float) -> None:
    """Keep the reason and the beginning of each message, and forget the oldest ones."""
    rows = [
        {"time": now, "reason": _escaped(reason, REASON_CHARS), "excerpt": excerpt(raw)}
        for reason, raw in rejected
    ]
    if not rows:
        return
    connection.execute(insert(rejected_messages), rows)
    connection.execute(
        delete(rejected_messages).where(rejected_messages.c.id <= count(connection) - MAX_KEPT)
    )


def newest(connection: Connection, limit: int) -> list[Rejection]:
    """The last *limit* messages that were rejected, the newest first."""
    found = connection.execute(
        select(rejected_messages).order_by(rejected_messages.c.id.desc()).limit(limit)
    )
    return [Rejection(time=r.time, reason=r.reason, excerpt=r.excerpt) for r in found]


def count(connection: Connection) -> int:
    """How many messages were rejected so far, forgotten ones too: the newest one's number."""
    return connection.execute(select(func.max(rejected_messages.c.id))).scalar() or 0


def excerpt(raw: bytes) -> str:
    """The beginning of a message as text that harms no terminal and no database."""
    return _escaped(raw[:EXCERPT_CHARS].decode("utf-8", "backslashreplace"), EXCERPT_CHARS)


def _escaped(text: str, most: int) -> str:
    escaped = text.encode("unicode_escape").decode()
    return escaped if len(escaped) <= most else f"{escaped[:most]}..."
