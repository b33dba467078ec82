"""Columns."""

from __future__ import annotations

from transship.api.cli.output.table import table


def test_columns_are_as_wide_as_they_must_be_and_no_wider() -> None:
    assert table(("A", "LONG"), [("wide", "x"), ("b", "")]) == "A     LONG\nwide  x\nb"


def test_a_header_stands_alone_over_nothing() -> None:
    assert table(("JOB", "STATE"), []) == "JOB  STATE"
