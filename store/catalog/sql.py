"""What SQLite and PostgreSQL say differently, said once."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, case

# PostgreSQL's INSERT ... ON CONFLICT compiles for SQLite as well; the reverse does not hold.
from sqlalchemy.dialects.postgresql import insert as upsert

__all__ = ["least", "upsert"]


def least(one: ColumnElement[Any], other: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the lesser of two values, for which the databases have different names."""
    return case((one < other, one), else_=other)
