"""Docker's filters: `key=value`, each key as often as one likes."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from transship.store.errors import InvalidSelectionError, InvalidSpecError, InvalidTimeError
from transship.store.oci import timestamps
from transship.store.oci.reference import Reference
from transship.store.patterns import glob

FIELD = "filter"  # as requests and job specs call the list of filters
LIST_KEYS = ("before", "dangling", "label", "reference", "since", "until")
PRUNE_KEYS = ("dangling", "label", "label!", "until")
# What Docker's other events are about; see `event_filter`.
OTHER_KEYS = (
    *("config", "container", "daemon", "network", "node"),
    *("plugin", "secret", "service", "volume"),
)
EVENT_KEYS = ("event", "image", "label", "scope", "type", *OTHER_KEYS)
_TRUE, _FALSE = ("true", "1"), ("false", "0")


@dataclass(frozen=True, slots=True)
class Filters:
    """Values by key, in the order in which they were given."""

    given: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def parse(cls, texts: Iterable[str], known: Collection[str]) -> Filters:
        """Read `key=value` each; the key may end in `!`.

        Raises:
            InvalidSpecError: not of that form, or a key that is not among *known*.
        """
        found: dict[str, tuple[str, ...]] = {}
        for text in texts:
            key, equals, value = text.partition("=")
            key = key.strip().lower()
            if not equals or key not in known:
                shown = text[:80].encode("unicode_escape").decode()
                raise invalid(f"{shown!r} is not one of {', '.join(sorted(known))}, with =VALUE")
            found[key] = (*found.get(key, ()), value.strip())
        return cls(found)

    def __contains__(self, key: str) -> bool:
        return key in self.given

    def values(self, key: str) -> tuple[str, ...]:
        """What was given for *key*."""
        return self.given.get(key, ())

    def flag(self, key: str) -> bool | None:
        """What was given for *key*; None where nothing was.

        Raises:
            InvalidSpecError: neither true, false, 1 nor 0, or one and the other.
        """
        answers = set()
        for value in self.values(key):
            if value not in (*_TRUE, *_FALSE):
                raise invalid(f"{key} is true or false, not {value[:80]!r}")
            answers.add(value in _TRUE)
        if len(answers) > 1:
            raise invalid(f"{key} cannot be true and false")
        return answers.pop() if answers else None

    def one(self, key: str) -> str | None:
        """The only value of *key*.

        Raises:
            InvalidSpecError: there are several.
        """
        values = self.values(key)
        if len(values) > 1:
            raise invalid(f"{key} can be given once")
        return values[0] if values else None


def check_prune(filters: Filters) -> None:
    """Check the values of a prune's filters.

    Raises:
        InvalidSpecError: one of them cannot be.
    """
    filters.flag("dangling")
    moment(filters, "until", time.time())


def moment(filters: Filters, key: str, now: float) -> int | None:
    """The only value of *key*, a point in time, in nanoseconds since the epoch.

    Raises:
        InvalidSpecError: it is none, or there are several.
    """
    text = filters.one(key)
    if text is None:
        return None
    try:
        return timestamps.moment(text, now)
    except InvalidTimeError as wrong:
        raise invalid(f"{key} is {wrong.detail}") from None


def invalid(reason: str) -> InvalidSpecError:
    """The error for a filter that cannot be."""
    return InvalidSpecError(reason, errors=[{"field": FIELD, "message": reason}])


def has_labels(wanted: Iterable[str], labels: Mapping[str, str]) -> bool:
    """Whether *labels* has every one of *wanted*, a `key` or a `key=value` each."""
    for text in wanted:
        key, equals, value = text.partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    return True


def name_matcher(pattern: str, *, across: bool = False) -> Callable[[str], bool]:
    """What says whether a glob fits a full reference's familiar form, with or without its tag.

    As in Go's `path.Match` a star does not reach across a slash, unless it is to go *across*; then
    the full form may fit too.

    Raises:
        InvalidSpecError: it cannot be read.
    """
    try:
        fits = glob(pattern, across=across)
    except InvalidSelectionError as wrong:
        raise invalid(wrong.detail) from None

    def matches(name: str) -> bool:
        reference = Reference.parse(name)
        full = (name, reference.repository) if across else ()
        forms = (reference.familiar, reference.without_identifier().familiar, *full)
        return any(fits(form) for form in forms)

    return matches
