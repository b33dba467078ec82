"""Which texts cannot be kept, and which are not fit to be shown.

No database takes all that JSON can say. Control characters move the cursor of whoever reads a list,
or call back what stands before them, and so do those that turn the direction of writing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from transship.store.errors import InvalidSpecError

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def is_storable(text: str) -> bool:
    """Whether *text* can be encoded and stored: it has no NUL and no half of a surrogate pair."""
    return _UNSTORABLE.search(text) is None


def escaped(text: str) -> str:
    """*text* with what is not fit to be shown escaped as in a Python string.

    Tabs and ends of lines stay.
    """
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def check_printable(value: Any) -> None:
    """Look at every text of a JSON value, and at the keys of its objects.

    Raises:
        InvalidSpecError: one is not fit to be shown; its place is named, as `a.0.b`.
    """
    _check(value, _UNPRINTABLE, "it has a control character")


def check_storable(value: Any) -> None:
    """Look at every text of a JSON value, and at the keys of its objects.

    Raises:
        InvalidSpecError: one cannot be kept; its place is named, as `a.0.b`.
    """
    _check(
        value,
        _UNSTORABLE,
        "it has a character that cannot be stored: NUL, or half of a surrogate pair",
    )


def _check(value: Any, refused: re.Pattern[str], message: str) -> None:
    for path, text in _texts(value):
        if refused.search(text) is not None:
            raise InvalidSpecError(message, errors=[{"field": path, "message": message}])


def _texts(value: Any) -> Iterator[tuple[str, str]]:
    """Every text of a JSON value with its path, keys too; as deep as it is, without recursion."""
    ahead: list[tuple[str, Any]] = [("", value)]
    while ahead:
        path, one = ahead.pop()
        if isinstance(one, str):
            yield path, one
        elif isinstance(one, dict):
            for key, below in reversed(one.items()):
                if isinstance(key, str):
                    yield path, key
                ahead.append((f"{path}.{key}" if path else str(key), below))
        elif isinstance(one, list | tuple):
            ahead += [(f"{path}.{n}" if path else str(n), below) for n, below in enumerate(one)][
                ::-1
            ]
