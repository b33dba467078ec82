"""Prune as a job: alone, in small transactions, with one report whoever finishes it."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from tests.contract.catalog.shelves import ImageFixtures, deleted, id_of, small
from tests.unit.workers.handlers.test_pull_again import WORKER, Harness, harness
from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.content import image_events
from transship.store.catalog.content.image_events import ImageEvent
from transship.store.catalog.db.schema import jobs as job_rows
from transship.store.catalog.scheduling import jobs
from transship.store.errors import ConflictError, HandedBackError
from transship.workers.handlers import prune
from transship.workers.jobs.submission import Submission
from transship.workers.process.batch import run_batch
from transship.workers.runtime.leases import LeaseMonitor
from transship.workers.specs import parse_spec

__all__ = ["harness"]

IMAGES = [small(f"image {number}") for number in range(3)]
SIZE = sum(layer.size for image in IMAGES for layer in image.manifest.layers)


def _shelves(harness: Harness) -> ImageFixtures:
    shelves = ImageFixtures(harness.context.catalog, harness.context.content)
    for image in IMAGES:
        shelves.hold(image)
    return shelves


def _submit(harness: Harness, **more: object) -> object:
    spec = parse_spec({"kind": "prune", **more})
    (answer,) = harness.queue.submit([Submission(spec=spec, requested_by="ada", tenant=HOUSE)])
    return answer


def _events(harness: Harness) -> list[ImageEvent]:
    with harness.context.catalog.read() as connection:
        return image_events.after(connection, HOUSE, 0)


def _run(harness: Harness, job: object) -> None:
    run_batch(str(job), WORKER, harness.context, harness.renewer)


def test_a_prune_reports_what_went_and_what_was_freed(harness: Harness) -> None:
    shelves = _shelves(harness)
    job = _submit(harness)
    _run(harness, job)
    row = harness.scene.job_row(str(job))
    assert row.state == "succeeded"
    by_id = sorted(IMAGES, key=id_of)
    assert row.result == {
        "deleted": [one for image in by_id for one in deleted(image)],
        "space_reclaimed": SIZE,
    }
    assert shelves.names() == {}
    assert _events(harness)[-1].attributes == {"reclaimed": str(SIZE)}


def test_it_is_local_work_and_needs_no_registry(harness: Harness) -> None:
    job = _submit(harness)
    row = harness.scene.job_row(str(job))
    assert (row.queue, row.registry, row.label) == (jobs.LOCAL, "", "untagged images")


def test_all_of_them_are_those_that_nothing_uses(harness: Harness) -> None:
    shelves = _shelves(harness)
    shelves.hold(small("named"), "docker.io/library/app:1")
    _run(harness, _submit(harness, filters=["until=2024-01-01"], all=True))
    assert len(shelves.names()) == 4
    _run(harness, _submit(harness, all=True))
    assert shelves.names() == {}


def test_a_second_prune_is_refused_while_one_is_under_way(harness: Harness) -> None:
    first = _submit(harness)
    refused = _submit(harness)
    assert isinstance(refused, ConflictError)
    assert refused.subject == first
    _run(harness, first)
    assert not isinstance(_submit(harness), ConflictError)


def test_of_two_that_were_made_at_once_the_older_goes_on(harness: Harness) -> None:
    _shelves(harness)
    first = _submit(harness)
    harness.scene.submit("second", kind="prune", spec={"kind": "prune"}, queue=jobs.LOCAL)
    run_batch("second", WORKER, harness.context, harness.renewer)
    second = harness.scene.job_row("second")
    assert (second.state, second.error["code"]) == ("failed", "conflict")
    _run(harness, first)
    assert harness.scene.job_row(str(first)).state == "succeeded"


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image a transaction."""
    monkeypatch.setattr(prune, "TOGETHER", 1)


class Interrupted:
    """A lease that is asked to stop after some checks."""

    def __init__(self, after: int) -> None:
        self.left = after

    def check(self) -> None:
        """Count, and stop."""
        self.left -= 1
        if self.left < 0:
            raise HandedBackError("the worker stops")


@pytest.mark.usefixtures("one_by_one")
def test_whoever_takes_over_finishes_the_same_report(harness: Harness) -> None:
    _shelves(harness)
    job = _submit(harness)
    lease = harness.scene.take(str(job), WORKER)
    assert lease is not None
    monitor: LeaseMonitor = Interrupted(2)  # type: ignore[assignment]
    with pytest.raises(HandedBackError):
        prune.advance(lease, harness.context, monitor)
    with harness.context.catalog.write() as connection:
        connection.execute(
            update(job_rows).where(job_rows.c.id == job).values(due=True, owner=None)
        )
    _run(harness, job)
    row = harness.scene.job_row(str(job))
    told = [one for image in sorted(IMAGES, key=id_of) for one in deleted(image)]
    assert (row.result["deleted"], row.result["space_reclaimed"]) == (told, SIZE)
    assert [event.action for event in _events(harness)] == ["delete"] * 3 + ["prune"]
