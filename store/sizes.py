"""Sizes as people read them."""

from __future__ import annotations


def human_bytes(count: int) -> str:
    """*count* in decimal units, as people read sizes: '31 MB'."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if size >= 10 or unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
