"""What SQLite and PostgreSQL say differently, said once; and how long a list may be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Table, case, func, literal_column, select

# PostgreSQL's INSERT ... ON CONFLICT compiles for SQLite as well; the reverse does not hold.
from sqlalchemy.dialects.postgresql import insert as upsert

__all__ = ["MAX_PARAMETERS", "ONE", "ZERO", "chunks", "constant", "least", "new_ids", "upsert"]

# A statement without parameters is planned once by PostgreSQL, for the values that are in it; one
# with parameters is planned for each execution, which mostly takes longer than to run it.
ZERO: ColumnElement[int] = literal_column("0")
ONE: ColumnElement[int] = literal_column("1")

# Of one list. A statement takes 32,766 parameters on SQLite and 65,535 on PostgreSQL, and a long
# one is planned anew for each length.
MAX_PARAMETERS = 500

_T = TypeVar("_T")


def constant(value: str) -> ColumnElement[str]:
    """A value of which there are few, and each has a statement of its own; never a user's."""
    return literal_column(f"'{value}'")


def chunks(items: Iterable[_T], size: int = MAX_PARAMETERS) -> Iterator[list[_T]]:
    """Split *items* into lists of at most *size*: as many as one statement is given."""
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some


def new_ids(connection: Connection, table: Table, count: int) -> list[int]:
    """Row ids for *count* rows that this transaction is going to insert, rising.

    With them rows are inserted by one prepared statement, and nothing has to be returned.
    """
    if connection.dialect.name == "postgresql":
        sequence = func.pg_get_serial_sequence(table.name, "id")
        series = func.generate_series(1, count).alias("series")
        query = select(func.nextval(sequence)).select_from(series)
        return sorted(connection.execute(query).scalars())
    last: int = connection.execute(select(func.coalesce(func.max(table.c.id), ZERO))).scalar_one()
    return [*range(last + 1, last + 1 + count)]


def least(one: ColumnElement[Any], other: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the lesser of two values, for which the databases have different names."""
    return case((one < other, one), else_=other)
