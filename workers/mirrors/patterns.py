r"""Patterns for tags: globs, and regular expressions between slashes.

`3.*` is a glob for the whole tag. `/^v\d+/` is a regular expression that is searched for, in RE2's
syntax, which is Go's. They come from strangers, and Python's own `re` can take for ever over one;
RE2 takes a time that goes with the length of the tag.
"""

from __future__ import annotations

import string
from typing import Final

import re2  # type: ignore[import-untyped]

from store.errors import InvalidSelectionError

MOST_CHARACTERS: Final = 512
_IN_TAGS: Final = frozenset(string.ascii_letters + string.digits + "_.-")

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.max_mem = 2**17  # a pattern that takes more is refused, after a millisecond or so


class Pattern:
    """A compiled pattern."""

    def __init__(self, text: str) -> None:
        """Compile *text*.

        Raises:
            InvalidSelectionError: it cannot be read, or is too large.
        """
        if not 1 <= len(text) <= MOST_CHARACTERS:
            raise InvalidSelectionError(f"a pattern has 1 to {MOST_CHARACTERS} characters")
        is_regex = len(text) > 1 and text[0] == text[-1] == "/"
        try:
            self._regex = re2.compile(text[1:-1] if is_regex else _of_glob(text), _OPTIONS)
        except (re2.error, UnicodeError) as wrong:
            raise InvalidSelectionError(f"the pattern cannot be read: {_reason(wrong)}") from None

    def matches(self, tag: str) -> bool:
        """Whether the pattern is for *tag*."""
        return self._regex.search(tag) is not None


def _of_glob(text: str) -> str:
    """The regular expression that a glob with `*`, `?` and brackets stands for."""
    parts = [r"\A"]
    position = 0
    while position < len(text):
        character = text[position]
        if character == "*":
            parts.append(".*")
        elif character == "?":
            parts.append(".")
        elif character == "[":
            end = text.find("]", position)
            if end < 0:
                raise InvalidSelectionError("a bracket is not closed")
            members = text[position + 1 : end]
            negated = members[:1] in ("!", "^")
            if not members[negated:]:
                raise InvalidSelectionError("a bracket holds nothing")
            parts.append(f"[{'^' if negated else ''}{_in_tags(members[negated:])}]")
            position = end
        else:
            parts.append(re2.escape(_in_tags(character)))
        position += 1
    return "".join((*parts, r"\z"))


def _in_tags(characters: str) -> str:
    for character in characters:
        if character not in _IN_TAGS:
            raise InvalidSelectionError(
                f"no tag has a {character!r} in it", hint="put regular expressions between slashes"
            )
    return characters


def _reason(wrong: Exception) -> str:
    reason = wrong.args[0] if wrong.args else ""
    return reason.decode(errors="replace") if isinstance(reason, bytes) else str(wrong)
