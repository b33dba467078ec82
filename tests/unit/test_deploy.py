"""What lies in deploy/ is true."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from api.cli.root import COMMANDS
from store.settings import Settings

DEPLOY = Path(__file__).parents[2] / "deploy"


def test_the_example_names_only_settings_that_exist_with_their_defaults() -> None:
    text = (DEPLOY / "settings.example.toml").read_text()
    shown = tomllib.loads(re.sub(r"^# (?=[a-z_]+ = )", "", text, flags=re.MULTILINE))
    assert set(shown) <= set(Settings.model_fields)
    settings = Settings.model_validate(shown)
    for name in set(shown) - {"home", "broker_url", "certs_dir", "insecure_registries"}:
        assert getattr(settings, name) == Settings.model_fields[name].default


def test_the_unit_runs_a_command_that_exists() -> None:
    unit = (DEPLOY / "transship.service").read_text()
    command = re.search(r"^ExecStart=\S+/transship (\w+)", unit, re.MULTILINE)
    assert command is not None
    assert command[1] in COMMANDS
