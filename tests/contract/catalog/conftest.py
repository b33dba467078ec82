"""The databases that keep to the contract, each test with one of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from tests.contract.catalog.prepared import PreparedPostgres, renewed_sqlite, reopened
from tests.contract.catalog.scene import THERE, Scene
from tests.support.postgres import PostgresCluster
from transship.store.catalog.db.engine import Catalog


@pytest.fixture(scope="session")
def cluster() -> Iterator[PostgresCluster]:
    """A PostgreSQL server for all tests; whoever stops it starts it again."""
    with PostgresCluster() as server:
        yield server


@pytest.fixture(scope="session")
def prepared_postgres(cluster: PostgresCluster) -> Iterator[PreparedPostgres]:
    """A database there, made by migrations."""
    with cluster.database() as name:
        prepared = PreparedPostgres(cluster, name)
        yield prepared
        prepared.close()


@pytest.fixture(scope="session")
def directory_of_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sqlite")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, directory_of_sqlite: Path) -> Iterator[str]:
    """A database with the schema and nothing else."""
    if request.param == "sqlite":
        yield renewed_sqlite(directory_of_sqlite)
        return
    prepared: PreparedPostgres = request.getfixturevalue("prepared_postgres")
    yield prepared.url
    prepared.renew()


@pytest.fixture
def catalog(url: str) -> Iterator[Catalog]:
    opened = reopened(url)
    yield opened
    opened.close()


@pytest.fixture
def scene(catalog: Catalog) -> Scene:
    """A catalog with a worker that has threads to spare."""
    scene = Scene(catalog)
    scene.worker("a worker", control=64, downloads=64, uploads=64)
    return scene


@pytest.fixture
def statements(catalog: Catalog) -> Iterator[Callable[[], list[str]]]:
    """Gives the statements that were executed since it was asked last."""
    executed: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        executed.append(" ".join(statement.split()))

    def since() -> list[str]:
        found = executed.copy()
        executed.clear()
        return found

    database: Any = catalog._database
    engines = (database._writer, database._reader)
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    yield since
    for engine in engines:
        event.remove(engine, "before_cursor_execute", note)


@pytest.fixture
def two_sources(scene: Scene) -> Scene:
    """Two jobs want a blob from two registries; the one from here is first."""
    scene.want(scene.job("one"), "blob")
    scene.want(scene.job("two"), "blob", registry=THERE, repository="other")
    return scene
