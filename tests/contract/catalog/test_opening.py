"""Opening a catalog: transactions, the schema and its migrations, credentials at rest."""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from cryptography.fernet import Fernet
from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError

from tests.contract.catalog.scene import BLOB_BYTES, HERE, Scene, new_job
from tests.contract.catalog.sums import kept
from tests.support.postgres import PostgresCluster
from transship.store.catalog.access import credentials, tenants, tokens
from transship.store.catalog.access.credentials import SealedCredential, Sealer
from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.content import lineage, references, workspaces
from transship.store.catalog.db import migrations, mounts
from transship.store.catalog.db.engine import SCHEMA_VERSION, Catalog
from transship.store.catalog.db.schema import cluster, metadata
from transship.store.catalog.db.schema import jobs as rows
from transship.store.catalog.scheduling import jobs, progress
from transship.store.errors import HomeUnusableError, SchemaVersionError, StoreError

PASSWORD = "correct horse battery staple"
SQLITE_ONLY = pytest.mark.parametrize("url", ["sqlite"], indirect=True)


# --- transactions --------------------------------------------------------------------------------


def test_what_is_written_is_there_for_others(catalog: Catalog, url: str) -> None:
    with catalog.write() as connection:
        jobs.create(connection, [new_job("one")], 0)
    other = Catalog(url)
    with other.read() as connection:
        found = jobs.get(connection, "one")
    other.close()
    assert found is not None


def test_an_exception_takes_back_what_was_written(catalog: Catalog) -> None:
    with suppress(ZeroDivisionError), catalog.write() as connection:
        jobs.create(connection, [new_job("one")], 0)
        raise ZeroDivisionError
    with catalog.read() as connection:
        assert jobs.get(connection, "one") is None


def test_a_reader_does_not_see_what_is_committed_after_it_began(catalog: Catalog) -> None:
    with catalog.read() as reading:
        assert jobs.get(reading, "one") is None
        with catalog.write() as writing:
            jobs.create(writing, [new_job("one")], 0)
        assert jobs.get(reading, "one") is None


def test_a_write_within_a_write_is_refused_and_not_waited_for(catalog: Catalog) -> None:
    with catalog.write(), pytest.raises(RuntimeError), catalog.write():
        pass


def test_after_a_refused_write_the_next_one_works(catalog: Catalog) -> None:
    with catalog.write(), pytest.raises(RuntimeError), catalog.write():
        pass
    with catalog.write() as connection:
        assert jobs.create(connection, [new_job("one")], 0) == ["one"]


def test_threads_that_write_take_turns(catalog: Catalog) -> None:
    def add() -> None:
        for _ in range(25):
            with catalog.write() as connection:
                value = connection.execute(select(cluster.c.lease_seconds)).scalar_one()
                connection.execute(update(cluster).values(lease_seconds=value + 1))

    with catalog.write() as connection:
        connection.execute(update(cluster).values(lease_seconds=0))
    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with catalog.read() as connection:
        assert connection.execute(select(cluster.c.lease_seconds)).scalar_one() == 100


