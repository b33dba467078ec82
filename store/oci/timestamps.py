"""Points in time: RFC 3339 as configs write it, and what users give for `since` and `until`.

They are whole nanoseconds since the epoch, for that is how finely configs tell them.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

from transship.store.durations import parse_duration
from transship.store.errors import InvalidTimeError

NANOS = 1_000_000_000
NO_TIME = "0001-01-01T00:00:00Z"  # the zero of Go's times: what no creation time is taken for
_RFC3339 = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[Tt](\d{2}(?::\d{2})?)(?::(\d{2})(?:\.(\d{1,9})\d*)?)?)?"
    r"([Zz]|[+-]\d{2}:\d{2})?",
    re.ASCII,
)
_UNIX = re.compile(r"(\d{1,12})(?:\.(\d{1,9}))?", re.ASCII)
_UNITS = {
    "ns": 1, "us": 1000, "\u00b5s": 1000, "\u03bcs": 1000, "ms": 1_000_000,
    "s": NANOS, "m": 60 * NANOS, "h": 3600 * NANOS,
}  # fmt: skip
_PART = re.compile(r"(\d{1,20}\.?\d{0,20}|\.\d{1,20})(ns|us|\u00b5s|\u03bcs|ms|s|m|h)", re.ASCII)
_DURATION = re.compile(
    r"([+-]?)((?:(?:\d{1,20}\.?\d{0,20}|\.\d{1,20})(?:ns|us|\u00b5s|\u03bcs|ms|s|m|h)){1,32}|0)",
    re.ASCII,
)
_LONGEST = 2**63 - 1  # what Go's durations hold
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse(text: str) -> int | None:
    """Read an RFC 3339 time; None where it is none. Without a zone it is UTC.

    As Docker's filters take them, the time of day may be left out, or its minutes and seconds.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None
    day, minute, second, fraction, zone = match.groups()
    if minute is not None and ":" not in minute:
        minute += ":00"
    try:
        moment = datetime.fromisoformat(f"{day}T{minute or '00:00'}:{second or '00'}")
        moment = moment.replace(tzinfo=_zone(zone))
        seconds = (moment - _EPOCH) // timedelta(seconds=1)
    except (ValueError, OverflowError):
        return None
    return seconds * NANOS + int((fraction or "").ljust(9, "0") or 0)


def rfc3339(seconds: float) -> str:
    """A time as configs have it, in UTC, without a fraction where there is none."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def duration(text: str) -> int | None:
    """Read a duration as Go reads it (`90m`, `1h30m`, `-.5s`, `0`), in nanoseconds.

    None where it is none, or longer than 292 years.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        return None
    parts = _PART.findall(match[2])
    total = int(sum(Decimal(number) * _UNITS[unit] for number, unit in parts))
    if total > _LONGEST:
        return None
    return -total if match[1] == "-" else total


def moment(text: str, now: float) -> int:
    """Read a time as Docker's `since` and `until` take it.

    That is RFC 3339, seconds since the epoch, or how long before *now* (`90m`, `1h30m`, `30d`).

    Raises:
        InvalidTimeError: it is none of them.
    """
    if text != "0" and (before := duration(text)) is not None:
        return int(Decimal(now) * NANOS) - before
    if text[-1:] in ("d", "w"):  # which Go does not know
        with suppress(ValueError):
            return int((Decimal(now) - Decimal(parse_duration(text))) * NANOS)
    if (unix := _UNIX.fullmatch(text)) is not None:
        return int(unix[1]) * NANOS + int((unix[2] or "").ljust(9, "0"))
    found = parse(text)
    if found is None:
        raise InvalidTimeError(
            "not a point in time",
            subject=text[:160].encode("unicode_escape").decode(),
            hint="2024-05-01T12:00:00Z, seconds since the epoch, or a duration such as 24h",
        )
    return found


def _zone(text: str | None) -> timezone:
    if text is None or text in "Zz":
        return UTC
    hours, minutes = text[1:].split(":")
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    return timezone(-offset if text[0] == "-" else offset)
