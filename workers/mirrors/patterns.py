r"""Patterns for tags: globs, and regular expressions between slashes.

`3.*` is a glob for the whole tag. `/^v\d+/` is a regular expression that is searched for, in RE2's
syntax, which is Go's. Both are matched by RE2: see `transship.store.patterns`.
"""

from __future__ import annotations

import string
from typing import Final

from transship.store.errors import InvalidSelectionError
from transship.store.patterns import check_length, regex

_IN_TAGS: Final = frozenset(string.ascii_letters + string.digits + "_.-")


class Pattern:
    """A compiled pattern."""

    def __init__(self, text: str) -> None:
        """Compile *text*.

        Raises:
            InvalidSelectionError: it cannot be read, or is too large.
        """
        check_length(text)
        is_regex = len(text) > 1 and text[0] == text[-1] == "/"
        self._found_in = regex(text[1:-1] if is_regex else _of_glob(text))

    def matches(self, tag: str) -> bool:
        """Whether the pattern is for *tag*."""
        return self._found_in(tag)


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
            parts.append(_escaped(_in_tags(character)))
        position += 1
    return "".join((*parts, r"\z"))


def _escaped(character: str) -> str:
    return f"\\{character}" if character in ".-" else character


def _in_tags(characters: str) -> str:
    for character in characters:
        if character not in _IN_TAGS:
            raise InvalidSelectionError(
                f"no tag has a {character!r} in it", hint="put regular expressions between slashes"
            )
    return characters
