"""Words of Dockerfile instructions: where they end, and what they stand for.

Quotes, backslashes and variables are read as Docker's builder reads them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

BACKSLASH: Final = "\\"
# A quote that is not closed takes the rest; an escape at the very end is none of a word.
_WORDS: Final = {
    BACKSLASH: re.compile(r"""(?:\\.|'[^']*'?|"(?:\\.|[^"\\])*"?|[^\s\\'"])+""", re.DOTALL),
    "`": re.compile(r"""(?:`.|'[^']*'?|"(?:`.|[^"`])*"?|[^\s`'"])+""", re.DOTALL),
}
_NAME: Final = re.compile(r"[0-9]+|[@*#?\-$!]|[^\W0-9]\w*")
_ESCAPED_IN_QUOTES: Final = '"$'  # and the escape itself


class WordError(ValueError):
    """A quote or a substitution that has no end, or is of no known kind."""


def split_words(text: str, escape: str = BACKSLASH) -> list[str]:
    """The words of *text*, quotes and escapes still in them.

    *escape* is a backslash or a backtick.
    """
    return _WORDS[escape].findall(text)


def expand(word: str, variables: Mapping[str, str], escape: str = BACKSLASH) -> str:
    """What *word* stands for: without quotes, with the values of *variables*.

    Of a shell's substitutions there are `$A`, `${A}`, `${A:-other}`, `${A:+other}` and `${A:?why}`.

    Raises:
        WordError: it cannot be read, or `${A:?why}` says why not.
    """
    return _Expansion(word, variables, escape).until("")


class _Expansion:
    def __init__(self, text: str, variables: Mapping[str, str], escape: str) -> None:
        self._text, self._at, self._variables = text, 0, variables
        self._escape = escape

    def until(self, stop: str) -> str:
        """Expand up to *stop*, or to the end where it is empty."""
        found: list[str] = []
        while (char := self._next()) != stop:
            if not char:
                raise WordError(f"a substitution without {stop!r}")
            match char:
                case "'":
                    found.append(self._single())
                case '"':
                    found.append(self._double())
                case "$":
                    found.append(self._dollar())
                case self._escape:
                    found.append(self._next())
                case _:
                    found.append(char)
        return "".join(found)

    def _next(self) -> str:
        char = self._peek()
        self._at += len(char)
        return char

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _single(self) -> str:
        end = self._text.find("'", self._at)
        if end < 0:
            raise WordError("a single quote that is not closed")
        quoted = self._text[self._at : end]
        self._at = end + 1
        return quoted

    def _double(self) -> str:
        found: list[str] = []
        while (char := self._next()) != '"':
            if not char:
                raise WordError("a double quote that is not closed")
            if char == "$":
                found.append(self._dollar())
            elif char == self._escape and self._peek() in {*_ESCAPED_IN_QUOTES, self._escape}:
                found.append(self._next())
            else:
                found.append(char)
        return "".join(found)

    def _dollar(self) -> str:
        if self._peek() != "{":
            name = self._name()
            return self._variables.get(name, "") if name else "$"
        self._at += 1
        name = self._name()
        if not name:
            raise WordError("a substitution without a name")
        value = self._variables.get(name, "")
        match self._next():
            case "}":
                return value
            case ":":
                return self._modified(name, value)
            case _:
                raise WordError(f"a substitution of {name} that is not closed, or is none")

    def _modified(self, name: str, value: str) -> str:
        modifier = self._next()
        other = self.until("}")
        match modifier:
            case "-":
                return value or other
            case "+":
                return other if value else ""
            case "?":
                if not value:
                    raise WordError(f"{name}: {other or 'is not set'}")
                return value
            case _:
                raise WordError(f"the substitution ${{{name}:{modifier}…}} is not known")

    def _name(self) -> str:
        match = _NAME.match(self._text, self._at)
        if match is None:
            return ""
        self._at = match.end()
        return match[0]
