"""Columns: as wide as they must be, and as the terminal allows."""

from __future__ import annotations

import pytest

from transship.api.cli.output.table import Column, cells, cut, fields, table

WIDTHS = range(40, 201, 8)
HEADS = (
    Column("JOB", short=lambda text: text[-12:]),
    Column("KIND", leave=2),
    "STATE",
    Column("WHAT", cut=True),
    Column("REASON", cut=True, leave=1),
)
ROWS = [
    ("01a20dc4-7660-789c-b92e-fa96058f4556", "copy", "succeeded", "r.example/team/app:1", ""),
    (
        *("01a20dc4-8c9b-744a-b8e3-c5f40ecff949", "mirror", "failed"),
        "registry.example.com/a/very/long/repository/name -> backup.example.com/all/of/it",
        "source: the registry has been told to be left alone for a while, and is",
    ),
]


def test_columns_are_as_wide_as_they_must_be_and_no_wider() -> None:
    assert table(("A", "LONG"), [("wide", "x"), ("b", "")]) == "A     LONG\nwide  x\nb"


def test_a_header_stands_alone_over_nothing() -> None:
    assert table(("JOB", "STATE"), []) == "JOB  STATE"


@pytest.mark.parametrize("width", WIDTHS)
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    lines = table(HEADS, ROWS, width).splitlines()
    assert max(map(cells, lines)) <= width
    assert len(lines) == 3
    assert lines[0].split()[0] == "JOB"
    assert "STATE" in lines[0]
    assert lines[1].startswith(("01a20dc4-7660", "fa96058f4556"))


def test_what_fits_is_not_touched() -> None:
    whole = table(HEADS, ROWS)
    widest = max(map(cells, whole.splitlines()))
    assert table(HEADS, ROWS, widest) == whole
    assert table(HEADS, ROWS, widest - 1) != whole


def test_columns_leave_by_their_number_and_the_important_stay() -> None:
    def heads(width: int) -> list[str]:
        return table(HEADS, ROWS, width).splitlines()[0].split()

    assert heads(120) == ["JOB", "KIND", "STATE", "WHAT", "REASON"]
    assert heads(72) == ["JOB", "STATE", "WHAT", "REASON"]
    assert heads(40) == ["JOB", "STATE", "WHAT"]


def test_cells_of_wide_characters_are_counted() -> None:
    lines = table((Column("A", cut=True), "B"), [("画像画像画像画像", "x")], 12).splitlines()
    assert lines[1] == "画像画像…  x"
    assert cells(lines[1]) <= 12


def test_a_cell_has_one_line_and_no_controls() -> None:
    lines = table(("A", "B"), [("two\nlines\x1b[2J", "x")]).splitlines()
    assert lines[1] == "two\\nlines\\x1b[2J  x"


@pytest.mark.parametrize(
    ("text", "most", "shown"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("ab cd", 4, "ab…"),
        ("e\u0301e\u0301e\u0301", 3, "e\u0301" * 3),
    ],
)
def test_what_is_too_long_is_cut(text: str, most: int, shown: str) -> None:
    assert cut(text, most) == shown


def test_fields_stand_below_each_other() -> None:
    told = fields([("job", "j"), ("requested by", "local\nremote")])
    assert told.splitlines() == [
        "job:          j",
        "requested by: local",
        "              remote",
    ]
