"""A service that uses the client, as a checker of types sees it; it is never run.

What a checker has to find wrong is marked, and a mark without an error is an error too.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing
from typing import BinaryIO, assert_type

from celery import Celery

from transship.client import (
    AsyncClient,
    Client,
    ClientError,
    Event,
    ImageSummary,
    Job,
    JobFailedError,
    JobSummary,
    Mirror,
    MirrorSummary,
    ProgressEvent,
    PullSpec,
    Transfer,
)
from transship.client.celery import submit


def blocking(client: Client, archive: BinaryIO) -> None:
    """Every shape of a method, by its types."""
    job = client.submit(PullSpec(reference="alpine:3"), priority=5)
    assert_type(job, Job)
    assert_type(client.submit({"kind": "pull", "reference": "alpine:3"}), Job)
    assert_type(client.jobs(state=["queued"]), Generator[JobSummary, None, None])
    assert_type(client.wait(job.id, 5, check=True), Job)
    for event in client.follow(job.id, after=3):
        assert_type(event, Event)
        if isinstance(event, ProgressEvent):
            assert_type(event.job, JobSummary)
        else:
            assert_type(event.id, int)
    assert_type(client.transfers(job.id), list[Transfer])
    assert_type(client.images("*alpine*"), list[ImageSummary])
    assert_type(client.mirrors(), list[MirrorSummary])
    assert_type(client.mirror("nightly"), Mirror)
    assert_type(client.load(archive), Job)
    assert_type(client.export(job.id, archive), int)
    client.submit("alpine:3")  # type: ignore[arg-type]
    client.wait(job.id, cheque=True)  # type: ignore[call-arg]
    client.job()  # type: ignore[call-arg]
    client.save("alpine:3", archive, format="zip")  # type: ignore[arg-type]


async def awaiting(client: AsyncClient, archive: BinaryIO) -> None:
    """The same, awaited."""
    job = await client.submit(PullSpec(reference="alpine:3"))
    assert_type(job, Job)
    assert_type(client.jobs(), AsyncGenerator[JobSummary, None])
    async with aclosing(client.follow(job.id)) as events:
        async for event in events:
            assert_type(event, Event)
    assert_type(await client.images(), list[ImageSummary])
    assert_type(await client.load(archive), Job)
    assert client.job(job.id).id  # type: ignore[attr-defined]
    await client.jobs()  # type: ignore[misc]


def failing(client: Client) -> list[dict[str, str]]:
    """What an error has."""
    try:
        client.run_mirror("nightly")
    except JobFailedError as error:
        assert_type(error.job, Job)
    except ClientError as error:
        assert_type(error.code, str)
        assert_type(error.status, int | None)
        assert_type(error.retryable, bool)
        return error.errors
    return []


def sending(app: Celery) -> str:
    """A message instead."""
    submit(app, "alpine:3")  # type: ignore[arg-type]
    return submit(app, PullSpec(reference="alpine:3"))
