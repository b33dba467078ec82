"""Prune as a job: alone, in small transactions, with one report whoever finishes it."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from tests.contract.catalog.shelves import Shelves, deleted, id_of, small
from tests.unit.workers.handlers.test_pull_again import WORKER, Stage, stage
from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.content import image_events
from transship.store.catalog.content.image_events import ImageEvent
from transship.store.catalog.db.schema import jobs as job_rows
from transship.store.catalog.scheduling import jobs
from transship.store.errors import ConflictError, HandedBackError
from transship.workers.handlers import prune
from transship.workers.jobs.submission import Submission
from transship.workers.process.run import run_job
from transship.workers.runtime.leases import Held
from transship.workers.specs import parse_spec

__all__ = ["stage"]

IMAGES = [small(f"image {number}") for number in range(3)]
SIZE = sum(layer.size for image in IMAGES for layer in image.manifest.layers)


def _shelves(stage: Stage) -> Shelves:
    shelves = Shelves(stage.context.catalog, stage.context.content)
    for image in IMAGES:
        shelves.hold(image)
    return shelves


def _submit(stage: Stage, **more: object) -> object:
    spec = parse_spec({"kind": "prune", **more})
    (answer,) = stage.queue.submit([Submission(spec=spec, requested_by="ada", tenant=HOUSE)])
    return answer


def _events(stage: Stage) -> list[ImageEvent]:
    with stage.context.catalog.read() as connection:
        return image_events.after(connection, HOUSE, 0)


def _run(stage: Stage, job: object) -> None:
    run_job(str(job), WORKER, stage.context, stage.renewer)


def test_a_prune_reports_what_went_and_what_was_freed(stage: Stage) -> None:
    shelves = _shelves(stage)
    job = _submit(stage)
    _run(stage, job)
    row = stage.scene.job_row(str(job))
    assert row.state == "succeeded"
    by_id = sorted(IMAGES, key=id_of)
    assert row.result == {
        "deleted": [one for image in by_id for one in deleted(image)],
        "space_reclaimed": SIZE,
    }
    assert shelves.names() == {}
    assert _events(stage)[-1].attributes == {"reclaimed": str(SIZE)}


def test_it_is_local_work_and_needs_no_registry(stage: Stage) -> None:
    job = _submit(stage)
    row = stage.scene.job_row(str(job))
    assert (row.queue, row.registry, row.label) == (jobs.LOCAL, "", "untagged images")


def test_all_of_them_are_those_that_nothing_uses(stage: Stage) -> None:
    shelves = _shelves(stage)
    shelves.hold(small("named"), "docker.io/library/app:1")
    _run(stage, _submit(stage, filters=["until=2024-01-01"], all=True))
    assert len(shelves.names()) == 4
    _run(stage, _submit(stage, all=True))
    assert shelves.names() == {}


def test_a_second_prune_is_refused_while_one_is_under_way(stage: Stage) -> None:
    first = _submit(stage)
    refused = _submit(stage)
    assert isinstance(refused, ConflictError)
    assert refused.subject == first
    _run(stage, first)
    assert not isinstance(_submit(stage), ConflictError)


def test_of_two_that_were_made_at_once_the_older_goes_on(stage: Stage) -> None:
    _shelves(stage)
    first = _submit(stage)
    stage.scene.submit("second", kind="prune", spec={"kind": "prune"}, queue=jobs.LOCAL)
    run_job("second", WORKER, stage.context, stage.renewer)
    second = stage.scene.job_row("second")
    assert (second.state, second.error["code"]) == ("failed", "conflict")
    _run(stage, first)
    assert stage.scene.job_row(str(first)).state == "succeeded"


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
def test_whoever_takes_over_finishes_the_same_report(stage: Stage) -> None:
    _shelves(stage)
    job = _submit(stage)
    lease = stage.scene.take(str(job), WORKER)
    assert lease is not None
    held: Held = Interrupted(2)  # type: ignore[assignment]
    with pytest.raises(HandedBackError):
        prune.advance(lease, stage.context, held)
    with stage.context.catalog.write() as connection:
        connection.execute(
            update(job_rows).where(job_rows.c.id == job).values(due=True, owner=None)
        )
    _run(stage, job)
    row = stage.scene.job_row(str(job))
    told = [one for image in sorted(IMAGES, key=id_of) for one in deleted(image)]
    assert (row.result["deleted"], row.result["space_reclaimed"]) == (told, SIZE)
    assert [event.action for event in _events(stage)] == ["delete"] * 3 + ["prune"]