@SQLITE_ONLY
def test_what_is_committed_is_on_the_disk(catalog: Catalog) -> None:
    """In WAL mode only FULL (2) syncs at every commit."""
    with catalog.write() as connection:
        found = [
            connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert found == ["wal", 2, 1]


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    catalog = Catalog(f"sqlite:///{tmp_path}/nowhere/catalog.sqlite3")
    with pytest.raises(HomeUnusableError, match=r"nowhere/catalog\.sqlite3"):
        catalog.prepare()
    catalog.close()


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite3"
    path.write_bytes(b"this is no database, " * 100)
    catalog = Catalog(f"sqlite:///{path}")
    with pytest.raises(StoreError, match=str(path)):
        catalog.prepare()
    catalog.close()


def test_a_database_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(StoreError, match="mysql"):
        Catalog("mysql://host/name")


def test_what_is_no_url_is_refused_without_being_repeated() -> None:
    with pytest.raises(StoreError, match="invalid database URL") as refused:
        Catalog(f"postgresql//me:{PASSWORD}@host/name")
    assert PASSWORD not in str(refused.value)


def test_a_file_on_a_network_file_system_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The home lies where it lies; only the kernel's list of mounts is another."""
    device = tmp_path.stat().st_dev
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(f"36 35 {os.major(device)}:{os.minor(device)} / / rw - nfs4 host:/x rw\n")
    monkeypatch.setattr(mounts, "MOUNTS", mountinfo)
    catalog = Catalog(f"sqlite:///{tmp_path}/catalog.sqlite3")
    for open_it in (catalog.prepare, catalog.migrate):
        with pytest.raises(HomeUnusableError, match="nfs4") as refused:
            open_it()
        assert "TRANSSHIP_DATABASE_URL" in refused.value.hint
    assert not (tmp_path / "catalog.sqlite3").exists()
    catalog.close()


# --- the schema ----------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_urls(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Two databases of a kind with nothing in them."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/one.sqlite3", f"sqlite:///{tmp_path}/two.sqlite3"
        return
    cluster: PostgresCluster = request.getfixturevalue("cluster")
    with cluster.database() as one, cluster.database() as two:
        yield cluster.url(one), cluster.url(two)


@pytest.fixture
def migrated(empty_urls: tuple[str, str]) -> Iterator[Catalog]:
    """A new database that came about by migrations."""
    catalog = Catalog(empty_urls[0])
    catalog.prepare()
    yield catalog
    catalog.close()


def _indexes(catalog: Catalog) -> dict[str, str]:
    """Each index as the database holds it, spaces aside."""
    if catalog.shared:
        asked = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
    else:
        asked = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    with catalog.read() as connection:
        found = connection.execute(text(asked)).all()
    return {
        name: "".join(definition.split()) for name, definition in found if "alembic" not in name
    }


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection")  # indexes: see below
@pytest.mark.filterwarnings("ignore:autogenerate skipping metadata-specified expression-based")
def test_the_migrations_lead_to_the_tables_of_the_schema(migrated: Catalog) -> None:
    with migrated.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences: list[Any] = compare_metadata(context, metadata)
    assert [d for d in differences if d[0] not in {"add_index", "remove_index"}] == []


def test_the_migrations_lead_to_the_indexes_of_the_schema(
    migrated: Catalog, empty_urls: tuple[str, str]
) -> None:
    """Partial ones and descending ones too, which the comparison above cannot read."""
    made = Catalog(empty_urls[1])
    with made.write() as connection:
        metadata.create_all(connection)
    assert _indexes(migrated) == _indexes(made)
    assert len(_indexes(made)) > 20
    made.close()


def test_the_version_that_is_checked_is_that_of_the_newest_migration() -> None:
    scripts = ScriptDirectory(migrations.__path__[0])
    assert scripts.get_current_head() == SCHEMA_VERSION


def test_what_children_come_to_is_counted_where_it_was_not_kept(migrated: Catalog) -> None:
    """As an older program leaves it: a job's figures are written when it ends."""
    scene = Scene(migrated)
    scene.worker("a worker", control=9, downloads=9)
    scene.submit("parent", kind="mirror")
    leases = {}
    for name in ("runs", "joins", "ended", "queued"):
        scene.submit(name, parent="parent", child_key=name, root="parent")
    for name in ("runs", "joins", "ended"):
        lease = scene.take(name)
        assert lease is not None
        leases[name] = lease
        with migrated.write() as connection:
            jobs.save(
                connection, lease, bytes_total=3 * BLOB_BYTES, blobs_total=3, bytes_skipped=100
            )
        scene.want(lease, "blob")
    scene.want(leases["runs"], "another")
    scene.complete(scene.running("blob"))
    scene.end(leases["ended"])
    with migrated.read() as connection:
        before = [kept(connection), progress.of_jobs(connection, ["parent", *leases])]
    assert before[0] == {
        "parent": {
            "queued": 1, "running": 2, "succeeded": 1, "failed": 0, "cancelled": 0,
            "bytes_total": 9 * BLOB_BYTES,
            "bytes_skipped": 300 + 2 * BLOB_BYTES, "bytes_moved": BLOB_BYTES,
            "blobs_total": 9, "blobs_skipped": 0, "blobs_moved": 3,
        }
    }  # fmt: skip
    scripts = ScriptDirectory(migrations.__path__[0])
    with migrated.write() as connection:
        words = scripts.get_revision("0012").module
        former_names = [
            f"ALTER TABLE {table} RENAME COLUMN {new} TO {old}"
            for table in ("jobs", "transfers")
            for old, new in words.RENAMED[table].items()
        ]
        for statement in (
            *former_names,
            "DROP TABLE job_children",
            "ALTER TABLE transfers DROP COLUMN counted",
            (
                "UPDATE jobs SET bytes_moved = 0, blobs_moved = 0, bytes_spared = 100"
                " WHERE id IN ('runs', 'joins')"
            ),
        ):
            connection.execute(text(statement))
        with Operations.context(MigrationContext.configure(connection)):
            scripts.get_revision("0005").module.upgrade()
            words.upgrade()
    with migrated.read() as connection:
        assert [kept(connection), progress.of_jobs(connection, ["parent", *leases])] == before
    claim = scene.running("another")
    claim.moved = claim.done = 40
    scene.beat(claim)
    assert scene.progress_of("parent").bytes_moved == BLOB_BYTES + 40


def test_what_was_held_before_there_were_tenants_is_the_houses(
    empty_urls: tuple[str, str],
) -> None:
    """Jobs of tokens are theirs, by their ids."""
    catalog = Catalog(empty_urls[0])
    config = Config()
    config.set_main_option("script_location", migrations.__path__[0])
    with catalog.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0006")
    with catalog.write() as connection:
        for statement in (
            "INSERT INTO image_references VALUES ('here.test/app:1', 'sha256:a', 'm', 1, 5)",
            "INSERT INTO lineage VALUES ('sha256:c', 'sha256:p', 2)",
            "INSERT INTO workspaces VALUES ('work', 'sha256:a', 'app:1', true, 1, 2)",
            "INSERT INTO workspace_layers VALUES ('work', 0, 'sha256:l')",
            _TOKEN,
        ):
            connection.execute(text(statement))
        digests = ("sha256:a", "sha256:b")  # the second is held by an index
        for digest in digests:
            connection.execute(
                text(
                    "INSERT INTO images VALUES (:digest, 'sha256:c', 'm', 'linux', 'amd64', '',"
                    " '', 1, 1, '{}')"
                ),
                {"digest": digest},
            )
        connection.execute(text("INSERT INTO edges VALUES ('sha256:index', 'sha256:b')"))
    for who in ("token:ci", "token:gone", "local"):
        old = {"id": who, "by": who}
        with catalog.write() as connection:
            connection.execute(text(_OLD_JOB), old)
    catalog.migrate()
    with catalog.read() as connection:
        name = references.get(connection, HOUSE, "here.test/app:1")
        assert name is not None
        assert (name.tenant, name.digest, name.written_seq) == (HOUSE, "sha256:a", 5)
        assert tenants.held_by(connection, HOUSE) == {"sha256:a", "sha256:b"}
        known = lineage.get(connection, HOUSE, "sha256:c")
        assert known is not None
        assert (known.parent, known.tagged_at) == ("sha256:p", 2)
        assert workspaces.get(connection, HOUSE, "work").layers == ("sha256:l",)
        by = {row.id: (row.requested_by, row.requester) for row in connection.execute(select(rows))}
    assert by["token:ci"] == ("token:id-ci", "token:id-ci")
    assert by["token:gone"] == ("token:gone", "token:gone")
    assert by["local"] == ("local", "local")
    catalog.close()


def test_fingerprints_that_came_from_credentials_alone_are_replaced(migrated: Catalog) -> None:
    """What had the same one still has the same one, and nobody can make it from a guess."""
    scene = Scene(migrated)
    scene.submit("job")
    ann, bob = "a1b2c3", "d4e5f6"
    with migrated.write() as connection:
        for repository, old in (("app", ann), ("app", bob), ("open", "")):
            connection.execute(
                text("INSERT INTO blob_sources VALUES ('sha256:a', 'r.test', :at, :old, 1)"),
                {"at": repository, "old": old},
            )
        connection.execute(
            text("INSERT INTO named_credentials VALUES ('n', 'r.test', 's', :old, 1, 'id')"),
            {"old": ann},
        )
        connection.execute(text("UPDATE jobs SET credential = :old"), {"old": ann})
        scripts = ScriptDirectory(migrations.__path__[0])
        with Operations.context(MigrationContext.configure(connection)):
            scripts.get_revision("0008").module.upgrade()
    with migrated.read() as connection:
        [named] = connection.execute(text("SELECT fingerprint FROM named_credentials")).scalars()
        [job] = connection.execute(text("SELECT credential FROM jobs")).scalars()
        [other] = connection.execute(text("SELECT other_credential FROM jobs")).scalars()
        seen = connection.execute(text("SELECT repository, fingerprint FROM blob_sources")).all()
    assert named == job
    assert other == ""
    assert named.startswith("former:")
    assert {one.repository for one in seen if not one.fingerprint} == {"open"}
    of_app = {one.fingerprint for one in seen if one.repository == "app"}
    assert len(of_app) == 2
    assert named in of_app
    assert not of_app & {ann, bob}


def test_tokens_are_granted_credentials_by_their_ids(empty_urls: tuple[str, str]) -> None:
    """What they were granted by name, of those that are there; a name may be given again."""
    catalog = Catalog(empty_urls[0])
    config = Config()
    config.set_main_option("script_location", migrations.__path__[0])
    with catalog.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0008")
    with catalog.write() as connection:
        connection.execute(
            text("INSERT INTO named_credentials VALUES ('hub', 'r.test', 's', 'f', 1)")
        )
        connection.execute(
            text(
                "INSERT INTO tokens (id, name, hashed, scopes, created_at)"
                " VALUES ('t', 'ci', 'h', :scopes, 1)"
            ),
            {"scopes": '["submit", "use:hub", "use:gone"]'},
        )
    catalog.migrate()
    with catalog.read() as connection:
        [named] = credentials.all_named(connection)
        [token] = tokens.by_hash(connection).values()
    assert named.id
    assert token.scopes == ("submit", f"use:{named.id}")
    catalog.close()


_TOKEN = """
    INSERT INTO tokens (id, name, hashed, scopes, created_at) VALUES ('id-ci', 'ci', 'h', '[]', 1)
"""
_OLD_JOB = """
    INSERT INTO jobs (id, kind, state, queue, priority, root, registry, lane, requester, turn,
      label, spec, requested_by, fingerprint, created_at, due, not_before, not_before_delay,
      rung_until,
      attempts, fence, beat, deaths, bytes_total, bytes_spared, bytes_moved, blobs_total,
      blobs_spared, blobs_moved)
    VALUES (:id, 'pull', 'succeeded', 'control', 0, :id, '', '', :by, 0,
      '', '{}', :by, '', 1, false, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
"""


def test_preparing_again_changes_nothing(scene: Scene) -> None:
    scene.submit("one")
    scene.catalog.prepare()
    assert scene.job_row("one").id == "one"


def test_migrating_again_changes_nothing(scene: Scene) -> None:
    scene.submit("one")
    scene.catalog.migrate()
    assert scene.job_row("one").id == "one"


def test_two_that_prepare_a_new_database_at_once_both_succeed(
    empty_urls: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [Catalog(empty_urls[0]) for _ in range(2)]
    both_found_it_empty = threading.Barrier(2)
    migrate = Catalog.migrate

    def migrate_together(catalog: Catalog) -> None:
        both_found_it_empty.wait(20)
        migrate(catalog)

    monkeypatch.setattr(Catalog, "migrate", migrate_together)
    with ThreadPoolExecutor() as pool:
        list(pool.map(Catalog.prepare, both))
    with both[0].read() as connection:
        assert connection.execute(select(cluster.c.id)).scalars().all() == [1]
    for catalog in both:
        catalog.close()


def test_a_database_of_a_newer_program_is_refused(catalog: Catalog) -> None:
    with catalog.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaVersionError, match="9999"):
        catalog.prepare()


def test_a_database_of_a_newer_program_is_not_migrated(catalog: Catalog) -> None:
    with catalog.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaVersionError, match="9999"):
        catalog.migrate()


