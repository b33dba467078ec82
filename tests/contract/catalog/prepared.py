"""Databases that are ready to use: migrating one costs more than most tests."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from store.catalog.engine import Catalog


@cache
def _migrated() -> bytes:
    """A database file to which all migrations were applied, once a process."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "catalog.sqlite3"
        catalog = Catalog(f"sqlite:///{path}")
        catalog.prepare()
        catalog.close()  # the last connection takes the write-ahead log in
        return path.read_bytes()


def prepared_sqlite(directory: Path) -> str:
    """Make `catalog.sqlite3` in *directory*, with the schema and nothing else; return its URL."""
    path = directory / "catalog.sqlite3"
    path.write_bytes(_migrated())
    return f"sqlite:///{path}"
