"""Requests that come together are committed together, and answered only then."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any, cast

from sqlalchemy import select

from tests.support.processes import wait_until
from tests.unit.api.serving import Api
from transship.api.services import MAX_TOGETHER, Submitter
from transship.store.catalog.db.schema import jobs
from transship.store.errors import ConflictError
from transship.workers.jobs.service import JobService

REQUESTS = 40


class Counting:
    """Passes batches on to the queue of jobs, and writes down how long they are."""

    def __init__(self, queue: JobService) -> None:
        self._queue = queue
        self.batches: list[int] = []

    def submit(self, wanted: list[Any], committed: Any) -> None:
        self.batches.append(len(wanted))
        self._queue.submit(wanted, committed)


def test_many_requests_share_transactions_and_are_answered_after_the_commit(
    tmp_path: Path,
) -> None:
    with Api(tmp_path) as api:
        api.get("/limits")  # when this is answered, there is a submitter
        submitter = api.submitter
        counting = Counting(submitter._jobs)
        submitter._jobs = cast("JobService", counting)
        with api.catalog.write():  # nobody else can write meanwhile
            before = api.catalog.writes
            sent = [
                api.in_background(lambda n=n: api.submit(f"localhost:1/app:{n}"))
                for n in range(REQUESTS)
            ]
            wait_until(
                lambda: sum(counting.batches) + submitter._waiting.qsize() == REQUESTS,
                30,
                "every request to be taken or to wait",
            )
            assert not any(answers for _, answers in sent)
        for thread, _ in sent:
            thread.join()
        assert sum(counting.batches) == REQUESTS
        # The first alone, where the submitter took it before the others came.
        assert api.catalog.writes - before - 1 == len(counting.batches) <= 2  # one write was ours
        answered = {answers[0]["id"] for _, answers in sent}
        with api.catalog.read() as connection:
            assert set(connection.execute(select(jobs.c.id)).scalars()) == answered


def test_a_failing_database_is_told_to_everybody_who_waits(tmp_path: Path) -> None:
    with Api(tmp_path) as api:
        with api.catalog.write() as connection:
            connection.exec_driver_sql("DROP TABLE events")
        answers = [api.post("/jobs", json={"kind": "pull", "reference": "a"}) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [503, 503]
        assert api.get("/jobs").json()["items"] == []


class Slow:
    """Stands for the queue of jobs; commits when the gate is open."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.batches: list[int] = []

    def submit(self, wanted: list[Any], committed: Any) -> None:
        self.gate.wait(10)
        self.batches.append(len(wanted))
        committed([ConflictError("known") if one == "bad" else one for one in wanted])


def test_what_waits_is_answered_before_the_end() -> None:
    slow = Slow()
    submitter = Submitter(cast("JobService", slow))

    async def story() -> list[str]:
        asked = [asyncio.ensure_future(submitter.submit(cast("Any", str(n)))) for n in range(100)]
        await asyncio.sleep(0)  # all of them have been put into the queue
        slow.gate.set()
        await asyncio.to_thread(submitter.close)
        return await asyncio.gather(*asked)

    assert asyncio.run(story()) == [str(n) for n in range(100)]
    assert sum(slow.batches) == 100
    assert max(slow.batches) <= MAX_TOGETHER


def test_a_conflict_in_a_batch_spoils_no_other_request() -> None:
    slow = Slow()
    submitter = Submitter(cast("JobService", slow))

    async def story() -> list[str | BaseException]:
        names = ("first", "good", "bad", "better")
        asked = [asyncio.ensure_future(submitter.submit(cast("Any", name))) for name in names]
        await asyncio.sleep(0)
        slow.gate.set()
        return await asyncio.gather(*asked, return_exceptions=True)

    answers = asyncio.run(story())
    submitter.close()
    assert isinstance(answers.pop(2), ConflictError)
    assert answers == ["first", "good", "better"]
