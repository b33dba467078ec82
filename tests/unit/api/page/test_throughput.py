"""What moved, minute by minute."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import insert

from transship.api.views.throughput import MINUTES, Throughput
from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.db.schema import transfers

NOW = 1_000_000_020.0  # twenty seconds into a minute... of the clock of the database


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    one = Catalog(f"sqlite:///{tmp_path}/c.sqlite3")
    one.prepare()
    yield one
    one.close()


def moved(
    catalog: Catalog,
    number: int,
    size: int,
    start: float,
    end: float | None,
    direction: str = "download",
) -> None:
    """A transfer of *size* bytes that took from *start* to *end*, or still runs."""
    with catalog.write() as connection:
        connection.execute(
            insert(transfers).values(
                id=number,
                key=f"k{number}",
                direction=direction,
                digest=f"sha256:{number:064}",
                size=size,
                media_type="",
                registry="r.example",
                repository="a",
                root="root",
                priority=0,
                turn=number,
                state="running" if end is None else "done",
                stop_requested=False,
                not_before=0,
                not_before_delay=0,
                dispatched_until=0,
                attempts=1,
                tries=1,
                furthest=size,
                upload_offset=0,
                fence=1,
                beat=0,
                crashes=0,
                furthest_at_death=0,
                bytes_done=size,
                bytes_moved=size,
                created_at=start,
                started_at=start,
                finished_at=end,
            )
        )


def test_bytes_count_from_the_start_of_a_transfer_to_its_end(catalog: Catalog) -> None:
    minute = NOW // 60 * 60
    moved(catalog, 1, 3000, minute - 120, minute - 30)  # a minute and a half
    moved(catalog, 2, 500, minute - 61, minute - 61, "upload")
    moved(catalog, 3, 700, minute + 5, None)
    with catalog.read() as connection:
        found = Throughput().read(connection, NOW)
    assert found.minutes[-1] == minute
    assert len(found.minutes) == len(found.bytes["download"]) == MINUTES
    assert found.bytes["download"][-3:] == [2000, 1000, 700]
    assert found.bytes["upload"][-3:] == [500, 0, 0]


def test_looking_again_and_again_comes_to_what_one_look_finds(catalog: Catalog) -> None:
    throughput = Throughput()
    for number in range(1, 40):
        end = NOW + 7 * number
        moved(catalog, number, 1000 * number, end - 5 * number, end)
        with catalog.read() as connection:
            throughput.read(connection, end + 3)
            again = throughput.read(connection, end + 3)
            fresh = Throughput().read(connection, end + 3)
        assert sum(again.bytes["download"]) == pytest.approx(
            sum(fresh.bytes["download"]), abs=number + MINUTES
        )
        assert again.rates == pytest.approx(fresh.rates)


def test_one_that_is_committed_late_counts_once(catalog: Catalog) -> None:
    throughput = Throughput()
    with catalog.read() as connection:
        throughput.read(connection, NOW)
    moved(catalog, 1, 1000, NOW - 6, NOW - 5)
    for later in (1, 2, 30):
        with catalog.read() as connection:
            found = throughput.read(connection, NOW + later)
        assert sum(found.bytes["download"]) == 1000


def test_what_is_older_than_an_hour_is_let_go(catalog: Catalog) -> None:
    moved(catalog, 1, 1000, NOW - 10, NOW - 5)
    throughput = Throughput()
    with catalog.read() as connection:
        assert sum(throughput.read(connection, NOW).bytes["download"]) == 1000
        assert sum(throughput.read(connection, NOW + 3700).bytes["download"]) == 0


def test_rates_are_of_the_last_ten_seconds(catalog: Catalog) -> None:
    moved(catalog, 1, 1000, NOW - 20, None)
    moved(catalog, 2, 5000, NOW - 4, NOW - 1, "upload")
    with catalog.read() as connection:
        rates = Throughput().read(connection, NOW).rates
    assert rates["r.example", "download"] == pytest.approx(50)
    assert rates["r.example", "upload"] == pytest.approx(500)
