"""A cluster knows its own: a process with another key or data directory refuses, and jobs go on."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from tests.support.postgres import PostgresCluster
from tests.support.registry_simulator import RegistrySimulator
from tests.support.server import Server, run
from transship.store.errors import ForeignProcessError
from transship.store.home import home_id, prepare_home
from transship.store.settings import Settings
from transship.workers.process.bootstrap import join_cluster, open_catalog

COMMANDS = (("worker",), ("api", "--listen", "127.0.0.1:0"), ("images",))
KEY = Fernet.generate_key().decode()


@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgresCluster]:
    with PostgresCluster() as cluster:
        yield cluster


@pytest.fixture
def database(cluster: PostgresCluster) -> Iterator[str]:
    with cluster.database() as name:
        yield cluster.url(name)


def test_strangers_are_refused_and_jobs_go_on(
    start_server: Callable[..., Server], database: str, tmp_path: Path
) -> None:
    server = start_server(workers=1, TRANSSHIP_DATABASE_URL=database, TRANSSHIP_SECRET_KEY=KEY)
    strangers = {
        "TRANSSHIP_SECRET_KEY": {"TRANSSHIP_SECRET_KEY": Fernet.generate_key().decode()},
        "TRANSSHIP_HOME": {"TRANSSHIP_HOME": str(tmp_path / "another")},
    }
    for named, settings in strangers.items():
        for command in COMMANDS[:2]:
            refused = run(*command, environ={**server.environ, **settings})
            assert refused.returncode != 0
            said = [line for line in refused.stderr.splitlines() if not line.startswith("  ")]
            assert len(said) == 1, refused.stderr
            assert named in said[0]
    with RegistrySimulator() as registry:
        registry.add_image("app", "1", [b"layer"])
        job = server.client.wait(server.submit(kind="pull", reference=f"{registry.host}/app:1"))
    assert job["state"] == "succeeded"
    assert len(server.live_workers()) == 1


def _settings(home: Path, **more: str) -> Settings:
    settings = Settings(home=home, **more)  # type: ignore[arg-type]
    prepare_home(settings.home)
    return settings


def test_the_first_process_records_the_directory_and_the_key(tmp_path: Path) -> None:
    settings = _settings(tmp_path / "home")
    open_catalog(settings).close()
    id_ = home_id(settings.home)
    assert id_ is not None
    open_catalog(settings).close()
    assert home_id(settings.home) == id_


def test_a_directory_whose_database_is_in_it_gets_its_id_back(tmp_path: Path) -> None:
    settings = _settings(tmp_path / "home")
    open_catalog(settings).close()
    id_ = home_id(settings.home)
    (settings.home / "home.id").unlink()
    open_catalog(settings).close()
    assert home_id(settings.home) == id_


def test_another_key_is_refused_until_it_is_adopted(tmp_path: Path) -> None:
    settings = _settings(tmp_path / "home")
    open_catalog(settings).close()
    other = _settings(tmp_path / "home", secret_key=KEY)
    with pytest.raises(ForeignProcessError, match="TRANSSHIP_SECRET_KEY"):
        open_catalog(other)
    adopted = run(
        "migrate",
        "--adopt",
        environ={
            "PATH": "",
            "HOME": str(tmp_path),
            "TRANSSHIP_HOME": str(settings.home),
            "TRANSSHIP_SECRET_KEY": KEY,
        },
    )
    assert adopted.returncode == 0, adopted.stderr
    open_catalog(other).close()
    with pytest.raises(ForeignProcessError):
        open_catalog(settings)


def test_a_moved_directory_is_the_same(database: str, tmp_path: Path) -> None:
    settings = _settings(tmp_path / "home", database_url=database, secret_key=KEY)
    open_catalog(settings).close()
    shutil.move(tmp_path / "home", tmp_path / "elsewhere")
    moved = _settings(tmp_path / "elsewhere", database_url=database, secret_key=KEY)
    open_catalog(moved).close()


def test_an_empty_directory_beside_a_known_database_is_refused(
    database: str, tmp_path: Path
) -> None:
    open_catalog(_settings(tmp_path / "home", database_url=database, secret_key=KEY)).close()
    empty = _settings(tmp_path / "empty", database_url=database, secret_key=KEY)
    with pytest.raises(ForeignProcessError, match="TRANSSHIP_HOME"):
        open_catalog(empty)
    assert home_id(empty.home) is None
    with pytest.raises(ForeignProcessError):
        open_catalog(empty)


def test_one_from_before_adopts_what_the_first_process_has(database: str, tmp_path: Path) -> None:
    """A database of an earlier version knows neither id nor key."""
    settings = _settings(tmp_path / "home", database_url=database, secret_key=KEY)
    catalog = open_catalog(settings)
    with catalog.write() as connection:
        connection.exec_driver_sql("UPDATE cluster SET home = NULL, key_fingerprint = NULL")
    (settings.home / "home.id").unlink()
    join_cluster(settings, catalog)
    catalog.close()
    assert home_id(settings.home) is not None
    with pytest.raises(ForeignProcessError):
        open_catalog(_settings(tmp_path / "empty", database_url=database, secret_key=KEY))
