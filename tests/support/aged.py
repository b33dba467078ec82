"""A catalog after a month of use, filled by set-based SQL in seconds.

Rows are made by `INSERT … SELECT` over a row of numbers, so that the same statements work on
SQLite and on PostgreSQL. A column that is not given gets NULL, or zero, or an empty text: new
columns need no change here as long as one of these is right for them.

Ids tell what a row is: `job_id(n)` for the n-th job, `digest(n)` for the n-th blob.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    Float,
    Integer,
    String,
    Table,
    func,
    select,
    text,
)

from transship.store.catalog.db import schema as s
from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.scheduling import heartbeats
from transship.store.catalog.scheduling.admission import lanes, limits
from transship.store.catalog.scheduling.heartbeats import Threads

REGISTRIES = 23
DAY = 86400.0
KEPT_DAYS = 29  # a day less than history is kept by default
WORKERS = ("worker-1", "worker-2")
POLICY = "nightly"  # a stored mirror whose time has come while its run goes on
_BASE = 100_000_000  # so that all numbers have as many digits


def job_id(number: int) -> str:
    """The id of the n-th job."""
    return f"j{_BASE + number}"


def digest(number: int) -> str:
    """The digest of the n-th blob."""
    return f"sha256:{'0' * 55}{_BASE + number}"


def registry(number: int) -> str:
    """One of the registries."""
    return f"r{number % REGISTRIES}.test"


@dataclass(frozen=True, slots=True)
class Aged:
    """How much there is; jobs are numbered from 1, ended ones first.

    Attributes:
        ended: Jobs of the past, half of them in mirrors of 500.
        done: Transfers of the past, each with its wait and the blob that it brought.
        children: Children of one mirror, all of `registry(0)` and due.
        waiting: Other active jobs, each a root, of all registries.
        pending: Transfers that these wait for.
    """

    ended: int = 50_000
    done: int = 200_000
    sources: int = 300_000
    targets: int = 50_000
    events: int = 200_000
    images: int = 20_000
    policies_runs: int = 5_000
    children: int = 10_000
    waiting: int = 10_000
    pending: int = 100_000

    @property
    def mirror(self) -> int:
        """The number of the mirror that is active."""
        return self.ended + 1

    @property
    def first_child(self) -> int:
        """The number of its first child."""
        return self.mirror + 1

    @property
    def first_waiting(self) -> int:
        """The number of the first job that waits for transfers."""
        return self.first_child + self.children

    @property
    def last_job(self) -> int:
        """The number of the newest job."""
        return self.first_waiting + self.waiting - 1

    @property
    def queued_twice(self) -> int:
        """How many waiting jobs are of `registry(0)` besides the share of every registry."""
        return self.waiting // 5


WITH_HISTORY = Aged()
WITHOUT_HISTORY = Aged(ended=0, done=0, sources=0, targets=0, events=0, images=0, policies_runs=0)


def age(catalog: Catalog, size: Aged = WITH_HISTORY, *, now: float | None = None) -> None:
    """Fill a prepared, empty catalog, and let PostgreSQL count what it has.

    SQLite is left without statistics, as it is where the engine runs: nothing analyses it there.
    """
    now = time.time() if now is None else now
    with _unchecked(catalog) as connection, _unindexed(connection):
        for part in (_jobs, _transfers, _store, _records):
            part(connection, size, now)
    with catalog.write() as connection:
        if connection.dialect.name == "postgresql":
            for table, column in ((s.jobs, "seq"), (s.transfers, "id"), (s.events, "id")):
                connection.execute(
                    text(
                        f"SELECT setval(pg_get_serial_sequence('{table.name}', '{column}'), "
                        f"(SELECT coalesce(max({column}), 1) FROM {table.name}))"
                    )
                )
        for worker in WORKERS:
            threads = Threads(control=8, downloads=16, uploads=16, local=2)
            heartbeats.register(connection, worker, pid=1, threads=threads, now=now)
        limits.override(connection, "max_concurrent_downloads", 3)
    if catalog.shared:
        with cast("Any", catalog._database)._writer.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("ANALYZE"))


def rows_of(catalog: Catalog) -> dict[str, int]:
    """How many rows each table has."""
    with catalog.read() as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in s.metadata.sorted_tables
        }


# --- the parts -----------------------------------------------------------------------------------

_JOB = f"'j' || ({_BASE} + n)"
_REGISTRY = f"'r' || (n % {REGISTRIES}) || '.test'"


def _digest(number: str = "n") -> str:
    return f"'sha256:{'0' * 55}' || ({_BASE} + {number})"


def _job(number: str) -> str:
    return f"'j' || ({_BASE} + {number})"


def _spread(rows: int, now: float) -> str:
    """A time of the past, in the order of numbers."""
    return f"{now - KEPT_DAYS * DAY} + n * {KEPT_DAYS * DAY / max(1, rows)}"


def _jobs(connection: Connection, size: Aged, now: float) -> None:
    spec = """'{"kind": "copy", "source": "r0.test/library/x:1", "destination": "t.test/x:1"}'"""
    common = {
        "seq": "n",
        "id": _JOB,
        "kind": "CASE WHEN n % 3 = 0 THEN 'pull' ELSE 'copy' END",
        "queue": "'control'",
        "root": _JOB,
        "registry": _REGISTRY,
        "lane": f"{_REGISTRY} || ' t.test'",
        "turn": "n",
        "label": "'r0.test/library/x:' || n",
        "spec": spec,
        "requested_by": "'user' || (n % 7)",
        "requester": "'user' || (n % 7)",
        "created_at": f"{now}",
    }
    in_mirror = f"n <= {size.ended // 2} AND n % 500 <> 1"
    mirror = "n - (n - 1) % 500"
    _fill(
        connection,
        s.jobs,
        (1, size.ended),
        **{
            **common,
            "kind": f"CASE WHEN n <= {size.ended // 2} AND n % 500 = 1 THEN 'mirror' "
            f"ELSE {common['kind']} END",
            "parent": f"CASE WHEN {in_mirror} THEN {_job(f'({mirror})')} END",
            "child_key": f"CASE WHEN {in_mirror} THEN 't' || n END",
            "root": f"CASE WHEN {in_mirror} THEN {_job(f'({mirror})')} ELSE {_JOB} END",
            "state": "CASE WHEN n % 50 = 0 THEN 'failed' ELSE 'succeeded' END",
            "fence": "2",
            "created_at": _spread(size.ended, now),
            "started_at": _spread(size.ended, now),
            "finished_at": _spread(size.ended, now),
        },
    )
    _fill(
        connection,
        s.jobs,
        (size.mirror, size.mirror),
        **{
            **common,
            "kind": "'mirror'",
            "registry": f"'{registry(0)}'",
            "state": "'running'",
            "fence": "1",
            "checkpoint": """'{"children_made": true}'""",
            "started_at": f"{now}",
        },
    )
    _fill(
        connection,
        s.jobs,
        (size.first_child, size.first_waiting - 1),
        **{
            **common,
            "kind": "'copy'",
            "parent": f"'{job_id(size.mirror)}'",
            "child_key": "'t' || n",
            "root": f"'{job_id(size.mirror)}'",
            "requester": "'user1'",
            "registry": f"'{registry(0)}'",
            "lane": f"'{registry(0)} t.test'",
            "state": "'queued'",
            "due": "true",
        },
    )
    _fill(
        connection,
        s.jobs,
        (size.first_waiting, size.last_job),
        **{
            **common,
            "registry": f"CASE WHEN n % 5 = 0 THEN '{registry(0)}' ELSE {_REGISTRY} END",
            "lane": f"CASE WHEN n % 5 = 0 THEN '{registry(0)}' ELSE {_REGISTRY} END || ' t.test'",
            "state": "'running'",
            "fence": "1",
            "started_at": f"{now}",
            "deadline": f"CASE WHEN n % 4 = 0 THEN {now + DAY} END",
        },
    )
    connection.exec_driver_sql(
        "INSERT INTO job_children"
        " SELECT parent, sum(CASE state WHEN 'queued' THEN 1 ELSE 0 END), 0,"
        " sum(CASE state WHEN 'succeeded' THEN 1 ELSE 0 END),"
        " sum(CASE state WHEN 'failed' THEN 1 ELSE 0 END), 0, 0, 0, 0, 0, 0, 0, 0"
        " FROM jobs WHERE parent IS NOT NULL GROUP BY parent"
        # And as many others as would be there if pulls of the past had been of all tags.
        " UNION ALL SELECT id, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 FROM jobs"
        " WHERE kind = 'pull' AND parent IS NULL AND finished_at IS NOT NULL"
    )


def _transfers(connection: Connection, size: Aged, now: float) -> None:
    last = size.done + size.pending
    common = {
        "id": "n",
        "key": f"'download ' || {_digest()}",
        "direction": "'download'",
        "digest": _digest(),
        "size": "1000",
        "media_type": "'application/x'",
        "repository": "'library/x'",
        "turn": "n",
    }
    ended_job = _job(f"(1 + n % {max(1, size.ended)})")
    waiting_job = _job(f"({size.first_waiting} + n % {size.waiting})")
    lane = f"'r' || (n % {REGISTRIES}) || '.test'"
    _fill(
        connection,
        s.transfers,
        (1, size.done),
        **{
            **common,
            "registry": lane,
            "root": ended_job,
            "state": "'done'",
            "fence": "1",
            "created_at": _spread(size.done, now),
            "finished_at": _spread(size.done, now),
        },
    )
    _fill(
        connection,
        s.transfers,
        (size.done + 1, last),
        **{
            **common,
            "registry": lane,
            "root": waiting_job,
            "requester": "'user' || (n % 7)",
            "state": "'pending'",
            "created_at": f"{now}",
        },
    )
    common = {"transfer": "n", "registry": lane, "repository": "'library/x'", "counted": "true"}
    _fill(connection, s.waits, (1, size.done), **common, job=ended_job, ended="true")
    _fill(connection, s.waits, (size.done + 1, last), **common, job=waiting_job)
    for number in range(REGISTRIES):
        for direction in lanes.DIRECTIONS:
            lanes.open_lane(connection, direction, registry(number))


def _store(connection: Connection, size: Aged, now: float) -> None:
    _fill(
        connection,
        s.blobs,
        (1, size.done),
        digest=_digest(),
        size="1000",
        created_at=_spread(size.done, now),
        used_at=_spread(size.done, now),
    )
    # Some of blobs that are held, the oldest ones of blobs that are gone.
    _fill(
        connection,
        s.blob_sources,
        (1, size.sources),
        digest=_digest(),
        registry=_REGISTRY,
        repository="'library/' || (n % 500)",
        confirmed_at=f"{now} - n * {KEPT_DAYS * DAY / max(1, size.sources)}",
    )
    _fill(
        connection,
        s.leases,
        (0, 8 * size.waiting - 1),
        holder=_job(f"({size.first_waiting} + n / 8)"),
        digest=_digest(f"({size.done} + n)"),
    )
    config = f"({size.done} - n)"
    _fill(
        connection,
        s.images,
        (1, size.images),
        digest=_digest(),
        image_id=_digest(config),
        media_type="'application/vnd.oci.image.manifest.v1+json'",
        os="'linux'",
        architecture="'amd64'",
        created="'2026-01-01T00:00:00Z'",
        size="2000",
        layers="2",
        labels="'{}'",
    )
    _fill(
        connection,
        s.lineage,
        (1, size.images),
        image_id=_digest(config),
        tagged_at=f"{now}",
        parent=f"CASE WHEN n % 2 = 0 THEN {_digest(f'({size.done} - n + 1)')} END",
    )
    _fill(
        connection,
        s.references,
        (1, size.images),
        name="'r0.test/library/x:' || n",
        digest=_digest(),
        media_type="'application/vnd.oci.image.manifest.v1+json'",
        updated_at=_spread(size.images, now),
        written_seq="n",
    )
    _fill(
        connection,
        s.edges,
        (0, 4 * size.images - 1),
        parent=_digest("(1 + n / 4)"),
        child=_digest(f"({size.images} + n)"),
    )
    _fill(
        connection,
        s.layers,
        (1, 4 * size.images),
        digest=_digest(f"({size.images} + n)"),
        diff_id=_digest(f"({size.images} + n / 2)"),
        verified="true",
    )


def _records(connection: Connection, size: Aged, now: float) -> None:
    _fill(
        connection,
        s.events,
        (1, size.events),
        job=_job(f"(1 + n % {max(1, size.ended)})"),
        time=_spread(size.events, now),
        type="'running'",
        data="'{}'",
    )
    _fill(
        connection,
        s.events,
        (size.events + 1, size.events + size.children + size.waiting),
        job=_job(f"(n - {size.events} + {size.mirror})"),
        time=f"{now}",
        type="'queued'",
        data="'{}'",
    )
    _fill(
        connection,
        s.image_events,
        (1, 2 * size.images),
        time=_spread(2 * size.images, now),
        action="'tag'",
        actor="'r0.test/library/x:' || n",
        attributes="'{}'",
    )
    _fill(
        connection,
        s.targets,
        (1, size.targets),
        name="'t.test/x:' || n",
        written_seq="n",
        written_by=_job(f"(1 + n % {max(1, size.ended)})"),
    )
    _fill(
        connection,
        s.derivations,
        (1, size.targets),
        source_digest=_digest(),
        transform="'platforms linux/amd64'",
        target_digest=_digest("(n + 1)"),
    )
    _fill(
        connection,
        s.credentials,
        (size.first_waiting, size.last_job),
        root=_JOB,
        registry=_REGISTRY,
        sealed="'sealed'",
        fingerprint="'fingerprint'",
    )
    _fill(
        connection,
        s.mirrors,
        (1, 1),
        name=f"'{POLICY}'",
        spec="""'{"kind": "mirror", "source": "r0.test/library/x", "destination": "t.test/x"}'""",
        enabled="true",
        interval="300",
        next_run=f"{now - 1}",
        next_run_delay="300",
    )
    first = max(1, size.ended - size.policies_runs + 1)
    _fill(
        connection,
        s.mirror_runs,
        (first, size.mirror),
        job=_JOB,
        mirror=f"'{POLICY}'",
        started_at=_spread(size.ended, now),
    )


@contextmanager
def _unchecked(catalog: Catalog) -> Iterator[Connection]:
    """A write transaction in which foreign keys are not looked up for each row.

    On SQLite it also has memory for all the pages that it changes, and waits for no disk.
    """
    writer = cast("Any", catalog._database)._writer
    if not catalog.shared:
        with writer.connect() as connection:
            for pragma in ("foreign_keys=OFF", "synchronous=OFF", "cache_size=-500000"):
                connection.connection.dbapi_connection.execute(f"PRAGMA {pragma}")
    with catalog.write() as connection:
        if catalog.shared:
            connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        yield connection
    writer.dispose()  # the next connection has the settings that it should have


@contextmanager
def _unindexed(connection: Connection) -> Iterator[None]:
    """Take the indexes away, and make them again as they were: faster than to keep them."""
    made = connection.exec_driver_sql(_INDEXES[connection.dialect.name]).all()
    for name, _ in made:
        connection.exec_driver_sql(f'DROP INDEX "{name}"')
    yield
    for _, definition in made:
        connection.exec_driver_sql(definition)


# Those of constraints are not among them.
_INDEXES = {
    "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
    "postgresql": """
        SELECT relname, pg_get_indexdef(oid) FROM pg_class
        WHERE relkind = 'i' AND relnamespace = 'public'::regnamespace
        AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = pg_class.oid)
    """,
}


# --- inside --------------------------------------------------------------------------------------


def _fill(connection: Connection, table: Table, numbers: tuple[int, int], **given: str) -> None:
    """Insert a row for each number `n` of the range; values are SQL."""
    first, last = numbers
    if last < first:
        return
    unknown = given.keys() - table.columns.keys()
    assert not unknown, (table.name, unknown)
    values = {
        column.name: given.get(column.name, _neutral(column))
        for column in table.columns
        if column.name in given or not _numbered(column)
    }
    columns = ", ".join(f'"{name}"' for name in values)
    connection.exec_driver_sql(
        f'INSERT INTO "{table.name}" ({columns}) '
        f"WITH RECURSIVE numbers(n) AS (SELECT {first} UNION ALL "
        f"SELECT n + 1 FROM numbers WHERE n < {last}) "
        f"SELECT {', '.join(values.values())} FROM numbers".replace("%", _percent(connection))
    )


def _percent(connection: Connection) -> str:
    return "%%" if connection.dialect.paramstyle in ("pyformat", "format") else "%"


def _numbered(column: Column[Any]) -> bool:
    """Whether the database gives the value, if nobody does: the numeric key of a row."""
    alone = len(column.table.primary_key) == 1
    return column.primary_key and alone and isinstance(column.type, Integer)


def _neutral(column: Column[Any]) -> str:
    if column.nullable:
        return "NULL"
    match column.type:
        case Boolean():
            return "false"
        case Integer() | Float():
            return "0"
        case String():
            return "''"
        case JSON():
            return "'{}'"
        case other:
            raise AssertionError(f"{column}: no neutral value of {other!r}")
