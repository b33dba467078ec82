"""The page of commands and settings names them all, and no others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from transship.api.cli.root import COMMANDS
from transship.store.settings import Settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "api" / "REFERENCE.md").read_text()
MAX_WORDS = 900


def test_every_setting_is_there_and_no_other() -> None:
    named = set(re.findall(r"TRANSSHIP_[A-Z_]+", PAGE)) - {"TRANSSHIP_CONFIG"}
    assert named == {f"TRANSSHIP_{name.upper()}" for name in Settings.model_fields}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_there(name: str) -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    assert any(re.search(rf"`{name}\b", row) for row in rows)


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= MAX_WORDS
