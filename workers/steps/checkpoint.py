"""What a job fixes once and keeps: its root, what its target lacks, how much there is to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import Connection

from transship.store.catalog.scheduling import jobs, progress
from transship.store.catalog.scheduling import waits as wait_rows
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.catalog.scheduling.waits import WaitState, Wanted
from transship.store.errors import RecordedError
from transship.store.oci.descriptor import Descriptor
from transship.store.oci.digest import Digest
from transship.store.oci.manifest import Manifest
from transship.workers.runtime.context import WorkerContext
from transship.workers.steps.needs import Steps, transact
from transship.workers.steps.remote import Remote


def fixed_root(lease: JobLease, source: Remote, *, whole: bool = False) -> Steps[Descriptor]:
    """What the source stood for when the job first looked; *whole*: its manifest is needed anyway.

    No later advance asks again, so that a tag that moves meanwhile cannot mix two images. It is
    written with the next change of the job, which is before anything depends on it.
    """
    stored = lease.checkpoint.get("root")
    if stored is not None:
        return Descriptor.from_json(stored)
    root = yield from source.fetch() if whole else source.resolve()
    lease.learn(root=root.to_json())
    return root


def remember(lease: JobLease, context: WorkerContext, **facts: Any) -> None:
    """Add to the job's plan, durably."""
    lease.learn(**facts)
    with context.catalog.write() as connection:
        jobs.save(connection, lease)


def count(
    lease: JobLease,
    everything: Collection[Descriptor],
    missing: Collection[Digest],
    **facts: Any,
) -> Steps[None]:
    """Write down, once, how much the job comprises and how much of it is in place already.

    *facts* go into the plan with it. Where it lacks some, what was written is replaced: a copy that
    died over a target that was up to date may find that changed when it is taken up again.
    """
    new = {name: fact for name, fact in facts.items() if name not in lease.checkpoint}
    if "counted" in lease.checkpoint and not new:
        return
    lease.learn(**new, counted=True)
    skipped = [blob for blob in everything if blob.digest not in missing]
    figures = {
        "bytes_total": sum(blob.size for blob in everything),
        "blobs_total": len(everything),
        "bytes_skipped": sum(blob.size for blob in skipped),
        "blobs_skipped": len(skipped),
    }
    yield from transact(_save, figures)


def layers(images: Iterable[Manifest]) -> list[str]:
    """The digests of all layers, from the bottom up, each once: what a job tells the course of."""
    return list(dict.fromkeys(str(layer.digest) for image in images for layer in image.layers))


def want(wanted: Collection[Wanted], context: WorkerContext) -> Steps[None]:
    """Make the job wait for blobs, if there are any, and admit what may start at once."""
    if not wanted:
        return
    directions = {one.direction for one in wanted} | {
        one.after.direction for one in wanted if one.after is not None
    }
    rows = sum(1 if one.after is None else 2 for one in wanted)
    yield from transact(_want, (wanted, context.shared_trust), admits=directions, rows=rows)


def spare(lease: JobLease, arrived: Collection[Descriptor]) -> Steps[None]:
    """Write down that *arrived* came with other jobs, and need not move for this one; once each."""
    known = set(lease.checkpoint.get("arrived", ()))
    new = [blob for blob in arrived if str(blob.digest) not in known]
    if not new:
        return
    lease.learn(arrived=sorted(known | {str(blob.digest) for blob in new}))
    gain = Counter(bytes_skipped=sum(blob.size for blob in new), blobs_skipped=len(new))
    yield from transact(_spare, gain)


def waits() -> Steps[dict[tuple[str, str], WaitState]]:
    """How each blob stands that the job has asked for, by direction and digest.

    Raises:
        RecordedError: one of them has failed for this job.
    """
    states = yield from transact(_waits, None)
    raise_failure(states)
    return {(state.direction, state.digest): state for state in states}


def raise_failure(states: Iterable[WaitState]) -> None:
    """Raise the first recorded failure, if there is one."""
    for state in states:
        if state.error is not None:
            raise RecordedError(state.error)


# --- pieces of transactions ----------------------------------------------------------------------


def _save(
    connection: Connection, now: float, figures: Sequence[tuple[JobLease, dict[str, int]]]
) -> list[None]:
    del now
    jobs.save_all(connection, figures)
    return [None] * len(figures)


def _want(
    connection: Connection,
    now: float,
    wishes: Sequence[tuple[JobLease, tuple[Collection[Wanted], bool]]],
) -> list[None]:
    shared = all(trusting for _, (_, trusting) in wishes)
    jobs.save_all(connection, [(lease, {}) for lease, _ in wishes if lease.unsaved])
    wait_rows.want(
        connection, [(lease, list(some)) for lease, (some, _) in wishes], now, shared=shared
    )
    return [None] * len(wishes)


def _spare(
    connection: Connection, now: float, gains: Sequence[tuple[JobLease, Counter[str]]]
) -> list[None]:
    del now
    jobs.save_all(connection, [(lease, {}) for lease, _ in gains])
    parents = {lease.id: lease.parent for lease, _ in gains}
    progress.add(connection, {lease.id: gain for lease, gain in gains}, parents)
    return [None] * len(gains)


def _waits(
    connection: Connection, now: float, asked: Sequence[tuple[JobLease, None]]
) -> list[list[WaitState]]:
    del now
    found = wait_rows.of_jobs(connection, [lease.id for lease, _ in asked])
    return [found[lease.id] for lease, _ in asked]
