"""Globs and regular expressions for tags, read into trees. Nothing is matched here."""

from __future__ import annotations

import string
from collections.abc import Iterable
from dataclasses import dataclass

from store.errors import InvalidSelectionError

DEEPEST = 40

_DIGITS = frozenset(string.digits)
_WORD = frozenset(string.ascii_letters + string.digits + "_")
ALPHABET = _WORD | frozenset(".-")  # what a tag is made of
_CLASSES = {
    "d": _DIGITS, "D": ALPHABET - _DIGITS, "w": _WORD, "W": ALPHABET - _WORD,
    "s": frozenset[str](), "S": ALPHABET,
}  # fmt: skip
_EDGES = {"A": "start", "z": "end"}


@dataclass(frozen=True, slots=True)
class Chars:
    """One character of these."""

    of: frozenset[str]


@dataclass(frozen=True, slots=True)
class Edge:
    """The `start` or the `end` of the tag."""

    which: str


@dataclass(frozen=True, slots=True)
class Row:
    """One after the other."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One or another."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """The same so many times; *most* is None where there is no end."""

    item: Node
    least: int
    most: int | None


Node = Chars | Edge | Row | Choice | Repeat
_ANY = Chars(ALPHABET)


def regex(text: str) -> Node:
    """Read a regular expression of Go's syntax, as far as that says something about tags.

    Raises:
        InvalidSelectionError: it cannot be read.
    """
    return _Reader(text).parse()


def glob(text: str) -> Node:
    """Read a glob for the whole tag, with `*`, `?` and brackets.

    Raises:
        InvalidSelectionError: it cannot be read.
    """
    items: list[Node] = [Edge("start")]
    reader = _Reader(text)
    while not reader.ended:
        character = reader.next()
        if character == "*":
            items.append(Repeat(_ANY, 0, None))
        elif character == "?":
            items.append(_ANY)
        elif character == "[":
            items.append(Chars(reader.class_(negations="!^")))
        elif character in ALPHABET:
            items.append(Chars(frozenset(character)))
        else:
            raise InvalidSelectionError(
                f"no tag has a {character!r} in it", hint="put regular expressions between slashes"
            )
    return Row((*items, Edge("end")))


class _Reader:
    """Reads from the left to the right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._fold = False  # upper and lower case are the same
        self._depth = 0

    @property
    def ended(self) -> bool:
        return self._at >= len(self._text)

    def next(self) -> str:
        if self.ended:
            raise InvalidSelectionError("the pattern ends too early")
        self._at += 1
        return self._text[self._at - 1]

    def parse(self) -> Node:
        node = self._choice()
        if not self.ended:
            raise InvalidSelectionError("a parenthesis too many")
        return node

    def class_(self, *, negations: str = "^") -> frozenset[str]:
        """What stands in brackets, the first of which has been read."""
        negated = any(self._take(sign) for sign in negations)
        members: set[str] = set()
        first = True
        while first or not self._take("]"):
            if self._text.startswith("[:", self._at):
                raise InvalidSelectionError("classes with names are not known here")
            low = self._member()
            if isinstance(low, frozenset):
                members |= low
            elif self._peek() == "-" and self._text[self._at + 1 : self._at + 2] not in {"]", ""}:
                self.next()
                high = self._member()
                if isinstance(high, frozenset) or high < low:
                    raise InvalidSelectionError("a range in brackets is upside down")
                members |= {c for c in ALPHABET if low <= c <= high}
            else:
                members.add(low)
            first = False
        folded = self._folded(members)
        return ALPHABET - folded if negated else folded

    def _choice(self) -> Node:
        self._depth += 1
        if self._depth > DEEPEST:
            raise InvalidSelectionError("parentheses are nested too deep")
        items = [self._row()]
        while self._take("|"):
            items.append(self._row())
        self._depth -= 1
        return items[0] if len(items) == 1 else Choice(tuple(items))

    def _row(self) -> Node:
        items: list[Node] = []
        while not self.ended and self._peek() not in {"|", ")"}:
            items.append(self._repeated(self._atom()))
        return Row(tuple(items))

    def _repeated(self, item: Node) -> Node:
        repeats = 0
        while (bounds := self._bounds()) is not None:
            self._take("?")  # how much it takes makes no difference to whether it matches
            item = Repeat(item, *bounds)
            repeats += 1
            if repeats > DEEPEST:
                raise InvalidSelectionError("repeated too often")
        return item

    def _bounds(self) -> tuple[int, int | None] | None:
        for sign, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._take(sign):
                return bounds
        if self._peek() != "{":
            return None
        end = self._text.find("}", self._at)
        if end < 0:
            return None
        least, comma, most = self._text[self._at + 1 : end].partition(",")
        if not (_is_number(least) and (not most or _is_number(most))):
            return None  # a brace then, as it is in Go
        self._at = end + 1
        low, high = int(least), int(most or 0) if comma else int(least)
        if comma and not most:
            return low, None
        if high < low:
            raise InvalidSelectionError("a repetition is upside down")
        return low, high

    def _atom(self) -> Node:
        character = self.next()
        match character:
            case "(":
                return self._group()
            case "[":
                return Chars(self.class_())
            case ".":
                return _ANY
            case "^":
                return Edge("start")
            case "$":
                return Edge("end")
            case "*" | "+" | "?":
                raise InvalidSelectionError(f"nothing stands before a {character}")
            case "\\":
                letter = self.next()
                if letter in _EDGES:
                    return Edge(_EDGES[letter])
                escaped = _escaped(letter)
                return Chars(escaped if isinstance(escaped, frozenset) else self._folded(escaped))
            case _:
                return Chars(self._folded(character))

    def _group(self) -> Node:
        fold = self._fold
        if self._take("?") and not self._name() and self._flags():
            return Row(())  # for what follows in the group around
        node = self._choice()
        if not self._take(")"):
            raise InvalidSelectionError("a parenthesis is not closed")
        self._fold = fold
        return node

    def _name(self) -> bool:
        if not self._take("P<") and not self._text.startswith("<", self._at):
            return False
        if self._text[self._at : self._at + 2] in {"<=", "<!"}:
            raise InvalidSelectionError("looking behind is not known here")
        name, closed, _ = self._text[self._at :].lstrip("<").partition(">")
        if not closed or not name.isidentifier():
            raise InvalidSelectionError("a group's name is not closed")
        self._at = self._text.index(">", self._at) + 1
        return True

    def _flags(self) -> bool:
        """Read the flags of a group; whether these are all there is of it."""
        on = True
        while True:
            match self.next():
                case ")":
                    return True
                case ":":
                    return False
                case "-":
                    on = False
                case "i":
                    self._fold = on
                case "s" | "m" | "U":  # a tag is one line
                    pass
                case other:
                    raise InvalidSelectionError(f"(?{other} is not known here")

    def _member(self) -> str | frozenset[str]:
        character = self.next()
        return _escaped(self.next()) if character == "\\" else character

    def _folded(self, characters: Iterable[str]) -> frozenset[str]:
        if not self._fold:
            return frozenset(characters)
        return frozenset(c for one in characters for c in (one.lower(), one.upper()))

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self, text: str) -> bool:
        if not self._text.startswith(text, self._at):
            return False
        self._at += len(text)
        return True


def _escaped(letter: str) -> str | frozenset[str]:
    if letter in _CLASSES:
        return _CLASSES[letter]
    if letter.isalnum() or not letter.isascii():
        raise InvalidSelectionError(f"\\{letter} is not known here")
    return letter


def _is_number(text: str) -> bool:
    return 1 <= len(text) <= 4 and text.isascii() and text.isdecimal()
