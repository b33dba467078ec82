"""Texts that cannot be kept, and texts that are not fit to be shown."""

from __future__ import annotations

import pytest

from transship.store.errors import InvalidSpecError
from transship.store.text import check_printable, check_storable, escaped

UNPRINTABLE = {
    "an escape": "a\x1b[2Jb",
    "a C1 control": "a\x9b31mb",
    "a backspace": "a\x08b",
    "a bell": "a\x07",
    "DEL": "a\x7f",
    "right to left": "a\u202eb",
    "an isolate": "a\u2066b",
    "a line separator": "a\u2028b",
    "NUL": "a\x00",
    "half a pair": "a\ud800",
}


@pytest.mark.parametrize("text", UNPRINTABLE.values(), ids=UNPRINTABLE)
def test_what_moves_a_cursor_is_refused_and_escaped(text: str) -> None:
    with pytest.raises(InvalidSpecError) as refused:
        check_printable({"a": [1, {"b": text}]})
    assert refused.value.errors[0]["field"] == "a.1.b"
    with pytest.raises(InvalidSpecError):
        check_printable({text: 1})
    assert escaped(text).isprintable()
    assert escaped(text) != text


@pytest.mark.parametrize("text", ["", "lines\nand\ttabs\r\n", "grüße 你好 🚢", "it's \\x1b"])
def test_what_is_fit_to_be_shown_stays(text: str) -> None:
    check_printable({"a": text})
    assert escaped(text) == text


def test_what_can_be_kept_is_more_than_what_is_fit_to_be_shown() -> None:
    check_storable({"cmd": "\x1b[0m"})
    for text in (UNPRINTABLE["NUL"], UNPRINTABLE["half a pair"]):
        with pytest.raises(InvalidSpecError, match="cannot be stored"):
            check_storable([text])
