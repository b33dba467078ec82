"""Durations: one grammar, read everywhere by one parser."""

from __future__ import annotations

import pytest

from transship.store.durations import exact_duration, parse_duration, rough_duration
from transship.store.oci.timestamps import NANOS, moment


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90), ("90s", 90), ("1.5h", 5400), ("30d", 2_592_000), ("2w", 1_209_600),
        (" 5 m ", 300), ("0", 0), ("0.25", 0.25),
    ],
)  # fmt: skip
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1", "1e3", "1h30m", "5 years", "nan", "\u0661h"])
def test_what_is_none_is_told_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"write seconds.*1\.5h or 30d"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["30d", "1.5d", "2w"])
def test_how_long_ago_may_be_in_days(text: str) -> None:
    now = 1_800_000_000.0
    assert moment(text, now) == (int(now) - int(parse_duration(text))) * NANOS


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(86400, "1d"), (5400, "90m"), (3600, "1h"), (90, "90s"), (0.5, "0.5s"), (0, "0s")],
)
def test_an_exact_duration_reads_back_as_itself(seconds: float, text: str) -> None:
    assert exact_duration(seconds) == text
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0s"), (9.94, "9.9s"), (9.96, "10s"), (119, "119s"), (120, "2m"), (7170, "2h"),
        (7000, "117m"), (172_800, "2d"), (170_000, "47h"), (2_592_000, "30d"),
    ],
)  # fmt: skip
def test_a_rough_duration_has_one_unit(seconds: float, text: str) -> None:
    assert rough_duration(seconds) == text
