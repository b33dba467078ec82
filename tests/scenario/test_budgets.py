"""What an image of a mirror costs: statements, write transactions and requests, counted.

Heartbeats and schedulers are left aside, and so is who watches. An executemany is one statement.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine as Database

from tests.support.images import build_image, push_to_registry
from tests.support.processes import wait_until
from tests.support.registries import RegistryProcess
from transship.api.processes.embedded import Engine
from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.db.schema import jobs as job_rows
from transship.store.catalog.scheduling import jobs
from transship.store.oci.platform import Platform
from transship.store.settings import Settings
from transship.workers.jobs.service import JobService
from transship.workers.jobs.submission import Submission
from transship.workers.registry.transport.direct import DirectTransport
from transship.workers.specs import parse_spec

IMAGES = 100
ASIDE = ("leases", "scheduler", "maintenance", "MainThread")  # threads


class Counted:
    """What was done since it was asked last."""

    def __init__(self) -> None:
        self._done: Counter[str] = Counter()
        self._lock = threading.Lock()

    def note(self, what: str) -> None:
        if not threading.current_thread().name.startswith(ASIDE):
            with self._lock:
                self._done[what] += 1

    def an_image(self) -> dict[str, float]:
        with self._lock:
            found = {what: number / IMAGES for what, number in self._done.items()}
            self._done.clear()
        return found


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counted]:
    counted = Counted()

    def executed(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        kind = "transactions" if statement.startswith("BEGIN IMMEDIATE") else "statements"
        if not statement.startswith(("BEGIN", "SAVEPOINT", "RELEASE")) or kind == "transactions":
            counted.note(kind)

    exchange = DirectTransport.exchange

    def exchanged(self: DirectTransport, message: Any) -> Any:
        counted.note("requests")
        return exchange(self, message)

    monkeypatch.setattr(DirectTransport, "exchange", exchanged)
    event.listen(Database, "before_cursor_execute", executed)
    yield counted
    event.remove(Database, "before_cursor_execute", executed)


@contextmanager
def running(home: Path) -> Iterator[tuple[JobService, Catalog]]:
    """An engine of this process."""
    settings = Settings(home=home)
    engine = Engine(settings, kind="a test")
    context = engine._context
    try:
        service = JobService(context.catalog, context.sealer, context.wire, Platform.host())
        yield service, context.catalog
    finally:
        engine.stop(wait_for_clients=False)


def test_an_image_of_a_mirror_costs_no_more_than_its_budget(
    source: RegistryProcess, target: RegistryProcess, tmp_path: Path, counted: Counted
) -> None:
    for number in range(IMAGES):
        image = build_image(f"image {number}", layers=1, layer_bytes=20_000)
        push_to_registry(source.url, "app", f"v{number}", image)
    with running(tmp_path / "home") as (service, catalog):

        def mirror() -> dict[str, float]:
            spec = {"kind": "mirror", "source": f"{source.host}/app"}
            spec |= {"destination": f"{target.host}/app"}
            counted.an_image()
            (job,) = service.submit(
                [Submission(spec=parse_spec(spec), requested_by="a test", tenant=HOUSE)]
            )

            def ended() -> bool:
                with catalog.read() as connection:
                    row = jobs.get(connection, str(job), job_rows.c.state)
                return row is not None and row.state in jobs.ENDED

            wait_until(ended, 120, "the mirror to end")
            return counted.an_image()

        first = mirror()
        again = mirror()
    # The repository did not exist, and then every tag was listed.
    assert first["requests"] <= 9
    assert again["requests"] <= 2.1
    assert again["statements"] <= 1
    assert again["transactions"] <= 0.2
    print(first, again)
    # Measured: 15 and 1.2. How many batches and bundles there are depends on who is how quick.
    assert first["statements"] <= 30
    assert first["transactions"] <= 3
