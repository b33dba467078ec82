"""What only PostgreSQL does: connections that break, waits that end, words that keep a secret."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress

import psycopg
import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError

from tests.contract.catalog.scene import Scene, new_job
from tests.support.postgres import PASSWORD, USER, PostgresCluster
from tests.support.processes import free_port, wait_until
from transship.store.catalog.db import postgresql
from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.db.schema import cluster as cluster_row
from transship.store.catalog.scheduling import jobs
from transship.store.errors import DatabaseUnavailableError, DiskFullError, StoreError

pytestmark = pytest.mark.parametrize("url", ["postgresql"], indirect=True)

PATIENCE_SECONDS = 20


def _opened(url: str) -> Iterator[Catalog]:
    catalog = Catalog(url)
    yield catalog
    catalog.close()


@pytest.fixture
def other(url: str) -> Iterator[Catalog]:
    """The same database, opened by another process."""
    yield from _opened(url)


@pytest.fixture
def hasty(url: str) -> Iterator[Catalog]:
    """The same database, with little time for whoever waits or lets others wait."""
    limits = "-c lock_timeout=100ms -c idle_in_transaction_session_timeout=200ms"
    yield from _opened(f"{url}?options={limits.replace(' ', '%20')}")


def _cut_all(cluster: PostgresCluster, url: str) -> None:
    """Those who wait for their turn first: else they would have it when they are cut."""
    database = url.rpartition("/")[2]
    cluster.run(
        "SELECT pg_terminate_backend(pid, 5000) FROM (SELECT pid FROM pg_stat_activity"
        f" WHERE datname = '{database}' AND application_name = 'transship'"
        " ORDER BY wait_event = 'advisory' DESC NULLS LAST OFFSET 0) AS in_order"
    )


# --- addresses -----------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_a_url_may_be_spelled_as_the_programs_of_postgresql_spell_it(url: str, scheme: str) -> None:
    catalog = Catalog(url.replace("postgresql", scheme, 1))
    catalog.prepare()
    catalog.close()


def test_a_server_is_reached_over_its_unix_socket(cluster: PostgresCluster, url: str) -> None:
    catalog = Catalog(cluster.socket_url(url.rpartition("/")[2]))
    catalog.prepare()
    catalog.close()


def test_an_administrator_sees_who_is_connected(catalog: Catalog) -> None:
    with catalog.read() as connection:
        name = connection.execute(text("SELECT current_setting('application_name')")).scalar()
    assert name == "transship"


def test_another_driver_is_not_taken_for_ours(url: str) -> None:
    with pytest.raises(StoreError, match="psycopg2"):
        Catalog(url.replace("postgresql", "postgresql+psycopg2", 1))


# --- errors --------------------------------------------------------------------------------------


def _fails(url: str, words: str) -> StoreError:
    catalog = Catalog(url)
    with pytest.raises(StoreError, match=words) as failed:
        catalog.prepare()
    catalog.close()
    error = failed.value
    assert PASSWORD not in f"{error} {error.hint}"
    assert "%20" not in f"{error} {error.hint}"
    assert "\n" not in str(error)
    return error


def test_nobody_at_the_address_is_said_in_a_sentence(url: str, cluster: PostgresCluster) -> None:
    error = _fails(url.replace(str(cluster.port), str(free_port())), "refused")
    assert isinstance(error, DatabaseUnavailableError)
    assert error.retryable
    assert "TRANSSHIP_DATABASE_URL" in error.hint


def test_a_wrong_password_is_said_and_not_repeated(url: str) -> None:
    wrong = "wrong and secret"
    error = _fails(url.replace(PASSWORD.replace(" ", "%20"), "wrong%20and%20secret"), USER)
    assert wrong not in str(error)


def test_a_database_that_is_not_there_is_named(url: str) -> None:
    _fails(url + "_nowhere", "_nowhere")


def test_a_server_without_a_connection_to_spare_is_unavailable(
    url: str, cluster: PostgresCluster
) -> None:
    cluster.run(f"CREATE ROLE crowded LOGIN PASSWORD '{PASSWORD}' CONNECTION LIMIT 0")
    try:
        error = _fails(url.replace(USER, "crowded", 1), "too many connections")
    finally:
        cluster.run("DROP ROLE crowded")
    assert isinstance(error, DatabaseUnavailableError)


def test_a_server_that_may_not_be_written_is_said(url: str) -> None:
    standby = Catalog(f"{url}?options=-c%20default_transaction_read_only=on")
    with pytest.raises(StoreError, match="read-only") as failed, standby.write() as connection:
        jobs.create(connection, [new_job("one")], 0)
    standby.close()
    assert "primary" in failed.value.hint


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("53100", DiskFullError),
        ("40P01", DatabaseUnavailableError),
        ("40001", DatabaseUnavailableError),
        ("57014", DatabaseUnavailableError),
        ("42501", StoreError),
        ("58030", StoreError),
    ],
)
def test_what_the_server_raises_is_said_in_our_terms(
    catalog: Catalog, state: str, kind: type[StoreError]
) -> None:
    raising = text(f"DO $$ BEGIN RAISE 'it went wrong' USING ERRCODE = '{state}'; END $$")
    with pytest.raises(StoreError, match="it went wrong") as failed, catalog.write() as connection:
        connection.execute(raising)
    assert type(failed.value) is kind


def test_a_fault_of_this_program_is_not_blamed_on_the_database(catalog: Catalog) -> None:
    with pytest.raises(DBAPIError), catalog.write() as connection:
        connection.execute(text("SELECT no_such_column"))


# --- connections that break ----------------------------------------------------------------------


def test_a_transaction_whose_connection_breaks_fails_and_leaves_nothing(
    catalog: Catalog, cluster: PostgresCluster, url: str
) -> None:
    def cut_in_the_middle() -> None:
        with catalog.write() as connection:
            jobs.create(connection, [new_job("one")], 0)
            _cut_all(cluster, url)

    with pytest.raises(DatabaseUnavailableError):
        cut_in_the_middle()
    with catalog.write() as connection:
        assert jobs.create(connection, [new_job("one")], 0) == ["one"]


def test_a_connection_that_broke_while_nobody_used_it_is_replaced(
    catalog: Catalog, cluster: PostgresCluster, url: str
) -> None:
    with catalog.write(), catalog.read() as connection:
        connection.execute(select(cluster_row))
    _cut_all(cluster, url)
    with catalog.write() as connection:
        jobs.create(connection, [new_job("one")], 0)
    with catalog.read() as connection:
        assert jobs.get(connection, "one") is not None


def test_whoever_waits_for_the_turn_outlives_a_cut(
    catalog: Catalog, other: Catalog, cluster: PostgresCluster, url: str
) -> None:
    waiting = threading.Thread(target=_write, args=(other, "two"))
    with suppress(DatabaseUnavailableError), catalog.write() as connection:
        connection.execute(select(cluster_row))
        waiting.start()
        wait_until(lambda: _somebody_waits(cluster), PATIENCE_SECONDS, "the other to wait")
        _cut_all(cluster, url)
    waiting.join(PATIENCE_SECONDS)
    with catalog.read() as connection:
        assert jobs.get(connection, "two") is not None


def test_a_server_that_is_restarted_is_waited_for(
    catalog: Catalog, cluster: PostgresCluster
) -> None:
    _write(catalog, "before")
    cluster.go_down()
    late = threading.Thread(target=_write, args=(catalog, "while it is down"))
    late.start()
    cluster.come_back()
    late.join(PATIENCE_SECONDS)
    with catalog.read() as connection:
        assert jobs.get(connection, "before") is not None
        assert jobs.get(connection, "while it is down") is not None


def test_a_server_that_stays_away_is_not_waited_for_without_end(
    catalog: Catalog, cluster: PostgresCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "_PATIENCE_SECONDS", 0.3)
    _write(catalog, "before")
    cluster.go_down()
    try:
        with pytest.raises(DatabaseUnavailableError):
            _write(catalog, "after")
    finally:
        cluster.come_back()
    _write(catalog, "after")


def _write(catalog: Catalog, job: str) -> None:
    with catalog.write() as connection:
        jobs.create(connection, [new_job(job)], 0)


# --- turns ---------------------------------------------------------------------------------------


def _somebody_waits(cluster: PostgresCluster) -> bool:
    asked = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with psycopg.connect(cluster.url()) as connection:
        row = connection.execute(asked).fetchone()
    assert row is not None
    return bool(row[0])


def test_a_reader_waits_for_no_writer(scene: Scene, other: Catalog) -> None:
    scene.submit("one")
    with scene.catalog.write() as connection:
        connection.execute(update(cluster_row).values(lease_seconds=1))
        with other.read() as reading:
            assert jobs.get(reading, "one") is not None


def test_a_reader_changes_nothing(catalog: Catalog) -> None:
    with pytest.raises(StoreError, match="read-only"), catalog.read() as connection:
        connection.execute(update(cluster_row).values(lease_seconds=1))


def test_whoever_stops_in_the_middle_of_a_write_loses_its_turn(
    hasty: Catalog, other: Catalog
) -> None:
    """As a process does that is suspended, or whose host is gone."""

    def stop_in_the_middle() -> None:
        with hasty.write() as connection:
            jobs.create(connection, [new_job("one")], 0)
            _write(other, "two")  # begins when the server has cut the first

    with pytest.raises(DatabaseUnavailableError):
        stop_in_the_middle()
    with other.read() as connection:
        assert jobs.get(connection, "one") is None
        assert jobs.get(connection, "two") is not None


def test_a_turn_that_does_not_come_is_not_waited_for_without_end(
    catalog: Catalog, hasty: Catalog
) -> None:
    with catalog.write() as connection:
        connection.execute(select(cluster_row))
        with pytest.raises(DatabaseUnavailableError, match="lock timeout"):
            _write(hasty, "one")
    _write(hasty, "one")


def test_a_migration_takes_as_long_as_it_takes(catalog: Catalog) -> None:
    with catalog.write() as connection:
        catalog._database.lift_time_limits(connection)
        shown = [
            connection.execute(text(f"SHOW {name}")).scalar()
            for name in ("statement_timeout", "lock_timeout")
        ]
    assert shown == ["0", "0"]
    with catalog.write() as connection:
        assert connection.execute(text("SHOW statement_timeout")).scalar() != "0"
