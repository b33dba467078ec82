"""Mirror: a repository, or some tags of it, as one copy job each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row

from store.catalog import progress
from store.catalog.jobs import JobLease
from store.errors import PartialError, Side
from workers.advance import children, plan
from workers.advance.outcome import Done, Outcome, Waiting
from workers.advance.remote import Remote
from workers.leases import Held
from workers.specs import CopySpec, MirrorSpec
from workers.world import World


def advance(lease: JobLease, world: World, held: Held) -> Outcome:
    """Choose the tags once, make a child for each, and report when all have ended."""
    spec = MirrorSpec.model_validate(lease.spec)
    if "tags" not in lease.plan:
        plan.remember(lease, world, tags=_select(spec, lease, world, held))
    tags: list[str] = lease.plan["tags"]
    children.make(((tag, _copy(spec, tag)) for tag in tags), lease, world, held)
    ended = children.ended(lease, world)
    if ended is None:
        return Waiting()
    report = _report(spec, ended, lease, world)
    bad = len(tags) - report["by_state"].get("succeeded", 0)
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
    return sorted(children.tags_of(Remote.of(spec.origin, Side.SOURCE, lease, world, held)))


def _copy(spec: MirrorSpec, tag: str) -> CopySpec:
    return CopySpec(
        source=str(spec.origin.with_tag(tag)),
        destination=str(spec.target.with_tag(tag)),
        platforms=spec.platforms,
        all_platforms=spec.all_platforms,
        priority=spec.priority,
    )


def _report(
    spec: MirrorSpec, ended: Sequence[Row[Any]], lease: JobLease, world: World
) -> dict[str, Any]:
    with world.catalog.read() as connection:
        done = progress.of_jobs(connection, [lease.id])[lease.id]
    return {
        "reference": str(spec.target),
        "images": len(ended),
        "up_to_date": sum(bool(c.result and c.result.get("up_to_date")) for c in ended),
        "bytes_moved": done.bytes_moved,
        "bytes_spared": done.bytes_spared,
        **children.report(ended),
    }
