"""Patterns that users write, matched in a time that goes with the length of the text.

Python's own `re` and `fnmatch` can take for ever over one; RE2 cannot, and refuses a pattern that
would take too much memory. Nothing that a user writes is matched by anything else (a test looks).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import re2  # type: ignore[import-untyped]

from transship.store.errors import InvalidSelectionError

MAX_CHARACTERS: Final = 512

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.max_mem = 2**17  # a pattern that takes more is refused, after a millisecond or so
_LAST: Final = 0x10FFFF
_SLASH: Final = ord("/")


def regex(text: str) -> Callable[[str], bool]:
    """What says whether an expression in RE2's syntax, which is Go's, is found in a text.

    Raises:
        InvalidSelectionError: it cannot be read, or is too large.
    """
    try:
        compiled = re2.compile(text, _OPTIONS)
    except (re2.error, UnicodeError) as wrong:
        raise InvalidSelectionError(f"the pattern cannot be read: {_reason(wrong)}") from None
    return lambda searched: compiled.search(searched) is not None


def check_length(text: str) -> None:
    """Refuse a pattern of no characters, or of too many.

    Raises:
        InvalidSelectionError: it is one.
    """
    if not 1 <= len(text) <= MAX_CHARACTERS:
        raise InvalidSelectionError(f"a pattern has 1 to {MAX_CHARACTERS} characters")


def glob(text: str, *, across: bool) -> Callable[[str], bool]:
    """What says whether a glob fits a whole text, as Go's `path.Match` has it.

    There are `*`, `?`, `[a-z]`, `[^a-z]`, and a backslash that escapes. A star, a question mark and
    a bracket match slashes only if they go *across* them.

    Raises:
        InvalidSelectionError: it cannot be read, or is too long.
    """
    if text:
        check_length(text)
    one = r"(?s:.)" if across else "[^/]"
    parts, at = [r"\A"], 0
    while at < len(text):
        if text[at] == "*":
            parts.append(f"{one}*")
        elif text[at] == "?":
            parts.append(one)
        elif text[at] == "[":
            bracket, at = _bracket(text, at, across=across)
            parts.append(bracket)
            continue
        else:
            at += text[at] == "\\"
            if at == len(text):
                raise InvalidSelectionError(f"{text[:80]!r} ends in a backslash")
            parts.append(re2.escape(text[at]))
        at += 1
    return regex("".join((*parts, r"\z")))


def _bracket(text: str, start: int, *, across: bool) -> tuple[str, int]:
    """The class of the bracket that opens at *start*, and where what follows it begins."""
    at = start + 1
    negated = text.startswith("^", at)
    at += negated
    ranges: list[tuple[int, int]] = []
    while True:
        if ranges and text.startswith("]", at):
            break
        low, at = _member(text, at)
        high = low
        if text.startswith("-", at):
            high, at = _member(text, at + 1)
        if low > high:
            raise InvalidSelectionError(f"a range of {text[:80]!r} ends before it begins")
        ranges.append((low, high))
    if negated:
        ranges = _others(ranges)
    if not across:
        ranges = [part for one in ranges for part in _without_slash(*one)]
    if not ranges:
        return r"[^\x{0}-\x{10FFFF}]", at + 1
    members = "".join(rf"\x{{{low:X}}}-\x{{{high:X}}}" for low, high in ranges)
    return f"[{members}]", at + 1


def _member(text: str, at: int) -> tuple[int, int]:
    """One character of a bracket, and where what follows it begins.

    A hyphen and a closing bracket are characters only after a backslash.
    """
    if text.startswith(("-", "]"), at):
        raise InvalidSelectionError(f"the bracket in {text[:80]!r} lacks a character")
    at += text.startswith("\\", at)
    if at >= len(text):
        raise InvalidSelectionError(f"the bracket in {text[:80]!r} is not closed")
    return ord(text[at]), at + 1


def _others(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Every character that is in none of *ranges*."""
    left, next_ = [], 0
    for low, high in sorted(ranges):
        if low > next_:
            left.append((next_, low - 1))
        next_ = max(next_, high + 1)
    return [*left, (next_, _LAST)] if next_ <= _LAST else left


def _without_slash(low: int, high: int) -> list[tuple[int, int]]:
    if not low <= _SLASH <= high:
        return [(low, high)]
    return [part for part in ((low, _SLASH - 1), (_SLASH + 1, high)) if part[0] <= part[1]]


def _reason(wrong: Exception) -> str:
    reason = wrong.args[0] if wrong.args else ""
    return reason.decode(errors="replace") if isinstance(reason, bytes) else str(wrong)
