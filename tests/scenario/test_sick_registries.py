"""A registry that is silent, paused or parked costs the jobs between others nothing."""

from __future__ import annotations

import os
import re
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event
from sqlalchemy import Engine as SqlEngine

from tests.contract.catalog.prepared import PreparedPostgres, prepared_sqlite
from tests.support.engine import Engine
from tests.support.postgres import PostgresCluster
from tests.support.processes import wait_until
from tests.support.registry_simulator import RegistrySimulator
from transship.store.catalog.scheduling.admission import limits, parking

LAYERS = 2
SICK_JOBS = 10  # more than one lane gets threads for
BOUND_SECONDS = 1.0  # for a copy that takes a fifth of that alone; five times that elsewhere

Registries = Callable[[], RegistrySimulator]


@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgresCluster]:
    with PostgresCluster() as server:
        yield server


@pytest.fixture(scope="module")
def prepared_postgres(cluster: PostgresCluster) -> Iterator[PreparedPostgres]:
    with cluster.database() as name:
        prepared = PreparedPostgres(cluster, name)
        yield prepared
        prepared.close()


@pytest.fixture
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    settings: dict[str, Any] = {}
    with ExitStack() as stack:
        if request.param == "sqlite":
            prepared_sqlite(home)
        else:
            prepared: PreparedPostgres = request.getfixturevalue("prepared_postgres")
            settings["database_url"] = prepared.url
            stack.callback(prepared.renew)
        yield stack.enter_context(Engine(home, **settings))


@pytest.fixture
def registries() -> Iterator[Registries]:
    with ExitStack() as stack:
        yield lambda: stack.enter_context(RegistrySimulator())


class Course:
    """A registry that is well, with images to be copied to another one, and one that is sick."""

    def __init__(self, engine: Engine, registries: Registries) -> None:
        self.engine = engine
        self.well, self.other, self.sick = registries(), registries(), registries()
        self._images = 0
        self.copy_seconds()  # the first one opens connections
        alone = min(self.copy_seconds() for _ in range(3))
        self.bound = max(BOUND_SECONDS, 5 * alone)

    def wait_for_others(self) -> None:
        """Wait until all has been done that the registries which are well had to do."""
        due = "SELECT 1 FROM jobs WHERE due AND owner IS NULL AND state IN ('queued', 'running')"
        moving = "SELECT 1 FROM transfers WHERE state = 'pending' AND registry <> '{}'"
        wait_until(
            lambda: not self.engine.ask(due) and not self.engine.ask(moving.format(self.sick.host)),
            60,
            "the others to have nothing to do",
        )

    def copy_seconds(self) -> float:
        """How long an image takes from one well registry to the other."""
        self._images += 1
        tag = f"well{self._images}"
        self.well.add_image("app", tag, [os.urandom(1000) for _ in range(LAYERS)])
        began = time.monotonic()
        row = self.engine.run(
            kind="copy",
            source=f"{self.well.host}/app:{tag}",
            destination=f"{self.other.host}/app:{tag}",
        )
        assert row.state == "succeeded", row.error
        return time.monotonic() - began

    def close(self, how: str, seconds: float) -> None:
        """Pause the sick registry, or park it for some *seconds*."""
        with self.engine.context.change() as change:
            if how == "paused":
                limits.override_registry(change.connection, self.sick.host, {"paused": True})
            else:
                parking.park(change.connection, self.sick.host, seconds, change.now)

    def submit_sick(self, side: str, number: int = SICK_JOBS) -> list[str]:
        """Jobs with the sick registry on one *side*, each of an image of its own."""
        source = self.sick if side == "source" else self.well
        target = self.sick if side == "destination" else self.other
        for n in range(number):
            source.add_image("sick", f"{n}", [b"%d %d" % (n, layer) for layer in range(LAYERS)])
        return [
            self.engine.submit(
                kind="copy",
                source=f"{source.host}/sick:{n}",
                destination=f"{target.host}/sick:{n}",
            )
            for n in range(number)
        ]


@pytest.fixture
def course(engine: Engine, registries: Registries) -> Course:
    return Course(engine, registries)


