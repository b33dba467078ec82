"""Mirror: a repository, or some tags of it, as one copy job each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

from sqlalchemy import Connection, select

from store.catalog import jobs, progress
from store.catalog.jobs import JobLease, NewJob
from store.catalog.schema import jobs as jobs_table
from store.errors import PartialError, Side
from workers.advance import plan
from workers.advance.outcome import Done, Outcome, Waiting
from workers.advance.remote import Remote
from workers.identity import new_id
from workers.leases import Held
from workers.specs import CopySpec, MirrorSpec, as_json
from workers.world import World, at

CHUNK = 500  # children a transaction: more would keep others from writing
MOST_REPORTED = 100  # failures listed in the result; `jobs --parent` lists them all


def advance(lease: JobLease, world: World, held: Held) -> Outcome:
    """Choose the tags once, make a child for each, and report when all have ended."""
    spec = MirrorSpec.model_validate(lease.spec)
    if "tags" not in lease.plan:
        plan.remember(lease, world, tags=_select(spec, lease, world, held))
    tags: list[str] = lease.plan["tags"]
    if not lease.plan.get("children_made"):
        _make_children(spec, tags, lease, world, held)
        plan.remember(lease, world, children_made=True)
    with world.catalog.read() as connection:
        states = jobs.children_by_state(connection, lease.id)
        if any(state in states for state in jobs.ACTIVE):
            return Waiting()
        report = _report(connection, spec, lease, states)
    bad = len(tags) - states.get("succeeded", 0)
    if bad:
        raise PartialError(
            f"{bad} of {len(tags)} images were not mirrored",
            subject=str(spec.origin),
            hint=f"see `transship jobs --parent {lease.id}`, then `jobs retry {lease.id}`",
            report=report,
        )
    return Done(report)


def _select(spec: MirrorSpec, lease: JobLease, world: World, held: Held) -> list[str]:
    if spec.named_tags:
        return list(spec.named_tags)
    source = Remote.of(spec.origin, Side.SOURCE, lease, world, held)
    tags: set[str] = set()
    with at(Side.SOURCE):
        for tag in source.repository.list_tags():
            held.check()
            tags.add(tag)
    return sorted(tags)


def _make_children(
    spec: MirrorSpec, tags: Sequence[str], lease: JobLease, world: World, held: Held
) -> None:
    rest = iter(tags)
    while chunk := list(islice(rest, CHUNK)):
        held.check()
        with world.change() as change:
            jobs.save(change.connection, lease)
            jobs.create(change.connection, (_child(spec, tag, lease) for tag in chunk), change.now)


def _child(spec: MirrorSpec, tag: str, lease: JobLease) -> NewJob:
    copy = CopySpec(
        source=str(spec.origin.with_tag(tag)),
        destination=str(spec.target.with_tag(tag)),
        platforms=spec.platforms,
        all_platforms=spec.all_platforms,
        priority=spec.priority,
    )
    return NewJob(
        id=new_id(),
        kind=copy.kind,
        spec=as_json(copy),
        label=copy.label,
        registry=copy.origin.domain,
        priority=spec.priority,
        requested_by=f"job {lease.id}",
        parent=lease.id,
        child_key=tag,
        root=lease.root,
        deadline=lease.deadline,
    )


def _report(
    connection: Connection, spec: MirrorSpec, lease: JobLease, states: dict[str, int]
) -> dict[str, Any]:
    children = connection.execute(
        select(
            jobs_table.c.child_key,
            jobs_table.c.id,
            jobs_table.c.state,
            jobs_table.c.result,
            jobs_table.c.error,
        )
        .where(jobs_table.c.parent == lease.id)
        .order_by(jobs_table.c.seq)
    ).all()
    done = progress.of_jobs(connection, [lease.id])[lease.id]
    good = [c for c in children if c.state == "succeeded"]
    failed = [
        {"tag": c.child_key, "job": c.id, "state": c.state, "error": c.error}
        for c in children
        if c.state != "succeeded"
    ]
    return {
        "reference": str(spec.target),
        "images": len(children),
        "by_state": states,
        "up_to_date": sum(bool(c.result and c.result.get("up_to_date")) for c in good),
        "bytes_moved": done.bytes_moved,
        "bytes_spared": done.bytes_spared,
        "failed": failed[:MOST_REPORTED],
    }
