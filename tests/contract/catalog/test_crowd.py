"""Several processes admit at once: the limit holds, and this harness would see if it did not."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import func, select, text

import tests
from store.catalog.engine import Catalog
from store.catalog.schema import TRANSFER_BUSY
from store.catalog.schema import transfers as rows
from tests.contract.catalog.scene import Scene, named

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


def _crowd(scene: Scene, url: str, manner: str) -> Outcome:
    lease = scene.job("many")
    scene.want(lease, *named("many", TRANSFERS))
    scene.limit("max_concurrent_downloads", LIMIT)
    command = [sys.executable, "-m", "tests.contract.catalog.crowd", url]
    with ExitStack() as running:
        crowd = [
            running.enter_context(
                subprocess.Popen(
                    [*command, f"process {number}", manner],
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
    outcome = _crowd(scene, url, "locked")
    assert outcome.most_busy == LIMIT
    assert sorted(outcome.completed) == sorted(named("many", TRANSFERS))


def test_admitters_that_do_not_take_turns_are_caught_passing_the_limit(
    scene: Scene, url: str
) -> None:
    if not url.startswith("sqlite"):
        pytest.skip("how the lock is taken away is particular to SQLite")
    assert _crowd(scene, url, "unlocked").most_busy > LIMIT
