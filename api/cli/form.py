"""In which form a command shows what it has found: columns for people, data for programs."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from typing import Any


class Form(StrEnum):
    """A value of `-o`."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"

    @property
    def is_data(self) -> bool:
        """Whether the API's own object is wanted."""
        return self in (Form.JSON, Form.YAML)

    def print(self, value: Any) -> None:
        """Print the API's own object: as YAML where that is wanted, else as JSON."""
        sys.stdout.write(_yaml(value) if self is Form.YAML else f"{json.dumps(value, indent=2)}\n")

    def print_one(self, value: Any) -> None:
        """Print an object of a stream: JSON a line each, or YAML documents."""
        text = f"---\n{_yaml(value)}" if self is Form.YAML else f"{json.dumps(value)}\n"
        sys.stdout.write(text)


def _yaml(value: Any) -> str:
    import yaml  # type: ignore[import-untyped]  # noqa: PLC0415 -- most commands need none of it

    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    return text
