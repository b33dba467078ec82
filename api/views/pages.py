"""Pages of answers, which have a bound in bytes beside the one in items."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

MAX_PAGE_BYTES: Final = 1024 * 1024

_Item = TypeVar("_Item")


def within_page(items: list[_Item], written: Callable[[_Item], str]) -> list[_Item]:
    """The first of *items*, as many as fit on a page *written* so; at least one of some."""
    left = MAX_PAGE_BYTES
    for number, item in enumerate(items):
        left -= len(written(item))
        if left < 0 and number:
            return items[:number]
    return items
