"""Several processes admit at once, and the limit holds; without turns it would not."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, event, func, select, text

import tests
from tests.contract.catalog.crowd import NOW
from tests.contract.catalog.scene import Scene, named
from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.db.schema import TRANSFER_BUSY
from transship.store.catalog.db.schema import transfers as rows
from transship.store.catalog.scheduling.admission import admission

PROCESSES = 8
TRANSFERS = 240
LIMIT = 3
PATIENCE_SECONDS = 90
ROOT = Path(tests.__path__[0]).parent


@dataclass(frozen=True)
class Outcome:
    """What the crowd did. *most_busy* is the highest count that anybody saw."""

    most_busy: int
    completed: list[str]


@contextmanager
def _observer(catalog: Catalog) -> Iterator[list[int]]:
    """Count what is busy, over and over, from outside; the highest counts are appended."""
    seen: list[int] = [0]
    end = threading.Event()

    def look() -> None:
        while not end.wait(0.002):
            with catalog.read() as connection:
                busy = connection.execute(
                    select(func.count()).select_from(rows).where(text(TRANSFER_BUSY))
                ).scalar_one()
            if busy > seen[-1]:
                seen.append(busy)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        end.set()
        thread.join()


def _crowd(scene: Scene, url: str) -> Outcome:
    lease = scene.job("many")
    scene.want(lease, *named("many", TRANSFERS))
    scene.limit("max_concurrent_downloads", LIMIT)
    command = [sys.executable, "-m", "tests.contract.catalog.crowd", url]
    with ExitStack() as running:
        crowd = [
            running.enter_context(
                subprocess.Popen(
                    [*command, f"process {number}"],
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for number in range(PROCESSES)
        ]
        for process in crowd:
            running.callback(process.kill)
        for process in crowd:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        with _observer(scene.catalog) as seen:
            for process in crowd:
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
            answers = [json.loads(p.communicate(timeout=PATIENCE_SECONDS)[0]) for p in crowd]
    return Outcome(
        most_busy=max(seen[-1], *(answer["most_busy"] for answer in answers)),
        completed=[digest for answer in answers for digest in answer["completed"]],
    )


def test_eight_processes_that_admit_at_once_reach_the_limit_and_never_pass_it(
    scene: Scene, url: str
) -> None:
    outcome = _crowd(scene, url)
    assert outcome.most_busy == LIMIT
    assert sorted(outcome.completed) == sorted(named("many", TRANSFERS))


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_an_admitter_that_does_not_take_its_turn_passes_the_limit(scene: Scene, url: str) -> None:
    """Why admission needs `Catalog.write`: between its count and its pick another one admits."""
    scene.want(scene.job("many"), *named("many", 4 * LIMIT))
    scene.limit("max_concurrent_downloads", LIMIT)
    counted, go_on = threading.Event(), threading.Event()

    def pause(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith(
            "SELECT lanes.registry"
        ):  # it has counted what is busy, and reads the queue next
            counted.set()
            assert go_on.wait(PATIENCE_SECONDS)

    def admit_without_a_turn() -> None:
        # Transactions as the driver makes them when nobody says otherwise: begun by a write.
        engine = create_engine(url, connect_args={"timeout": 30})
        with engine.begin() as connection:
            event.listen(connection, "before_cursor_execute", pause)
            admission.admit(connection, "download", NOW)
        engine.dispose()

    hasty = threading.Thread(target=admit_without_a_turn)
    hasty.start()
    assert counted.wait(PATIENCE_SECONDS)
    with scene.catalog.write() as connection:
        assert len(admission.admit(connection, "download", NOW)) == LIMIT
    go_on.set()
    hasty.join()

    with scene.catalog.read() as connection:
        busy = connection.execute(
            select(func.count()).select_from(rows).where(text(TRANSFER_BUSY))
        ).scalar_one()
    assert busy == 2 * LIMIT
