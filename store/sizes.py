"""Sizes as people read them."""

from __future__ import annotations

import re


def human_bytes(count: int) -> str:
    """*count* in decimal units, as people read sizes: '31 MB'."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if size >= 10 or unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY_UNITS = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?|[kmgt]i)b?", re.IGNORECASE)


def parse_bytes(text: str) -> int:
    """Read a size as people write it: '500000', '20M', '1.5 GB', '64MiB'; M is 10^6.

    Raises:
        ValueError: it is none.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no size; write it as 500000, 20M or 64MiB")
    unit = match[2].lower()
    return round(float(match[1]) * {**_UNITS, **_BINARY_UNITS}[unit])