# --- secrets ---------------------------------------------------------------------------------


@SQLITE_ONLY
def test_no_byte_of_a_secret_is_in_the_files_of_the_database(
    scene: Scene, directory_of_sqlite: Path
) -> None:
    sealer = Sealer(Fernet.generate_key().decode())
    sealed = sealer.seal({"username": "ada", "password": PASSWORD})
    with scene.catalog.write() as connection:
        credentials.keep(connection, "one", [SealedCredential(HERE, sealed, "me")])
    files = list(directory_of_sqlite.glob("catalog.sqlite3*"))
    everything = b"".join(path.read_bytes() for path in files)
    assert sealed.encode() in everything
    assert PASSWORD.encode() not in everything


def test_no_value_is_in_the_traceback_of_a_statement_that_fails(catalog: Catalog) -> None:
    statement = text("SELECT no_such_column, :secret")
    with pytest.raises((StoreError, DBAPIError)) as failed, catalog.write() as connection:
        connection.execute(statement, {"secret": PASSWORD})
    shown = "".join(traceback.format_exception(failed.value))
    assert "no_such_column" in shown
    assert PASSWORD not in shown


def test_kept_credentials_are_found_by_registry_and_opened(scene: Scene) -> None:
    sealer = Sealer(Fernet.generate_key().decode())
    sealed = SealedCredential(HERE, sealer.seal({"password": PASSWORD}), "me")
    with scene.catalog.write() as connection:
        credentials.keep(connection, "one", [sealed])
        found = credentials.of_root(connection, "one")
    assert found == {HERE: sealed}
    assert sealer.open(found[HERE].sealed) == {"password": PASSWORD}


def test_credentials_given_again_replace_the_first(scene: Scene) -> None:
    with scene.catalog.write() as connection:
        for number in ("1", "2"):
            credentials.keep(
                connection, "one", [SealedCredential(HERE, f"sealed {number}", number)]
            )
        found = credentials.of_root(connection, "one")
    assert found == {HERE: SealedCredential(HERE, "sealed 2", "2")}


def test_credentials_of_one_job_are_not_those_of_another(scene: Scene) -> None:
    with scene.catalog.write() as connection:
        credentials.keep(connection, "one", [SealedCredential(HERE, "sealed", "me")])
        assert credentials.of_root(connection, "two") == {}
