"""The recorded answers: a file a scenario, for people to read and for git to compare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tests
from tests.oracle.subject import Json

DIRECTORY = Path(tests.__path__[0]) / "data" / "oracle"
_WIDTH = 110


def path_of(scenario: str) -> Path:
    """Where a scenario's answers are."""
    return DIRECTORY / f"{scenario}.json"


def recorded(scenario: str) -> Json:
    """Read a scenario's answers."""
    return json.loads(path_of(scenario).read_text())


def record(scenario: str, seen: Json) -> None:
    """Write a scenario's answers."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    path_of(scenario).write_text(_pretty(seen) + "\n")


def _pretty(value: Any, indent: str = "") -> str:
    """JSON with sorted keys, in which a value that fits stands on one line."""
    line = json.dumps(value, sort_keys=True, ensure_ascii=False)
    if len(indent) + len(line) <= _WIDTH or not value or not isinstance(value, dict | list):
        return line
    deeper = f"{indent} "
    if isinstance(value, dict):
        parts = [f"{json.dumps(key)}: {_pretty(value[key], deeper)}" for key in sorted(value)]
        return "{\n" + ",\n".join(f"{deeper}{part}" for part in parts) + f"\n{indent}}}"
    parts = [f"{deeper}{_pretty(item, deeper)}" for item in value]
    return "[\n" + ",\n".join(parts) + f"\n{indent}]"
