"""`make scale`: what the engine's steps cost after a month of history, beside what they cost new.

Both catalogs have the same work before them (a mirror of 10,000 children, 10,000 other jobs,
100,000 pending transfers); one has 200,000 ended transfers, 50,000 ended jobs and the rest of
`tests.support.aged` behind it. They are measured in turns in one run, so that what else the
machine does falls on both.

The cancel of the mirror is measured too: its largest transaction, while another process of the
cluster keeps the lease of a download.
"""

from __future__ import annotations

import argparse
import platform
import re
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice, repeat
from pathlib import Path

from sqlalchemy import Connection

from tests.support.aged import WITH_HISTORY, WITHOUT_HISTORY, Aged, age
from tests.support.course import LEASE_SECONDS, WORKER, Course
from tests.support.postgres import PostgresCluster, postgres_programs
from tests.support.processes import wait_until
from transship.store.catalog.db.engine import Catalog
from transship.store.errors import TransshipError
from transship.workers.process import interpreter
from transship.workers.runtime.leases import LeaseRenewer

RESULTS = Path(__file__).parent / "RESULTS.md"
BEGIN, END = "<!-- scale -->", "<!-- /scale -->"
ROUNDS = 15
IN_A_ROW = 5
MAX_RATIO = 1.5  # of what a step costs without history
MAX_MS = 15.0
MAX_TRANSACTION_MS = 250.0
HELD_FOR = 20 * LEASE_SECONDS  # seconds in which a cancel has to end
DATABASES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


@dataclass
class Side:
    """One catalog and what was measured on it: milliseconds, by step."""

    course: Course
    took: dict[str, list[float]] = field(default_factory=dict)

    def median(self, step: str) -> float:
        """The median of a step."""
        return statistics.median(self.took[step])


@dataclass(frozen=True)
class Cancelled:
    """What became of the cancel: its transactions in milliseconds, and of the download's lease."""

    seconds: float
    transactions: list[float]
    lost: str | None


# --- the steps -----------------------------------------------------------------------------------


def _submit(course: Course) -> Generator[float, None, None]:
    for _ in repeat(None):
        yield _timed(course.submit)


def _transfer(course: Course) -> Generator[float, None, None]:
    claim = course.claim_transfer()
    try:
        while True:
            began = time.perf_counter()
            course.complete(claim)
            claim = course.claim_transfer()
            yield _milliseconds(began)
    finally:
        course.complete(claim)


def _finish(course: Course) -> Generator[float, None, None]:
    while True:
        lease = course.claim_job()
        yield _timed(lambda lease=lease: course.finish_job(lease))  # type: ignore[misc]


def _look(course: Course) -> Generator[float, None, None]:
    course.schedule()  # so that the maintenance is another's
    course.end_collection()  # there is something to collect in one of the catalogs only
    for _ in repeat(None):
        course.show_life()
        yield _timed(course.look)


def _maintain(course: Course) -> Generator[float, None, None]:
    for _ in repeat(None):
        course.show_life()
        yield _timed(course.schedule)


def _maintain_with_upkeep(course: Course) -> Generator[float, None, None]:
    for _ in repeat(None):
        course.show_life()
        yield _timed(course.schedule_with_upkeep)


STEPS: dict[str, Callable[[Course], Generator[float, None, None]]] = {
    "submit a job, dispatch": _submit,
    "complete a transfer, dispatch, claim the next": _transfer,
    "finish a job, dispatch": _finish,
    "scheduler": _look,
    "scheduler with maintenance": _maintain,
    "scheduler with maintenance and upkeep": _maintain_with_upkeep,
}


