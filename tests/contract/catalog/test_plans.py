"""No statement of the engine scans what grows: the plans of all of them on an aged catalog.

The catalog is filled once for each database; the course of work on it is `tests.support.course`.
Not in the course, for they are meant to read everything: the snapshot that a collection marks in,
the walk of `fsck`, the figures of /metrics.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from tests.contract.catalog.prepared import prepared_sqlite
from tests.support.aged import WITH_HISTORY, age
from tests.support.course import Course
from tests.support.plans import Allowed, PlanReader, report
from tests.support.postgres import PostgresCluster
from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.scheduling import retention
from transship.store.catalog.scheduling.admission import outlook

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

LEAST_STATEMENTS = 100  # different ones that the course executes on growing tables

ALLOWED = tuple(
    Allowed(
        f"DELETE FROM {table} WHERE ({key}",
        most_rows=2 * retention.RECORDS_AT_ONCE + 100,
        reason="each row of the page is found by its age, and then again by its key",
    )
    for table, key in (
        ("derivations", "derivations."),
        ("targets", "targets."),
        ("image_events", "image_events."),
        ("blob_sources", "blob_sources."),
    )
)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def aged(request: pytest.FixtureRequest) -> Iterator[Catalog]:
    """A catalog after a month of use."""
    if request.param == "sqlite":
        with tempfile.TemporaryDirectory(prefix="aged-") as directory:
            catalog = Catalog(prepared_sqlite(Path(directory)))
            age(catalog)
            yield catalog
            catalog.close()
        return
    cluster: PostgresCluster = request.getfixturevalue("cluster")
    with cluster.database() as name:
        catalog = Catalog(cluster.url(name))
        catalog.prepare()
        age(catalog)
        yield catalog
        catalog.close()


@pytest.mark.parametrize(
    ("index", "uses"),
    [("transfers_queue", Course.admit), ("jobs_due", Course.pick_jobs)],
    ids=["transfers_queue", "jobs_due"],
)
def test_a_missing_index_is_found(
    aged: Catalog, index: str, uses: Callable[[Course, Connection], None]
) -> None:
    course = Course(aged, WITH_HISTORY)

    def found(*, dropped: bool) -> int:
        reader = PlanReader(aged, allowed=ALLOWED)
        with suppress(_RollBackError), reader.watching(), aged.write() as connection:
            if dropped:
                connection.execute(text(f"DROP INDEX {index}"))
            uses(course, connection)
            raise _RollBackError
        assert reader.seen
        return len(reader.found)

    assert found(dropped=False) == 0
    assert found(dropped=True) > 0


def test_no_statement_of_the_course_scans_what_grows(aged: Catalog) -> None:
    reader = PlanReader(aged, allowed=ALLOWED)
    for step, do in Course(aged, WITH_HISTORY).steps():
        reader.step = step
        with reader.watching():
            do()
    assert len(reader.seen) >= LEAST_STATEMENTS
    assert not reader.found, f"\n{report(reader.found)}"


def test_postgresql_plans_each_execution_for_its_values(aged: Catalog) -> None:
    if not aged.shared:
        pytest.skip("SQLite has one plan for all values")
    for transaction in (aged.read, aged.write):
        with transaction() as connection:
            mode = connection.execute(text("SHOW plan_cache_mode")).scalar()
            assert mode == "force_custom_plan"


def test_postgresql_plans_once_what_has_no_parameters(aged: Catalog) -> None:
    if not aged.shared:
        pytest.skip("SQLite plans nothing twice")
    plans = text("SELECT sum(generic_plans) FROM pg_prepared_statements")
    for transaction in (aged.read, aged.write):
        for _ in range(20):  # psycopg prepares what it has seen five times
            with transaction() as connection:
                outlook.look(connection, aged.now())
        with transaction() as connection:
            assert (connection.execute(plans).scalar() or 0) > 0


class _RollBackError(Exception):
    """Undoes a transaction."""
