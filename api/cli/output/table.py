"""Plain columns, which `awk` and eyes read alike, and which fit the terminal they go to."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from transship.api.cli.form import Form
from transship.api.cli.output import terminal
from transship.store.text import escaped

_GAP = "  "
_READABLE = 20  # a column that may be cut is cut to this before others are left out
_LEAST = 6


@dataclass(frozen=True, slots=True)
class Column:
    """A column, and what may be done to it where the terminal is too narrow.

    Args:
        head: Its header.
        cut: Whether its cells may be cut at their end.
        leave: Whether it may be left out: those with the lowest number stay as long as there is
            room; 0 for never.
        short: Shortens a cell; done before anything is left out.
        wide: Whether it is there only with `-o wide`.
    """

    head: str
    cut: bool = False
    leave: int = 0
    short: Callable[[str], str] | None = None
    wide: bool = False


def show_table(
    header: Sequence[str | Column], rows: Iterable[Sequence[str]], form: Form = Form.TABLE
) -> None:
    """Print the rows: as wide as the terminal, or with `-o wide` and elsewhere as they are."""
    columns = [head if isinstance(head, Column) else Column(head) for head in header]
    kept = [n for n, column in enumerate(columns) if form is Form.WIDE or not column.wide]
    print(
        table(
            [columns[n] for n in kept],
            [[row[n] for n in kept] for row in rows],
            None if form is Form.WIDE else terminal.width(),
        )
    )


def table(
    header: Sequence[str | Column], rows: Iterable[Sequence[str]], width: int | None = None
) -> str:
    """The rows under their header, in columns as wide as they must be, and at most *width*.

    Ends of lines within a cell are escaped. What cannot be made to fit is wider than *width*.
    """
    columns = [head if isinstance(head, Column) else Column(head) for head in header]
    lines = [[_flat(cell) for cell in row] for row in rows]
    lines.insert(0, [column.head for column in columns])
    if width is not None:
        columns, lines = _fitted(columns, lines, width)
    widths = _widths(lines)
    return "\n".join(
        _GAP.join(_padded(cell, wide) for cell, wide in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def fields(pairs: Iterable[tuple[str, str]], width: int | None = None) -> str:
    """Names and values, a line each; a value of several lines goes on below itself.

    Values are as long as they are: whoever asked for one thing wants all of it. *width* is not
    kept by them, only by their names.
    """
    shown = [(name, escaped(value).split("\n")) for name, value in pairs]
    wide = max((cells(name) for name, _ in shown), default=0) + 1
    if width is not None and wide > width // 2:
        wide = 0
    out = []
    for name, (first, *more) in shown:
        out.append(f"{_padded(f'{name}:', wide)} {first}".rstrip())
        out += [f"{' ' * wide} {line}".rstrip() for line in more]
    return "\n".join(out)


def cells(text: str) -> int:
    """How many cells of a terminal *text* takes."""
    if text.isascii():
        return len(text)
    return sum(_cells_of(character) for character in text)


def cut(text: str, most: int) -> str:
    """*text*, or its beginning with an ellipsis, in at most *most* cells."""
    if cells(text) <= most:
        return text
    kept, taken = [], 0
    for character in text:
        taken += _cells_of(character)
        if taken > most - 1:
            break
        kept.append(character)
    return "".join(kept).rstrip() + "…"


def _fitted(
    columns: Sequence[Column], lines: Sequence[Sequence[str]], width: int
) -> tuple[list[Column], list[list[str]]]:
    here = list(columns)
    out = [list(line) for line in lines]
    if _total(_widths(out)) > width:
        for n, column in enumerate(here):
            if column.short is not None:
                out = [[*line[:n], column.short(line[n]), *line[n + 1 :]] for line in out]
        out[0] = [column.head for column in here]
    narrowest = _narrowest(here, _widths(out))
    kept = [n for n, column in enumerate(here) if not column.leave]
    for n in sorted(set(range(len(here))) - set(kept), key=lambda n: here[n].leave):
        if _total([narrowest[k] for k in (*kept, n)]) <= width:
            kept.append(n)
    kept.sort()
    here = [here[n] for n in kept]
    out = [[line[n] for n in kept] for line in out]
    limits = _shared(here, _widths(out), width)
    return here, [
        [cut(cell, most) for cell, most in zip(line, limits, strict=True)] for line in out
    ]


def _shared(columns: Sequence[Column], widths: list[int], width: int) -> list[int]:
    """How wide each column may be: those that may be cut give way, the widest first."""
    while (over := _total(widths) - width) > 0:
        may = [n for n, column in enumerate(columns) if column.cut and widths[n] > _LEAST]
        if not may:
            return widths
        widest = max(may, key=lambda n: widths[n])
        others = [widths[n] for n in may if n != widest]
        floor = max(_LEAST, min(widths[widest] - 1, max(others, default=_LEAST)))
        widths[widest] = max(floor, widths[widest] - over)
    return widths


def _narrowest(columns: Sequence[Column], widths: Sequence[int]) -> list[int]:
    return [
        min(wide, _READABLE) if column.cut else wide
        for column, wide in zip(columns, widths, strict=True)
    ]


def _widths(lines: Sequence[Sequence[str]]) -> list[int]:
    return [max(cells(line[n]) for line in lines) for n in range(len(lines[0]))]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * max(0, len(widths) - 1)


def _padded(text: str, wide: int) -> str:
    return text + " " * (wide - cells(text))


def _flat(text: str) -> str:
    """A cell on one line, as it will be printed."""
    return escaped(text).replace("\n", "\\n").replace("\t", " ")


def _cells_of(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
