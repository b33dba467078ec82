"""What has moved in the last hour, minute by minute, and what moves now.

It is read from the transfers, and so survives a restart: the bytes of each count evenly from its
last start to its end, whatever its tries were. After a first look at the hour, each one reads what
has ended since.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, select, text

from transship.store.catalog.db.schema import TRANSFER_ENDED, TRANSFER_RUNNING
from transship.store.catalog.db.schema import transfers as table

MINUTES: Final = 60
LATE_SECONDS: Final = (
    15.0  # after its time an end may be committed; longer ago it is not looked for
)
RATE_SECONDS: Final = 10.0

_COLUMNS = (
    *(table.c.id, table.c.direction, table.c.registry),
    *(table.c.bytes_moved, table.c.started_at, table.c.finished_at),
)
_ENDED = select(*_COLUMNS).where(text(TRANSFER_ENDED), table.c.started_at.is_not(None))
_RUNNING = select(*_COLUMNS).where(text(TRANSFER_RUNNING))


@dataclass(frozen=True, slots=True)
class Moved:
    """What moved in the last hour.

    Attributes:
        minutes: When each minute began, the oldest first; the last one is not over.
        bytes: By direction, of each minute.
        rates: Bytes a second over the last ten seconds, by registry and direction.
    """

    minutes: list[int]
    bytes: dict[str, list[int]]
    rates: dict[tuple[str, str], float]


class Throughput:
    """Keeps the last hour. Safe to use from many threads."""

    def __init__(self) -> None:
        """Nothing has been read yet."""
        self._lock = threading.Lock()
        self._read_to = 0.0
        self._counted: set[int] = set()  # ids that have ended of late, in the order of `_late`
        self._late: deque[tuple[float, int]] = deque()
        self._ended: dict[str, dict[int, float]] = defaultdict(lambda: defaultdict(float))
        self._recent: deque[tuple[float, Any]] = deque()

    def read(self, connection: Connection, now: float) -> Moved:
        """The hour until *now*, which is the database's clock."""
        with self._lock:
            self._read_ended(connection, now)
            running = connection.execute(_RUNNING).all()
            minutes = [int(now // 60) - back for back in reversed(range(MINUTES))]
            sums = {way: dict(of_way) for way, of_way in self._ended.items()}
            for row in running:
                _spread(sums.setdefault(row.direction, {}), row, now)
            return Moved(
                minutes=[60 * minute for minute in minutes],
                bytes={
                    way: [int(sums.get(way, {}).get(minute, 0)) for minute in minutes]
                    for way in ("download", "upload")
                },
                rates=self._rates(running, now),
            )

    def _read_ended(self, connection: Connection, now: float) -> None:
        since = max(self._read_to - LATE_SECONDS, now - 60 * MINUTES)
        for row in connection.execute(
            _ENDED.where(table.c.finished_at > since, table.c.finished_at <= now)
        ):
            if row.id in self._counted:
                continue
            self._counted.add(row.id)
            self._late.append((row.finished_at, row.id))
            self._recent.append((row.finished_at, row))
            _spread(self._ended[row.direction], row, row.finished_at)
        self._read_to = now
        while self._late and self._late[0][0] < now - 2 * LATE_SECONDS:
            self._counted.discard(self._late.popleft()[1])
        while self._recent and self._recent[0][0] < now - RATE_SECONDS:
            self._recent.popleft()
        for of_way in self._ended.values():
            for minute in [one for one in of_way if one <= now // 60 - MINUTES]:
                del of_way[minute]

    def _rates(self, running: Any, now: float) -> dict[tuple[str, str], float]:
        found: dict[tuple[str, str], float] = defaultdict(float)
        for until, row in [*self._recent, *((now, row) for row in running)]:
            start = row.started_at if row.started_at is not None else until
            lasted = max(until - start, 0.001)
            within = max(0.0, until - max(start, now - RATE_SECONDS))
            share = min(1.0, within / lasted) if lasted > 0.001 else 1.0
            found[row.registry, row.direction] += row.bytes_moved * share / RATE_SECONDS
        return dict(found)


def _spread(minutes: dict[int, float], row: Any, until: float) -> None:
    """Add the bytes of a transfer to the *minutes* that it took."""
    start = row.started_at if row.started_at is not None else until
    first, last = int(start // 60), int(until // 60)
    lasted = until - start
    for minute in range(first, last + 1):
        if first == last or lasted <= 0:
            share = 1.0 if minute == last else 0.0
        else:
            share = (min(until, 60.0 * (minute + 1)) - max(start, 60.0 * minute)) / lasted
        minutes[minute] = minutes.get(minute, 0.0) + row.bytes_moved * share
