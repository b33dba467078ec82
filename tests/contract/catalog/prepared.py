"""Databases that are ready to use: migrating one costs more than most tests."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from sqlalchemy import delete, insert, select, text

from tests.support.postgres import PostgresCluster
from transship.store.catalog.db.engine import SCHEMA_VERSION, Catalog
from transship.store.catalog.db.schema import metadata


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


@cache
def reopened(url: str) -> Catalog:
    """The catalog of a URL, made once a process: each compiles its statements anew.

    Whoever gets it closes it, and may get it again.
    """
    return Catalog(url)


def renewed_sqlite(directory: Path) -> str:
    """As `prepared_sqlite`, where another database may have been, which nobody has open."""
    for path in directory.glob("catalog.sqlite3*"):
        path.unlink()
    return prepared_sqlite(directory)


class PreparedPostgres:
    """A database on a server, which is as new for every test.

    Whoever makes it closes it. To empty it takes a hundredth of the time of making one.
    """

    def __init__(self, cluster: PostgresCluster, name: str) -> None:
        self.url = cluster.url(name)
        self._catalog = Catalog(self.url)
        self._catalog.prepare()
        with self._catalog.read() as connection:
            self._first = {
                table: [dict(row._mapping) for row in connection.execute(select(table))]
                for table in metadata.sorted_tables
            }

    def renew(self) -> None:
        """Take away what a test has left, and put back what the migrations made."""
        with self._catalog.write() as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(delete(table))
            for table, rows in self._first.items():
                if rows:
                    connection.execute(insert(table), rows)
            connection.execute(text(f"UPDATE alembic_version SET version_num = '{SCHEMA_VERSION}'"))

    def close(self) -> None:
        """Leave the database."""
        self._catalog.close()
