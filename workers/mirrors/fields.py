"""Values of a document and where they stand, so that whatever is wrong is named by its key."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from transship.store.errors import InvalidPolicyError, TransshipError


@dataclass(frozen=True, slots=True)
class Field:
    """A value in a document, and where it stands; what it must be is asked of it.

    Every method raises InvalidPolicyError, naming file and key, where the value is something else.
    """

    name: str
    path: tuple[str, ...]
    value: Any

    @property
    def place(self) -> str:
        """The key, with those above it."""
        return ".".join(self.path)

    def wrong(self, detail: str, *, hint: str = "") -> InvalidPolicyError:
        """The error that says so of this key."""
        subject = f"{self.name}: {self.place}" if self.path else self.name
        return InvalidPolicyError(detail, subject=subject, hint=hint)

    def keys(self) -> dict[str, Field]:
        """The keys of a mapping."""
        if not isinstance(self.value, dict):
            raise self.wrong("expected keys with values")
        return {key: Field(self.name, (*self.path, key), v) for key, v in self.value.items()}

    def known(self, *names: str) -> dict[str, Field]:
        """The keys of a mapping that may have only these; those without a value are left out."""
        keys = self.keys()
        for key, field in keys.items():
            if key not in names:
                raise field.wrong("this key is not known here", hint=f"one of {', '.join(names)}")
        return {key: field for key, field in keys.items() if field.value is not None}

    def items(self) -> list[Field]:
        """The items of a list."""
        if not isinstance(self.value, list):
            raise self.wrong("expected a list")
        return [Field(self.name, (*self.path, str(n)), v) for n, v in enumerate(self.value)]

    def text(self) -> str:
        """A text that is not empty."""
        if not isinstance(self.value, str) or not self.value:
            raise self.wrong("expected text")
        return self.value

    def texts(self) -> tuple[str, ...]:
        """A list of texts, or a single one."""
        if isinstance(self.value, str):
            return (self.text(),)
        return tuple(item.text() for item in self.items())

    def flag(self) -> bool:
        """True or false."""
        if not isinstance(self.value, bool):
            raise self.wrong("expected true or false")
        return self.value

    def number(self) -> int:
        """A whole number."""
        if not isinstance(self.value, str) or re.fullmatch(r"[0-9]{1,9}", self.value) is None:
            raise self.wrong("expected a whole number")
        return int(self.value)

    def checked(self, parse: Callable[[str], Any]) -> Any:
        """The text as *parse* reads it; its errors become errors of this key."""
        try:
            return parse(self.text())
        except InvalidPolicyError:
            raise
        except TransshipError as wrong:
            raise self.wrong(str(wrong), hint=wrong.hint) from None
