"""Points in time, in the forms that configs and filters have."""

from __future__ import annotations

import pytest

from transship.store.errors import InvalidTimeError
from transship.store.oci.timestamps import NANOS, moment, parse

MAY = 1_714_564_800  # 2024-05-01T12:00:00Z


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2024-05-01T12:00:00Z", MAY * NANOS),
        ("2024-05-01t12:00:00z", MAY * NANOS),
        ("2024-05-01T12:00:00.000000001Z", MAY * NANOS + 1),
        ("2024-05-01T12:00:00.5Z", MAY * NANOS + NANOS // 2),
        ("2024-05-01T12:00:00.1234567891Z", MAY * NANOS + 123_456_789),
        ("2024-05-01T14:00:00+02:00", MAY * NANOS),
        ("2024-05-01T06:30:00-05:30", MAY * NANOS),
        ("2024-05-01T12:00:00", MAY * NANOS),
        ("2024-05-01T12:00", MAY * NANOS),
        ("2024-05-01", (MAY - 12 * 3600) * NANOS),
        ("1969-12-31T23:59:59.5Z", -NANOS // 2),
        ("0001-01-01T00:00:00Z", -62_135_596_800 * NANOS),
    ],
)
def test_a_time_is_read_to_the_nanosecond(text: str, nanos: int) -> None:
    assert parse(text) == nanos


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2024-13-01", "2024-05-01T25:00:00Z", "2024-05-01 12:00", "12:00", "2024-05"],
)
def test_what_is_no_time_is_none(text: str) -> None:
    assert parse(text) is None


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("1714564800", MAY * NANOS),
        ("1714564800.000000001", MAY * NANOS + 1),
        ("0", 0),
        ("2024-05-01T12:00:00Z", MAY * NANOS),
        ("10s", (MAY - 10) * NANOS),
        ("1h30m", (MAY - 5400) * NANOS),
        ("1.5h", (MAY - 5400) * NANOS),
        ("24h", (MAY - 86400) * NANOS),
        ("250ms", MAY * NANOS - 250_000_000),
        ("0s", MAY * NANOS),
        ("-5m", (MAY + 300) * NANOS),
        ("+1.5s", MAY * NANOS - 1_500_000_000),
        (".5s", MAY * NANOS - 500_000_000),
        ("1.s", (MAY - 1) * NANOS),
        ("3\u00b5s2\u03bcs", MAY * NANOS - 5_000),
    ],
)
def test_a_filter_takes_times_and_how_long_ago(text: str, nanos: int) -> None:
    assert moment(text, MAY) == nanos


@pytest.mark.parametrize(
    "text", ["", "yesterday", "10y", "d", "-5", "h", ".s", "1e9", "١٢", "2562048h"]
)
def test_what_is_neither_is_refused(text: str) -> None:
    with pytest.raises(InvalidTimeError):
        moment(text, MAY)
