"""Which texts cannot be kept: no database takes all that JSON can say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from store.errors import InvalidSpecError

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def is_storable(text: str) -> bool:
    """Whether *text* can be encoded and stored: it has no NUL and no half of a surrogate pair."""
    return _UNSTORABLE.search(text) is None


def check_storable(value: Any) -> None:
    """Look at every text of a JSON value, and at the keys of its objects.

    Raises:
        InvalidSpecError: one cannot be kept; its place is named, as `a.0.b`.
    """
    for path, text in _texts(value):
        if not is_storable(text):
            message = "it has a character that cannot be stored: NUL, or half of a surrogate pair"
            raise InvalidSpecError(message, errors=[{"field": path, "message": message}])


def _texts(value: Any) -> Iterator[tuple[str, str]]:
    """Every text of a JSON value with its path; as deep as it is, without recursion."""
    ahead: list[tuple[str, Any]] = [("", value)]
    while ahead:
        path, one = ahead.pop()
        if isinstance(one, str):
            yield path, one
        elif isinstance(one, dict):
            for key, below in reversed(one.items()):
                if isinstance(key, str) and not is_storable(key):
                    yield path, key
                ahead.append((f"{path}.{key}" if path else str(key), below))
        elif isinstance(one, list | tuple):
            ahead += [(f"{path}.{n}" if path else str(n), below) for n, below in enumerate(one)][
                ::-1
            ]
