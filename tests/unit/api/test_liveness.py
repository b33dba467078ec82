"""A worker counts as long as its row beats."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from transship.api.views.liveness import Liveness
from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.scheduling import heartbeats
from transship.store.catalog.scheduling.admission import limits
from transship.store.catalog.scheduling.heartbeats import Threads

LEASE_SECONDS = 20.0


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog(f"sqlite:///{tmp_path / 'catalog.sqlite3'}")
    opened.prepare()
    with opened.write() as connection:
        limits.set_lease_seconds(connection, LEASE_SECONDS)
        for name in ("alive", "dead"):
            heartbeats.register(
                connection, name, pid=1, threads=Threads(control=1, downloads=2), now=0
            )
    yield opened
    opened.close()


def test_a_worker_that_stands_still_for_a_lease_counts_no_more_until_it_beats(
    catalog: Catalog,
) -> None:
    now = [1000.0]
    liveness = Liveness(lambda: now[0])

    def controls(*, after: float) -> int:
        now[0] += after
        with catalog.write() as connection:
            heartbeats.beat_worker(connection, "alive")
        with catalog.read() as connection:
            return liveness.threads(connection).control

    assert [controls(after=0), controls(after=LEASE_SECONDS - 1), controls(after=1)] == [2, 2, 1]
    with catalog.write() as connection:
        heartbeats.beat_worker(connection, "dead")
    assert controls(after=1) == 2
