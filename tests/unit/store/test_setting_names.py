"""The names of settings without the settings, and variables that look like one."""

from __future__ import annotations

import pytest

from transship.store.setting_names import SETTINGS, unknown_variables
from transship.store.settings import Settings


def test_they_are_those_of_the_settings() -> None:
    assert set(Settings.model_fields) == SETTINGS


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("TRANSSHIP_HOM", "TRANSSHIP_HOME"),
        ("TRANSSHIP_MAX_CONCURENT_DOWNLOADS", "TRANSSHIP_MAX_CONCURRENT_DOWNLOADS"),
        ("TRANSSHIP_COLOUR_OF_THE_SKY", None),
    ],
)
def test_what_is_none_is_told_with_the_nearest(name: str, nearest: str | None) -> None:
    assert list(unknown_variables([name, "PATH", "TRANSSHIP_URL"])) == [(name, nearest)]


@pytest.mark.parametrize(
    "name",
    [
        "TRANSSHIP_CONFIG", "TRANSSHIP_TRACEBACK", "TRANSSHIP_CHILD_OF", "TRANSSHIP_SERVICE_HOST",
        "TRANSSHIP_PORT", "TRANSSHIP_PORT_5005_TCP_ADDR", "TRANSSHIP_SERVICE_PORT_HTTP",
        "_TRANSSHIP_COMPLETE", "transship_home",
    ],
)  # fmt: skip
def test_what_others_set_is_none_of_them(name: str) -> None:
    assert list(unknown_variables([name])) == []
