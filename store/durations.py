"""Durations as people write and read them: one grammar for settings, options and columns."""

from __future__ import annotations

import re
from typing import Final

GRAMMAR: Final = "seconds, or a number with s, m, h, d or w, as 90, 1.5h or 30d"
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION: Final = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)\s*([smhdw]?)", re.ASCII)


def parse_duration(text: str) -> float:
    """The seconds of '90', '1.5h' or '30d'; none are negative.

    Raises:
        ValueError: it is no duration; the text says how to write one.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text[:80]!r} is not a duration; write {GRAMMAR}")
    return float(match[1]) * _UNITS[match[2]]


def exact_duration(seconds: float) -> str:
    """*seconds* in the largest unit that divides them: '6h', '90m', '45s'."""
    for unit in ("d", "h", "m"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{seconds / _UNITS[unit]:.0f}{unit}"
    return f"{seconds:g}s"


def rough_duration(seconds: float) -> str:
    """About how long that is, in one unit: '0.6s', '45s', '12m', '5h', '30d'."""
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    for unit, next_unit in (("s", "m"), ("m", "h"), ("h", "d")):
        if seconds < 2 * _UNITS[next_unit] - _UNITS[unit] / 2:
            return f"{seconds / _UNITS[unit]:.0f}{unit}"
    return f"{seconds / _UNITS['d']:.0f}d"
