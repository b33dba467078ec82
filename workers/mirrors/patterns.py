r"""Patterns for tags, matched in linear time: globs, and regular expressions between slashes.

`3.*` is a glob for the whole tag. `/^v\d+/` is a regular expression that is searched for, in the
part of Go's syntax (RE2) that says something about tags. They come from strangers, and Python's own
`re` can take for ever over one; here a tag costs its length times the states of the pattern.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from store.errors import InvalidSelectionError
from workers.mirrors.expressions import Chars, Choice, Edge, Node, Repeat, Row, glob, regex

MOST_CHARACTERS = 512
MOST_STATES = 2000
MOST_REMEMBERED = 100_000  # states, in the steps kept; the same few come up for all tags


def check(text: str) -> None:
    """Read a pattern without compiling it, which takes much longer where it is large.

    Raises:
        InvalidSelectionError: it cannot be read, or is too large.
    """
    if _states(_read(text)) > MOST_STATES:
        raise InvalidSelectionError("the pattern is too large")


class Pattern:
    """A compiled pattern. May be used by one thread at a time."""

    def __init__(self, text: str) -> None:
        """Compile *text*.

        Raises:
            InvalidSelectionError: it cannot be read, or is too large.
        """
        self._machine = _Machine()
        self._start = self._machine.add(_read(text), after=_Machine.ACCEPT)
        self._remembered = 0
        self._steps: dict[tuple[frozenset[int], bool, str], frozenset[int] | None] = {}

    def matches(self, tag: str) -> bool:
        """Whether the pattern is for *tag*."""
        here: frozenset[int] = frozenset((self._start,))
        for position, character in enumerate(tag):
            key = (here, position == 0, character)
            if key not in self._steps:
                self._remembered += len(here)
                if self._remembered > MOST_REMEMBERED:
                    self._steps.clear()
                    self._remembered = len(here)
                self._steps[key] = self._step(*key)
            following = self._steps[key]
            if following is None:
                return True
            here = following
        return _Machine.ACCEPT in self._machine.reach(here, start=not tag, end=True)

    def _step(self, here: frozenset[int], start: bool, character: str) -> frozenset[int] | None:
        """The states after *character*; None where the pattern has been found already."""
        reached = self._machine.reach(here, start=start, end=False)
        if _Machine.ACCEPT in reached:
            return None
        return frozenset(self._machine.moves(reached, character)) | {self._start}


@dataclass(slots=True)
class _Machine:
    """States, each of which takes a character or leads on to others for free."""

    ACCEPT = 0
    takes: list[tuple[frozenset[str], int] | None] = field(default_factory=lambda: [None])
    free: list[list[tuple[str, int]]] = field(default_factory=lambda: [[]])

    def add(self, node: Node, *, after: int) -> int:
        """Add states for *node* that lead on to *after*, and return the first."""
        match node:
            case Chars(of):
                return self._state(takes=(of, after))
            case Edge(which):
                return self._state((which, after))
            case Row(items):
                for item in reversed(items):
                    after = self.add(item, after=after)
                return after
            case Choice(items):
                return self._state(*(("", self.add(item, after=after)) for item in items))
            case Repeat(item, least, most):
                if most is None:
                    first = self._state(("", after))
                    self.free[first].insert(0, ("", self.add(item, after=first)))
                else:
                    first = after
                    for _ in range(most - least):
                        first = self._state(("", self.add(item, after=first)), ("", after))
                for _ in range(least):
                    first = self.add(item, after=first)
                return first

    def reach(self, here: Iterable[int], *, start: bool, end: bool) -> set[int]:
        """The states that can be had for free."""
        reached: set[int] = set()
        left = list(here)
        while left:
            state = left.pop()
            if state in reached:
                continue
            reached.add(state)
            left += [
                to
                for edge, to in self.free[state]
                if not edge or (edge == "start" and start) or (edge == "end" and end)
            ]
        return reached

    def moves(self, reached: Iterable[int], character: str) -> Iterable[int]:
        """The states that *character* leads to."""
        for state in reached:
            taken = self.takes[state]
            if taken is not None and character in taken[0]:
                yield taken[1]

    def _state(
        self, *free: tuple[str, int], takes: tuple[frozenset[str], int] | None = None
    ) -> int:
        if len(self.takes) > MOST_STATES:
            raise InvalidSelectionError("the pattern is too large")
        self.takes.append(takes)
        self.free.append(list(free))
        return len(self.takes) - 1


def _read(text: str) -> Node:
    if not 1 <= len(text) <= MOST_CHARACTERS:
        raise InvalidSelectionError(f"a pattern has 1 to {MOST_CHARACTERS} characters")
    is_regex = len(text) > 1 and text[0] == text[-1] == "/"
    return regex(text[1:-1]) if is_regex else glob(text)


def _states(node: Node) -> int:
    """How many states a machine for *node* has, as `_Machine.add` makes them."""
    match node:
        case Chars() | Edge():
            return 1
        case Row(items):
            return sum(map(_states, items))
        case Choice(items):
            return 1 + sum(map(_states, items))
        case Repeat(item, least, most):
            inner = _states(item)
            if most is None:
                return (least + 1) * inner + 1
            return least * inner + (most - least) * (inner + 1)
