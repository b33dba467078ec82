"""Mirror: repositories, or the tags of them that are wanted, as one copy job each image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row

from transship.store.catalog.scheduling import events, progress
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.errors import PartialError, Side
from transship.workers.handlers import dry_run
from transship.workers.handlers.verify import Verified, verify_all
from transship.workers.mirrors import report
from transship.workers.mirrors.plan import Image
from transship.workers.runtime.context import WorkerContext
from transship.workers.runtime.leases import LeaseMonitor
from transship.workers.specs import CopySpec, MirrorSpec
from transship.workers.steps import children
from transship.workers.steps.choose import Chosen, choose
from transship.workers.steps.compare import PAGE, Comparison
from transship.workers.steps.outcome import Done, Later, Outcome, Waiting

CLOSED_SECONDS = 5.0  # until a source that is paused or parked is looked at again


def advance(lease: JobLease, context: WorkerContext, monitor: LeaseMonitor) -> Outcome:
    """Choose the tags once, make a child for each, and report when all have ended.

    Images that are up to date are found out before, page by page: their jobs have ended when they
    are made.

    A repository that cannot be listed does not keep the others. With `dry_run` there are no
    children: source and destination are compared.
    """
    spec = MirrorSpec.model_validate(lease.spec)
    chosen = choose(spec, lease, context, monitor)
    if chosen is None:
        return Later(CLOSED_SECONDS)
    if spec.dry_run:
        return _plan(spec, chosen, lease, context, monitor)
    if spec.verify_only:
        return _verify(spec, chosen, lease, context, monitor)
    children.make(
        ((_key(spec, one), _copy(spec, one)) for one in chosen.images),
        lease,
        context,
        monitor,
        number=len(chosen.images),
        compare=Comparison(lease, context, monitor, untagged=chosen.untagged).compare,
        page=PAGE,
    )
    ended = children.ended(lease, context)
    if ended is None:
        return Waiting()
    verified: Verified | None = None
    if spec.verify is not None:
        there = {child.child_key for child in ended if child.state == "succeeded"}
        copied = [one for one in chosen.images if _key(spec, one) in there]
        verified = _verified(spec, copied, chosen, lease, context, monitor)
    return _end(spec, chosen, ended, verified, lease, context)


def _verified(
    spec: MirrorSpec,
    images: Sequence[Image],
    chosen: Chosen,
    lease: JobLease,
    context: WorkerContext,
    monitor: LeaseMonitor,
    *,
    again: bool = False,
) -> Verified:
    return verify_all(
        images,
        lease,
        context,
        monitor,
        untagged=chosen.untagged,
        read=spec.verify == "read",
        under="verified_again" if again else "verified",
    )


def _verify(
    spec: MirrorSpec, chosen: Chosen, lease: JobLease, context: WorkerContext, monitor: LeaseMonitor
) -> Outcome:
    """Say what is damaged at the destinations; to repair, copy it again, and look again."""
    found = _verified(spec, chosen.images, chosen, lease, context, monitor)
    result: dict[str, Any] = {"reference": _reference(spec), "verified": found.as_result()}
    left = found
    if spec.repair and found.damaged:
        damaged = [one for one in chosen.images if str(one.target) in found.damaged]
        children.make(
            ((_key(spec, one), _copy(spec, one, force=True)) for one in damaged),
            lease,
            context,
            monitor,
            number=len(damaged),
        )
        if children.ended(lease, context) is None:
            return Waiting()
        left = _verified(spec, damaged, chosen, lease, context, monitor, again=True)
        result["repaired"] = len(damaged) - len(left.damaged) - len(left.failed)
        result["verified_again"] = left.as_result()
    failed = [*chosen.failed, *found.failed, *left.failed]
    result |= {"failed": failed[: report.MAX_FAILED], "failures": len(failed) + len(left.damaged)}
    if result["failures"]:
        damaged_s = f"{len(left.damaged)} of {found.images} images are damaged"
        others = f"; {len(failed)} could not be verified" if failed else ""
        raise PartialError(
            f"{damaged_s}{others}",
            subject=_reference(spec),
            hint="see `verified` in the result; `mirrors verify NAME --repair` copies it again",
            side=Side.DESTINATION if left.damaged else children.side_of(failed),
            report=result,
        )
    return Done(result)


def _key(spec: MirrorSpec, one: Image) -> str:
    """What a child is called among its siblings."""
    return str(one.target) if spec.entries else one.target.identifier


def _copy(spec: MirrorSpec, one: Image, *, force: bool = False) -> CopySpec:
    return CopySpec(
        source=str(one.source),
        destination=str(one.target),
        platforms=one.how.platforms,
        all_platforms=spec.all_platforms and not one.how.platforms,
        referrers=one.how.referrers,
        on_rewrite=one.how.on_rewrite,
        overwrite=one.how.overwrite,
        force=force,
        priority=spec.priority,
    )


def _plan(
    spec: MirrorSpec, chosen: Chosen, lease: JobLease, context: WorkerContext, monitor: LeaseMonitor
) -> Outcome:
    tally = dry_run.look_at_all(chosen.images, lease, context, monitor, untagged=chosen.untagged)
    result = {
        "reference": _reference(spec),
        **report.plan_result(tally, chosen.failed),
        **report.nothing_selected(chosen.nothing_selected),
    }
    if result["failures"]:
        images = len(chosen.images) + len(chosen.failed) - chosen.unlisted
        raise PartialError(
            report.what_failed(
                result["failures"] - chosen.unlisted, images, chosen.unlisted, done="compared"
            ),
            subject=_reference(spec),
            hint="see `failed` in the result",
            side=children.side_of(result["failed"]),
            report=result,
        )
    return Done(result)


def _end(
    spec: MirrorSpec,
    chosen: Chosen,
    ended: Sequence[Row[Any]],
    verified: Verified | None,
    lease: JobLease,
    context: WorkerContext,
) -> Outcome:
    _tell_nothing_selected(chosen, lease, context)
    by_key = {_key(spec, one): one for one in chosen.images}
    told = children.report(ended)
    failed = [
        {**one, "image": str(by_key[one["tag"]].target), "tag": by_key[one["tag"]].target.tag}
        for one in told["failed"]
    ]
    with context.catalog.read() as connection:
        done = progress.of_jobs(connection, [lease.id])[lease.id]
    items = [
        {
            "source": str(by_key[child.child_key].source),
            "destination": str(by_key[child.child_key].target),
            "state": child.state,
            "up_to_date": bool(child.result and child.result.get("up_to_date")),
            "digest": child.result.get("digest") if child.result else None,
            "job": child.id,
        }
        for child in ended
    ]
    images = len(ended) + len(chosen.failed) - chosen.unlisted
    bad = images - told["by_state"].get("succeeded", 0)
    result = {
        "reference": _reference(spec),
        "images": images,
        "up_to_date": sum(item["up_to_date"] for item in items),
        "bytes_moved": done.bytes_moved,
        "bytes_skipped": done.bytes_skipped,
        "by_state": told["by_state"],
        "failed": [*chosen.failed, *failed][: report.MAX_FAILED],
        "failures": bad + chosen.unlisted,
        **report.named(items),
        **report.nothing_selected(chosen.nothing_selected),
    }
    if verified is not None:
        result["verified"] = verified.as_result()
        result["failed"] = [*result["failed"], *verified.failed][: report.MAX_FAILED]
        result["failures"] += len(verified.damaged) + len(verified.failed)
    if result["failures"]:
        raise PartialError(
            report.what_failed(
                bad,
                images,
                chosen.unlisted,
                done="mirrored",
                damaged=0 if verified is None else len(verified.damaged) + len(verified.failed),
            ),
            subject=str(spec.wanted[0].origin) if not spec.entries else _reference(spec),
            hint=f"see `transship jobs --parent {lease.id}`, then `jobs retry {lease.id}`",
            side=children.side_of(result["failed"]),
            report=result,
        )
    return Done(result)


def _tell_nothing_selected(chosen: Chosen, lease: JobLease, context: WorkerContext) -> None:
    if not chosen.nothing_selected:
        return
    with context.catalog.write() as connection:
        for one in chosen.nothing_selected[: report.MAX_FAILED]:
            message = f"{one}: no tag is selected"
            events.record(connection, lease.id, "warning", context.now(), message=message)


def _reference(spec: MirrorSpec) -> str:
    if not spec.entries:
        return str(spec.wanted[0].target)
    return spec.label.removesuffix(" (dry run)")
