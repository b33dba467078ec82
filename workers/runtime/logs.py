"""The log of a server: a line for each thing that happened, as text or as a JSON object.

What is known of a line beyond its words is given as `extra`, under the names in `FIELDS`.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

from transship import __version__
from transship.store.text import escaped
from transship.workers.runtime.wire import TaskEvent, Wire

log = logging.getLogger("transship.jobs")
# A command that brings its engine tells of its job itself: where nothing is set up to log, nothing
# is printed.
log.addHandler(logging.NullHandler())

FIELDS: Final = ("job", "kind", "label", "outcome", "seconds", "cause")
# What others tell of themselves at INFO: neither jobs nor outages.
_NOISY: Final = ("alembic", "amqp", "celery", "httpcore", "httpx", "kombu", "uvicorn.access")
_OUTCOMES: Final = {
    "task-succeeded": "succeeded",
    "task-failed": "failed",
    "task-revoked": "cancelled",
}


class JsonLines(logging.Formatter):
    """A JSON object a line: time, level, logger, message, host, pid, and what else is known."""

    def __init__(self) -> None:
        """Tell of this host."""
        super().__init__()
        self._host = socket.gethostname()

    def format(self, record: logging.LogRecord) -> str:
        """The line, in ASCII and without line ends."""
        at = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "host": self._host,
            "pid": record.process,
            "worker": record.threadName,
        }
        line |= {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def to_stderr(level: str | None, form: Literal["text", "json"]) -> None:
    """Let this process log from *level* on, by default INFO."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonLines()
        if form == "json"
        else logging.Formatter("%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s")
    )
    logging.basicConfig(level=level or logging.INFO, handlers=[handler])
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))


def started(role: str, **facts: object) -> None:
    """The first line of a process: what it is, and what it works with."""
    known = ", ".join(f"{name} {value}" for name, value in facts.items() if value)
    logging.getLogger("transship").info(
        "%s of Transship %s started, pid %d: %s", role, __version__, os.getpid(), known
    )


def report(wire: Wire, events: Sequence[TaskEvent]) -> None:
    """Tell the log, and over *wire* Celery's monitors, what has become of jobs."""
    ended(events)
    wire.report(events)


def ended(events: Iterable[TaskEvent]) -> None:
    """A line for each job that has ended, of what monitors are told; a failure is a warning."""
    for event in events:
        outcome = _OUTCOMES.get(event.type)
        if outcome is None:
            continue
        fields = {
            "job": event.job,
            "kind": event.kind,
            "label": event.label,
            "outcome": outcome,
            "seconds": event.seconds,
            "cause": event.fields.get("exception"),
        }
        known = {name: value for name, value in fields.items() if value is not None}
        line = escaped(f"{event.kind} {event.label} {outcome}")
        if event.seconds is not None:
            line += f" after {event.seconds:.1f} s"
        if fields["cause"]:
            line += escaped(f": {fields['cause']}")
        line = " ".join(line.split())
        level = logging.WARNING if outcome == "failed" else logging.INFO
        log.log(level, "job %s: %s", event.job, line, extra=known)
