"""What the terminal is like, if there is one: its width, and the time where its reader is."""

from __future__ import annotations

import shutil
import sys
from datetime import datetime


def width() -> int | None:
    """The columns of the terminal that is written to; None where it is a file or a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def shown_time(text: str | None, absent: str = "-") -> str:
    """A time of the API: local on a terminal, and as it is elsewhere, for programs read that."""
    if text is None:
        return absent
    return local_time(text) if sys.stdout.isatty() else text


def local_time(text: str) -> str:
    """A time of the API in the zone of this machine, to the second."""
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def seconds_since(text: str, until: str | None = None) -> float:
    """The seconds from a time of the API to another, or to now."""
    began = datetime.fromisoformat(text)
    ended = datetime.now(began.tzinfo) if until is None else datetime.fromisoformat(until)
    return max(0.0, (ended - began).total_seconds())
