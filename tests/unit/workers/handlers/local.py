"""Local work on a harness: bodies that are received, archives, and what becomes of them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Row, select

from tests.contract.catalog.shelves import ImageFixtures
from tests.support.memory_store import MemoryStore
from tests.unit.workers.handlers.test_pull_again import WORKER, Harness, harness
from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.content import image_events, references
from transship.store.catalog.db.schema import blobs, leases
from transship.workers.jobs.intake import Receiver
from transship.workers.jobs.submission import Submission
from transship.workers.process.batch import run_batch
from transship.workers.runtime.leases import LeaseMonitor
from transship.workers.specs import parse_spec
from transship.workers.transfers.bundle import run_bundle

__all__ = ["Local", "harness", "local"]


class Local:
    """A harness with threads for local work and uploads, and a receiver of bodies."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self.context, self.catalog = harness.context, harness.context.catalog
        content = harness.context.content
        assert isinstance(content, MemoryStore)
        self.content = content
        self.shelves = ImageFixtures(self.catalog, content)
        self.receiver = Receiver(harness.context, harness.queue)
        harness.scene.worker("a local worker", local=2, uploads=2)

    def wanted(self, key: str | None = None, **spec: Any) -> Submission:
        """A request by Ada."""
        return Submission(
            spec=parse_spec(spec), requested_by="ada", tenant=HOUSE, idempotency_key=key
        )

    def send(self, body: bytes, **spec: Any) -> str:
        """Make a job of a body, and receive that; the job is not run yet."""
        lease = self.receiver.begin(self.wanted(**spec))
        assert not isinstance(lease, str)
        self.receiver.receive(lease, lambda _: io.BytesIO(body), total=len(body))
        return lease.id

    def submit(self, **spec: Any) -> str:
        """Make a job; it is not run yet."""
        (answer,) = self.harness.queue.submit([self.wanted(**spec)])
        assert isinstance(answer, str), answer
        return answer

    def run(self, job: str) -> Row[Any]:
        """Run a job, and what it waits for, to the end."""
        run_batch(job, WORKER, self.context, self.harness.renewer)
        while self.harness.broker.waiting:
            message = self.harness.broker.waiting.pop(0)
            way = message.queue.direction
            if way is None:
                run_batch(message.id, WORKER, self.context, self.harness.renewer)
            else:
                run_bundle(way, int(message.id), WORKER, self.context, self.harness.renewer)
        return self.row(job)

    def row(self, job: str) -> Row[Any]:
        return self.harness.scene.job_row(job)

    def result(self, job: str) -> dict[str, Any]:
        """Run a job, which succeeds, and return its result."""
        row = self.run(job)
        assert row.state == "succeeded", row.error
        result: dict[str, Any] = row.result
        return result

    def failure(self, job: str) -> tuple[str, str]:
        """Run a job, which fails, and return code and side."""
        row = self.run(job)
        assert row.state == "failed", row
        return row.error["code"], row.error["side"]

    def names(self) -> dict[str, str]:
        """What each name stands for."""
        with self.catalog.read() as connection:
            return {row.name: row.digest for row in references.listed(connection, HOUSE)}

    def images(self) -> set[str]:
        """The IDs of the images that are held."""
        with self.catalog.read() as connection:
            return {row.image_id for row in references.every_image(connection)}

    def events(self) -> list[tuple[str, str, str]]:
        """What has happened to images: action, actor, name."""
        with self.catalog.read() as connection:
            found = image_events.after(connection, HOUSE, 0)
        return [(one.action, one.actor, one.attributes["name"]) for one in found]

    def leased(self, job: str) -> set[str]:
        with self.catalog.read() as connection:
            mine = select(leases.c.digest).where(leases.c.holder == job)
            return set(connection.execute(mine).scalars())

    def recorded(self) -> set[str]:
        """The blobs that have a row."""
        with self.catalog.read() as connection:
            return set(connection.execute(select(blobs.c.digest)).scalars())

    @contextmanager
    def dying(self, after: int) -> Iterator[None]:
        """The worker that runs a job in the block dies at its so-manieth look-up."""
        left = after

        def check(_: LeaseMonitor) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise DiedError

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(LeaseMonitor, "check", check)
            patch.setattr("transship.workers.process.batch.settle", _die_as_well)
            yield


class DiedError(BaseException):
    """No handler of errors sees it, as none sees a SIGKILL."""


def _die_as_well(*_: object) -> None:
    raise DiedError


@pytest.fixture
def local(harness: Harness) -> Local:
    return Local(harness)
