"""Which tags of a repository are wanted. Pure: it is given the tags that there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from transship.store.errors import TransshipError
from transship.workers.mirrors.patterns import Pattern
from transship.workers.mirrors.versions import Range, Version

MAX_PATTERNS = 100
MAX_NEWEST = 100_000


def _checked(parse: Callable[[str], object]) -> Callable[[str], str]:
    def check(text: str) -> str:
        try:
            parse(text)
        except TransshipError as wrong:
            hint = f"; {wrong.hint}" if wrong.hint else ""
            raise PydanticCustomError("value", "{reason}", {"reason": f"{wrong}{hint}"}) from None
        return text

    return check


PatternText = Annotated[str, AfterValidator(_checked(Pattern))]
RangeText = Annotated[str, AfterValidator(_checked(Range.parse))]


class Selection(BaseModel):
    """Tags by rules, each of which narrows what those before it left.

    A pattern is a glob for the whole tag, or between slashes a regular expression.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    semver: tuple[RangeText, ...] = Field(
        default=(), max_length=MAX_PATTERNS, description="versions in one of these ranges"
    )
    allow: tuple[PatternText, ...] = Field(
        default=(), max_length=MAX_PATTERNS, description="tags that one of these is for"
    )
    deny: tuple[PatternText, ...] = Field(
        default=(), max_length=MAX_PATTERNS, description="but none that one of these is for"
    )
    newest: int | None = Field(
        default=None, ge=1, le=MAX_NEWEST, description="the highest so many versions of them"
    )

    def choose(self, tags: Iterable[str], check: Callable[[], None] = lambda: None) -> list[str]:
        """Those of *tags* that are wanted, sorted; *check* is called now and then.

        With `semver` or `newest`, tags that are no versions are left out.
        """
        left = sorted(set(tags))
        by_version = bool(self.semver) or self.newest is not None
        versions = {tag: Version.parse(tag) for tag in left} if by_version else {}
        if self.semver:
            ranges = [Range.parse(text) for text in self.semver]
            left = [
                tag
                for tag in left
                if (version := versions[tag]) is not None
                and any(range_.holds(version) for range_ in ranges)
            ]
        if self.allow:
            left = _matching(self.allow, left, check)
        if self.deny:
            denied = set(_matching(self.deny, left, check))
            left = [tag for tag in left if tag not in denied]
        if self.newest is not None:
            dated = [(version, tag) for tag in left if (version := versions[tag]) is not None]
            left = sorted(tag for _, tag in sorted(dated)[-self.newest :])
        return left


def _matching(texts: Iterable[str], tags: Iterable[str], check: Callable[[], None]) -> list[str]:
    patterns = [Pattern(text) for text in texts]
    found = []
    for tag in tags:
        check()
        if any(pattern.matches(tag) for pattern in patterns):
            found.append(tag)
    return found
