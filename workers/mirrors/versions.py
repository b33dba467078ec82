"""Versions in tags, and ranges of them, as Go's `Masterminds/semver` reads them.

Tags are read leniently: `v1.2` is 1.2.0, and `1.2.3-alpine` a pre-release of 1.2.3. A range takes
pre-releases only where it names one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import total_ordering

from transship.store.errors import InvalidSelectionError

MAX_CHARACTERS = 512

_PRE = r"(?:-(?P<pre>[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]+)?"
_NUMBER = r"[0-9]{1,18}"
_VERSION = re.compile(rf"v?({_NUMBER})(?:\.({_NUMBER}))?(?:\.({_NUMBER}))?{_PRE}")
_OPERATOR = r"!=|>=|=>|<=|=<|~>|[=<>~^]"
_PART = rf"(?:{_NUMBER}|[xX*])"
_CONSTRAINT = re.compile(
    rf"(?P<operator>{_OPERATOR})?\s*v?(?P<parts>{_PART}(?:\.{_PART}){{0,2}}){_PRE}(?:[\s,]+|$)"
)
_HYPHEN = re.compile(rf"(v?{_NUMBER}[^\s,]*)\s+-\s+(v?{_NUMBER}[^\s,]*)")
_SAME = {"": "=", "=>": ">=", "=<": "<=", "~>": "~"}

Core = tuple[int, int, int]


@total_ordering
@dataclass(frozen=True, slots=True)
class Version:
    """A version; ordered as semver has it."""

    core: Core
    pre: str = ""

    @classmethod
    def parse(cls, tag: str) -> Version | None:
        """Read a tag; None where it is no version."""
        match = _VERSION.fullmatch(tag)
        if match is None:
            return None
        major, minor, patch = (int(part or 0) for part in match.group(1, 2, 3))
        return cls((major, minor, patch), match["pre"] or "")

    def __lt__(self, other: Version) -> bool:
        return self._key() < other._key()

    def _key(self) -> tuple[Core, bool, list[tuple[bool, int, str]]]:
        parts = self.pre.split(".") if self.pre else []
        # A release comes after all its pre-releases, and in these numbers come before words.
        ranked = [(not p.isdecimal(), int(p) if p.isdecimal() else 0, p) for p in parts]
        return self.core, not self.pre, ranked


Check = Callable[[Version], bool]


@dataclass(frozen=True, slots=True)
class Range:
    """A range: alternatives, of each of which everything has to hold."""

    alternatives: tuple[tuple[Check, ...], ...]

    @classmethod
    def parse(cls, text: str) -> Range:
        """Read `>=1.2 <3 || ~4.1`.

        Raises:
            InvalidSelectionError: it cannot be read.
        """
        if not text.strip() or len(text) > MAX_CHARACTERS:
            raise InvalidSelectionError(f"a range has 1 to {MAX_CHARACTERS} characters")
        return cls(tuple(tuple(_checks(part.strip(), text)) for part in text.split("||")))

    def holds(self, version: Version) -> bool:
        """Whether *version* lies in it."""
        return any(all(check(version) for check in checks) for checks in self.alternatives)


def _checks(part: str, text: str) -> list[Check]:
    part = _HYPHEN.sub(r">=\1 <=\2", part)
    found: list[Check] = []
    position = 0
    while position < len(part):
        match = _CONSTRAINT.match(part, position)
        if match is None:
            break
        operator = match["operator"] or ""
        found.append(_check(_SAME.get(operator, operator), match["parts"], match["pre"] or ""))
        position = match.end()
    if not found or position < len(part):
        raise InvalidSelectionError(
            f"{text[:80]!r} is not a range of versions", hint='as in ">=1.2 <3"'
        )
    return found


def _check(operator: str, parts: str, pre: str) -> Check:
    numbers: list[int] = []
    for part in parts.split("."):
        if part in {"x", "X", "*"}:
            break
        numbers.append(int(part))
    given = len(numbers)
    major, minor, patch = (*numbers, 0, 0, 0)[:3]
    least = Version((major, minor, patch), pre)
    after = [(0, 0, 0), (major + 1, 0, 0), (major, minor + 1, 0), (major, minor, patch + 1)]

    def between(version: Version, end: Core) -> bool:
        return version >= least and version.core < end

    def holds(version: Version) -> bool:
        if version.pre and not pre:
            return False
        if given == 0:
            return operator not in {"!=", "<", ">"}
        match operator:
            case "=":
                return between(version, after[given]) if given < 3 else version == least
            case "!=":
                return not between(version, after[given]) if given < 3 else version != least
            case ">":
                return version.core >= after[given] if given < 3 else version > least
            case ">=":
                return version >= least
            case "<":
                return version < least
            case "<=":
                return version.core < after[given] if given < 3 else version <= least
            case "~":
                return between(version, after[min(given, 2)])
            case _:  # ^: up to the next change of the first number that is not 0
                significant = next((n for n, value in enumerate(numbers, 1) if value), given)
                return between(version, after[significant])

    return holds
