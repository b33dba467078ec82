"""Jobs of very many children: stopped in pages, and looked at without naming each child."""

from __future__ import annotations

import threading
import time
from typing import Any, cast

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import insert, text

from tests.contract.catalog.scene import Scene, new_job
from tests.support.course import RoomyContent, SilentWire
from tests.support.scheduling import scheduler_of
from transship.store.catalog.access.credentials import Sealer
from transship.store.catalog.db.schema import targets
from transship.store.catalog.scheduling import children, jobs, progress, waits
from transship.store.oci.platform import Platform
from transship.workers.jobs.service import JobService
from transship.workers.jobs.stopping import PAGE, stop_late
from transship.workers.process.batch import run_batch
from transship.workers.runtime.context import WorkerContext
from transship.workers.runtime.leases import LeaseRenewer

MANY = 2 * PAGE + 7


def _children(scene: Scene, count: int, **more: Any) -> None:
    with scene.catalog.write() as connection:
        jobs.create(connection, [new_job("root", kind="mirror", **more)], scene.now)
    for start in range(0, count, PAGE):
        with scene.catalog.write() as connection:
            some = [
                new_job(f"c{n}", parent="root", child_key=str(n), root="root", **more)
                for n in range(start, min(start + PAGE, count))
            ]
            jobs.create(connection, some, scene.now)


def _states(scene: Scene) -> dict[str, int]:
    with scene.catalog.read() as connection:
        return dict(children.by_state(connection, "root"))


def _context(scene: Scene) -> WorkerContext:
    return WorkerContext(
        catalog=scene.catalog,
        content=cast("Any", RoomyContent()),
        registries=cast("Any", None),
        sealer=Sealer(Fernet.generate_key().decode()),
        wire=SilentWire(),
    )


def test_a_page_leaves_the_rest_and_the_job_itself_for_the_next(scene: Scene) -> None:
    _children(scene, MANY)
    pages = [len(scene.stop("root")) for _ in range(4)]
    assert pages == [PAGE, PAGE, 8, 0]
    assert _states(scene) == {"cancelled": MANY}
    assert scene.job_row("root").state == "cancelled"


def test_a_request_to_cancel_stops_every_page(scene: Scene) -> None:
    _children(scene, MANY)
    context = _context(scene)
    JobService(scene.catalog, context.sealer, context.wire, Platform.host()).cancel("root")
    assert _states(scene) == {"cancelled": MANY}
    assert scene.job_row("root").state == "cancelled"


def test_whoever_takes_the_job_up_goes_on_where_a_cancel_was_cut(scene: Scene) -> None:
    """The one who asked for it died after a page: the job is due, and its worker stops the rest."""
    _children(scene, MANY)
    scene.stop("root")
    assert scene.is_due("root")
    renewer = LeaseRenewer(
        scene.catalog, worker="a worker", lease_seconds=20.0, stopping=threading.Event()
    )
    run_batch("root", "a worker", _context(scene), renewer)
    assert _states(scene) == {"cancelled": MANY}
    assert scene.job_row("root").state == "cancelled"


def test_a_deadline_is_overrun_in_pages(scene: Scene) -> None:
    _children(scene, MANY, deadline=scene.now + 1)
    scene.now += 2
    ended = []
    for _ in range(4):
        with scene.catalog.write() as connection:
            ended.append(len(stop_late(connection, scene.now)))
    assert ended == [PAGE - 1, PAGE, 8, 0]  # the first page has the root, which waits for the last
    assert _states(scene) == {"failed": MANY}


def test_the_scheduler_stops_what_is_late_without_failing(scene: Scene) -> None:
    _children(scene, 700, deadline=scene.catalog.now() - 1)
    scheduler = scheduler_of(_context(scene))
    until = time.monotonic() + 60
    while _states(scene) != {"failed": 700} and time.monotonic() < until:
        scheduler.once()
    assert _states(scene) == {"failed": 700}
    assert scene.job_row("c1").error["code"] == "deadline-exceeded"


def test_a_child_that_is_held_is_asked_and_does_not_hold_up_the_others(scene: Scene) -> None:
    _children(scene, 3)
    lease = scene.take("c1")
    assert lease is not None
    assert set(scene.stop("root")) == {"c0", "c2", "root"}
    row = scene.job_row("c1")
    assert (row.state, row.stop_requested) == ("running", "cancelled")


def test_what_they_held_is_let_go_of(scene: Scene) -> None:
    _children(scene, 3)
    with scene.catalog.write() as connection:
        connection.execute(
            insert(targets),
            [{"name": f"t/{n}", "holder": f"c{n}", "written_seq": 0} for n in range(3)],
        )
    scene.stop("root")
    with scene.catalog.read() as connection:
        held = connection.execute(
            text("SELECT count(*) FROM targets WHERE holder IS NOT NULL")
        ).scalar()
    assert held == 0


@pytest.mark.slow
def test_lists_are_cut_to_what_one_statement_takes(scene: Scene) -> None:
    """More than the parameters of a statement, on either database."""
    count = 66_000 if scene.catalog.shared else 33_000
    some = [f"c{n}" for n in range(count)]
    with scene.catalog.write() as connection:
        waits.abandon(connection, some, scene.now)
    with scene.catalog.read() as connection:
        assert len(progress.of_jobs(connection, some)) == count


def test_figures_of_a_mirror_are_summed_where_they_are(scene: Scene) -> None:
    _children(scene, MANY)
    with scene.catalog.write() as connection:
        connection.execute(text("UPDATE jobs SET state = 'running', due = false"))
    with scene.catalog.read() as connection:
        assert progress.of_jobs(connection, ["root"])["root"].bytes_total == 0