def measure(aged: Side, new: Side, rounds: int) -> None:
    """Time each step on both catalogs, some times in a row, in turns.

    The first of each row is not counted: what another database has driven out of the caches comes
    back with it.
    """
    for name, step in STEPS.items():
        running = [(side, step(side.course)) for side in (new, aged)]
        for _ in range(rounds // IN_A_ROW):
            for side, times in running:
                next(times)
                side.took.setdefault(name, []).extend(islice(times, IN_A_ROW))
        for _, times in running:
            times.close()
        print(f"  {name}: {new.median(name):.1f} new, {aged.median(name):.1f} aged", flush=True)


def cancel(course: Course, other: Catalog) -> Cancelled:
    """Cancel the mirror while a download's lease is kept through *other*, another process's."""
    claim = course.claim_transfer()
    renewer = LeaseRenewer(
        other, worker=WORKER, lease_seconds=LEASE_SECONDS, stopping=threading.Event()
    )
    renewer.start()
    lost: list[str] = []
    ended = threading.Event()
    transactions: list[float] = []
    with renewer.keep(claim) as monitor:
        monitor.unbounded()  # it has its bytes: one that waits for them makes way for others

        def watch() -> None:
            while not ended.wait(0.1):
                try:
                    monitor.check()
                except TransshipError as error:
                    lost.append(f"{type(error).__name__}: {error}")
                    return

        watching = threading.Thread(target=watch)
        watching.start()
        began = time.perf_counter()
        try:
            with _write_transactions(course.catalog, transactions):
                course.cancel_mirror()
                wait_until(lambda: _has_ended(course, renewer), HELD_FOR, "the end of the mirror")
        finally:
            seconds = time.perf_counter() - began
            ended.set()
            watching.join()
            renewer.stop()
    return Cancelled(seconds, transactions, lost[0] if lost else None)


def _has_ended(course: Course, renewer: LeaseRenewer) -> bool:
    """Whether all of the mirror has; what a request leaves, the worker that takes it up stops."""
    if course.mirror_has_ended():
        return True
    course.show_life()
    course.take_mirror_up(renewer)
    return False


@contextmanager
def _write_transactions(catalog: Catalog, took: list[float]) -> Iterator[None]:
    """Add how long each write transaction takes from its first statement to its commit."""
    write = catalog.write

    @contextmanager
    def timed() -> Iterator[Connection]:
        with ExitStack() as transaction:
            connection = transaction.enter_context(write())
            began = time.perf_counter()
            yield connection
            transaction.close()
            took.append(_milliseconds(began))

    catalog.write = timed  # type: ignore[method-assign]
    try:
        yield
    finally:
        catalog.write = write  # type: ignore[method-assign]


def _timed(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return _milliseconds(began)


def _milliseconds(began: float) -> float:
    return (time.perf_counter() - began) * 1e3


# --- databases and the table ---------------------------------------------------------------------


def play(kind: str, rounds: int) -> tuple[Side, Side, Cancelled]:
    """Measure on one kind of database."""
    with ExitStack() as stack:
        aged = stack.enter_context(_side(kind, WITH_HISTORY))
        new = stack.enter_context(_side(kind, WITHOUT_HISTORY))
        measure(aged[0], new[0], rounds)
        other = Catalog(aged[1])
        stack.callback(other.close)
        return aged[0], new[0], cancel(aged[0].course, other)


@contextmanager
def _side(kind: str, size: Aged) -> Iterator[tuple[Side, str]]:
    """A catalog of that size, and its URL."""
    with ExitStack() as stack:
        if kind == "sqlite":
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="scale-"))
            url = f"sqlite:///{directory}/catalog.sqlite3"
        else:
            cluster = stack.enter_context(PostgresCluster(durable=True))
            url = cluster.url(stack.enter_context(cluster.database()))
        catalog = Catalog(url)
        stack.callback(catalog.close)
        catalog.prepare()
        began = time.perf_counter()
        age(catalog, size)
        interpreter.settle()  # as in a process that has started
        print(f"{DATABASES[kind]} filled in {time.perf_counter() - began:.0f} s", flush=True)
        yield Side(Course(catalog, size)), url


def table(kind: str, aged: Side, new: Side, cancelled: Cancelled) -> tuple[list[str], bool]:
    """The lines of one database, and whether all of it keeps within the bounds."""
    lines: list[str] = []
    good = True
    for step in STEPS:
        before, after = new.median(step), aged.median(step)
        ratio = after / before
        within = ratio <= MAX_RATIO and after <= MAX_MS
        good &= within
        lines.append(
            f"| {DATABASES[kind]} | {step} | {before:.1f} | {after:.1f} | {ratio:.2f} "
            f"| {'yes' if within else '**no**'} |"
        )
    largest = max(cancelled.transactions)
    within = largest <= MAX_TRANSACTION_MS and cancelled.lost is None
    lease = "kept" if cancelled.lost is None else f"lost ({cancelled.lost})"
    lines.append(
        f"| {DATABASES[kind]} | cancel a mirror of {WITH_HISTORY.children:,} in "
        f"{cancelled.seconds:.1f} s, {len(cancelled.transactions)} transactions: the largest; "
        f"another's lease is {lease} | | {largest:.0f} | | {'yes' if within else '**no**'} |"
    )
    return lines, good and within


def report(lines: list[str], rounds: int) -> str:
    """What RESULTS.md has between its markers."""
    return "\n".join(
        [
            BEGIN,
            "# What history costs",
            "",
            (
                f"`make scale`, {datetime.now(UTC):%d %B %Y}: {platform.machine()}, "
                f"Python {platform.python_version()}, medians of {rounds} in milliseconds. *New* "
                "is a catalog with 10,000 children of a mirror due, 10,000 jobs of 23 registries "
                "that wait for 100,000 transfers, and nothing that has ended. *Aged* has 200,000 "
                "ended transfers, 50,000 ended jobs, 300,000 sources and 50,000 targets as well. "
                f"Within bounds: at most {MAX_RATIO:g} times, and {MAX_MS:g} ms; a transaction "
                f"of a cancel {MAX_TRANSACTION_MS:g} ms."
            ),
            "",
            "| database | step | new | aged | ratio | within bounds |",
            "|---|---|---|---|---|---|",
            *lines,
            END,
        ]
    )


def write(text: str, begin: str = BEGIN, end: str = END) -> None:
    """Put *text* into RESULTS.md, in place of what is between the markers."""
    before = RESULTS.read_text()
    if begin in before:
        marked = re.compile(f"{begin}.*?{end}", re.DOTALL)
        RESULTS.write_text(marked.sub(lambda _: text, before))
    else:
        RESULTS.write_text(f"{before.rstrip()}\n\n{text}\n")


def main() -> int:
    """Run the bench; 1 where a bound is not kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scale", description=__doc__)
    parser.add_argument("databases", nargs="*", help=f"of {', '.join(DATABASES)}")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--write", action="store_true", help="write RESULTS.md")
    options = parser.parse_args()
    lines: list[str] = []
    good = True
    for kind in options.databases or DATABASES:
        if kind == "postgresql" and postgres_programs() is None:
            print("postgresql is not installed: not measured", file=sys.stderr)
            good = False
            continue
        some, within = table(kind, *play(kind, options.rounds))
        print("\n".join(some), flush=True)
        lines += some
        good &= within
    text = report(lines, options.rounds)
    print(text)
    if options.write:
        write(text)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