SILENT = {
    "source": ("source", "", False),
    "source's blobs": ("source", "/blobs/", True),
    "destination": ("destination", "", False),
    "destination's blobs": ("destination", "HEAD .*/blobs/", False),
    "uploads": ("destination", "POST|PUT", True),
}
ON = [("sqlite", name) for name in SILENT] + [
    ("postgresql", name) for name in ("source's blobs", "destination")
]


@pytest.mark.parametrize(
    ("engine", "side", "silent_to", "get_far"),
    [(database, *SILENT[name]) for database, name in ON],
    ids=[f"{name} on {database}" for database, name in ON],
    indirect=["engine"],
)
def test_a_silent_registry_costs_others_nothing(
    course: Course, side: str, silent_to: str, get_far: bool
) -> None:
    course.sick.silent_to = re.compile(silent_to)
    ids = course.submit_sick(side)
    wait_until(lambda: course.sick.waiting, 30, "the sick registry to be asked")
    if get_far:
        course.wait_for_others()
    took = [course.copy_seconds() for _ in range(3)]
    crashes = course.engine.ask("SELECT sum(crashes) AS crashes FROM jobs")[0].crashes
    assert statistics.median(took) < course.bound, took
    assert crashes == 0
    course.sick.silent_to = None
    course.sick.let_go.set()
    assert course.engine.end(ids[0]).state == "succeeded"


@pytest.mark.parametrize(
    ("engine", "side", "how"),
    [
        ("sqlite", "source", "paused"),
        ("sqlite", "destination", "parked"),
        ("postgresql", "source", "parked"),
        ("postgresql", "destination", "paused"),
    ],
    indirect=["engine"],
)
def test_a_closed_registry_costs_others_nothing(course: Course, side: str, how: str) -> None:
    engine = course.engine
    course.close(how, 60.0)
    ids = course.submit_sick(side)
    took = [course.copy_seconds() for _ in range(3)]
    assert statistics.median(took) < course.bound, took
    assert course.sick.requests() == []
    assert engine.ask("SELECT sum(fence) AS claims FROM jobs WHERE state = 'queued'")[0].claims == 0
    with engine.context.change() as change:
        limits.override_registry(change.connection, course.sick.host, {"paused": False})
        parking.unpark(change.connection, course.sick.host)
    assert engine.end(ids[-1]).state == "succeeded"


@contextmanager
def counted_commits() -> Iterator[list[float]]:
    """The times of the commits of this process, reads too."""
    times: list[float] = []

    def note(_connection: Connection) -> None:
        times.append(time.monotonic())

    event.listen(SqlEngine, "commit", note)
    try:
        yield times
    finally:
        event.remove(SqlEngine, "commit", note)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("engine", ["sqlite", "postgresql"], indirect=True)
@pytest.mark.parametrize("name", ["source's blobs", "destination"])
def test_a_thousand_jobs_of_a_silent_registry_cost_others_nothing(
    course: Course, name: str
) -> None:
    side, silent_to, _ = SILENT[name]
    course.sick.silent_to = re.compile(silent_to)
    course.submit_sick(side, 1_000)
    took = [course.copy_seconds() for _ in range(30)]
    print(f"beside 1,000: median {statistics.median(took):.2f} s, at most {max(took):.2f} s")
    assert max(took) < course.bound, took
    assert course.engine.ask("SELECT sum(crashes) AS crashes FROM jobs")[0].crashes == 0
    course.sick.silent_to = None
    course.sick.let_go.set()


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", ["paused", "parked"])
@pytest.mark.parametrize("engine", ["sqlite", "postgresql"], indirect=True)
@pytest.mark.parametrize("side", ["source", "destination"])
def test_ten_thousand_jobs_of_a_closed_registry_cost_others_nothing(
    course: Course, side: str, how: str
) -> None:
    course.close(how, 3600.0)
    course.submit_sick(side, 10_000)
    took = [course.copy_seconds() for _ in range(30)]
    print(f"beside 10,000: median {statistics.median(took):.2f} s, at most {max(took):.2f} s")
    assert max(took) < course.bound, took
    time.sleep(1)  # what the last copy causes ends
    with counted_commits() as commits:
        time.sleep(20)
    print(f"{len(commits) / 20:.2f} transactions a second")
    assert len(commits) < 20
    assert course.sick.requests() == []
