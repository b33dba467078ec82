"""What monitors are told of jobs, from the first claim to the end."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.workers.handlers.test_pull_again import IMAGE, WORKER, Harness, harness
from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.scheduling import jobs
from transship.store.catalog.scheduling.jobs import End
from transship.store.errors import InternalError, LeaseLostError
from transship.workers.jobs.submission import Submission
from transship.workers.process.outcomes import settle
from transship.workers.runtime import task_events
from transship.workers.runtime.wire import DISPATCH
from transship.workers.specs import parse_spec
from transship.workers.steps.outcome import Done

__all__ = ["harness"]

BEGUN = ["task-received", "task-started"]


def _pulls(harness: Harness, *references: str, **fields: Any) -> list[str]:
    """Submit pulls in one transaction, so that one message carries them."""
    wanted = [
        Submission(
            spec=parse_spec({"kind": "pull", "reference": one, **fields}),
            requested_by="ada",
            tenant=HOUSE,
        )
        for one in references
    ]
    return [str(one) for one in harness.queue.submit(wanted)]


def _told(harness: Harness, job: str) -> list[str]:
    return [event.type for event in harness.broker.events if event.job == job]


def test_a_job_is_shown_from_its_first_claim_to_its_end(harness: Harness) -> None:
    (job,) = _pulls(harness, "r.test/app:1")
    harness.run_all()
    assert _told(harness, job) == [*BEGUN, "task-succeeded"]  # although it was claimed twice
    assert {(one.kind, one.label) for one in harness.broker.events} == {("pull", "r.test/app:1")}
    end = harness.broker.events[-1].fields
    assert f"digest={IMAGE.digest}" in end["result"]
    assert len(end["result"]) <= task_events.LONGEST
    assert 0 <= end["runtime"] < 60


def test_a_failure_says_side_and_cause_in_one_line(harness: Harness) -> None:
    (job,) = _pulls(harness, "r.test/app:absent")
    harness.run_all()
    assert _told(harness, job) == [*BEGUN, "task-failed"]
    error = harness.scene.job_row(job).error
    assert harness.broker.events[-1].fields == {
        "exception": f"source: manifest-not-found: {error['subject']}: {error['detail']}"
    }


def test_each_member_of_a_batch_is_shown_as_itself(harness: Harness) -> None:
    good, bad = _pulls(harness, "r.test/app:1", "r.test/app:absent")
    assert [(one.task, one.label) for one in harness.broker.waiting] == [
        (DISPATCH, "pull r.test/app:1 and 1 more")
    ]
    harness.run_all()
    assert _told(harness, good) == [*BEGUN, "task-succeeded"]
    assert _told(harness, bad) == [*BEGUN, "task-failed"]


def test_a_job_that_is_cancelled_while_it_waits_is_revoked(harness: Harness) -> None:
    (job,) = _pulls(harness, "r.test/app:1")
    harness.run(harness.broker.waiting.pop(0))
    harness.queue.cancel(job)
    harness.queue.cancel(job)
    assert _told(harness, job) == [*BEGUN, "task-revoked"]
    assert harness.broker.events[-1].label == "r.test/app:1"


def test_a_job_that_is_cancelled_while_it_is_held_is_revoked(harness: Harness) -> None:
    (job,) = _pulls(harness, "r.test/app:1")
    first = harness.broker.waiting.pop(0)
    with harness.context.catalog.write() as connection:
        held = jobs.claim(connection, job, "another", harness.context.now())
    assert held is not None
    harness.queue.cancel(job)
    assert _told(harness, job) == []  # who holds it says so
    with harness.context.catalog.write() as connection:
        jobs.release(connection, held, now=harness.context.now(), again_in=0)
    harness.run(first)
    assert _told(harness, job) == ["task-revoked"]


def test_what_is_past_its_deadline_has_failed(harness: Harness) -> None:
    (job,) = _pulls(harness, "r.test/app:1")
    with harness.context.catalog.write() as connection:
        now = harness.context.now()
        ended = jobs.request_stop(connection, [job], jobs.DEADLINE_EXCEEDED, now)
        (event,) = task_events.stopped(connection, ended, jobs.DEADLINE_EXCEEDED)
    assert (event.job, event.type) == (job, "task-failed")
    assert event.fields["exception"].startswith("request: deadline-exceeded: ")


def test_who_cannot_read_much_is_not_told_much(harness: Harness) -> None:
    (job,) = _pulls(harness, "r.test/app:1")
    with harness.context.catalog.write() as connection:
        lease = jobs.claim(connection, job, WORKER, harness.context.now())
    assert lease is not None
    error = InternalError("two\nlines " + "x" * 10_000)
    lists = {"images": [{"digest": "sha256:1"}] * 1000, "moved": 5, "newer": None}
    failed, succeeded = task_events.ended(
        [End(lease, "failed", error=error), End(lease, "succeeded", lists)], 0.0
    )
    text = failed.fields["exception"]
    assert text.startswith("internal: internal: two lines x")
    assert len(text) == task_events.LONGEST
    assert succeeded.fields == {"result": "moved=5", "runtime": 0.0}


def test_a_change_that_is_rolled_back_is_not_told_of(harness: Harness) -> None:
    (job,) = _pulls(harness, "r.test/app:1")
    with harness.context.catalog.write() as connection:
        lease = jobs.claim(connection, job, WORKER, harness.context.now())
    assert lease is not None
    lease.fence += 1  # as if another had it now
    with pytest.raises(LeaseLostError), harness.context.change() as change:
        settle(change, [(lease, Done({"digest": "sha256:1"}))])
    assert _told(harness, job) == []
