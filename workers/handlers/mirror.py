"""Mirror: repositories, or the tags of them that are wanted, as one copy job each image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from transship.store.catalog.scheduling import events, progress
from transship.store.catalog.scheduling.admission import lanes
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.errors import PartialError, Side, TooFewTagsError, TransshipError
from transship.workers.handlers import dry_run
from transship.workers.handlers.verify import Verified, verify_all
from transship.workers.mirrors import plan, report
from transship.workers.mirrors.plan import Image
from transship.workers.registry.referrers import is_fallback_tag
from transship.workers.runtime.context import WorkerContext
from transship.workers.runtime.leases import LeaseMonitor
from transship.workers.specs import NONE, CopySpec, MirrorEntry, MirrorSpec
from transship.workers.steps import children, partial_failures
from transship.workers.steps.checkpoint import remember
from transship.workers.steps.compare import PAGE, Comparison
from transship.workers.steps.outcome import Done, Later, Outcome, Waiting
from transship.workers.steps.referrers import UNTAGGED, is_digest_tag
from transship.workers.steps.remote import Remote

CLOSED_SECONDS = 5.0  # until a source that is paused or parked is looked at again
LISTED_AT_ONCE = 128  # repositories whose tags are asked for before what was chosen is on record


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a mirror consists of, and what could not become part of it."""

    images: list[Image]
    failed: list[dict[str, Any]]  # repositories that could not be listed, and clashes
    unlisted: int
    nothing_selected: list[str]
    untagged: frozenset[str]  # repositories that list no tags made of digests


def advance(lease: JobLease, context: WorkerContext, monitor: LeaseMonitor) -> Outcome:
    """Choose the tags once, make a child for each, and report when all have ended.

    Images that are up to date are found out before, page by page: their jobs have ended when they
    are made.

    A repository that cannot be listed does not keep the others. With `dry_run` there are no
    children: source and destination are compared.
    """
    spec = MirrorSpec.model_validate(lease.spec)
    chosen = _choose(spec, lease, context, monitor)
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


def _choose(
    spec: MirrorSpec, lease: JobLease, context: WorkerContext, monitor: LeaseMonitor
) -> Chosen | None:
    """What is to be mirrored; None: some sources must not be asked now, the others were."""
    tags = _tags(spec, lease, context, monitor)
    if tags is None:
        return None
    failed = [
        report.unlisted(str(entry.origin), tags[n]["error"])
        for n, entry in enumerate(spec.wanted)
        if n in tags and "error" in tags[n]
    ]
    nothing = [
        str(entry.origin)
        for n, entry in enumerate(spec.wanted)
        if n in tags and tags[n].get("tags") == []
    ]

    def images() -> Iterator[Image]:
        for n, entry in enumerate(spec.wanted):
            how = spec.how(entry)
            if entry.one_image:
                yield plan.image(entry.origin, entry.target, how)
            else:
                named = tags[n].get("tags", ()) if n in tags else entry.tags
                yield from plan.images(entry.origin, entry.target, named, how)

    kept, clashing = plan.merged(images())
    untagged = frozenset(
        entry.origin.repository
        for n, entry in enumerate(spec.wanted)
        if n in tags and tags[n].get(UNTAGGED)
    )
    return Chosen(kept, [*failed, *map(report.clash, clashing)], len(failed), nothing, untagged)


def _tags(
    spec: MirrorSpec, lease: JobLease, context: WorkerContext, monitor: LeaseMonitor
) -> dict[int, dict[str, Any]] | None:
    """What was chosen of each entry whose repository has to be asked; or why that failed.

    None: some must not be asked now.
    """
    chosen: dict[str, dict[str, Any]] = dict(lease.checkpoint.get("chosen", {}))

    def tags_of(entry: MirrorEntry) -> list[str]:
        return children.tags_of(Remote.of(entry.origin, Side.SOURCE, lease, context, monitor))

    if spec.entries:
        if not _choose_of_each(spec, chosen, tags_of, lease, context, monitor):
            return None
    else:
        (only,) = spec.wanted
        if only.listed and not chosen:
            # Without its tags there is nothing left: the job fails, and counts its tries itself.
            chosen["0"] = _chosen(spec, only, tags_of(only), monitor)
            remember(lease, context, chosen=chosen)
    return {int(n): found for n, found in chosen.items()}


def _chosen(
    spec: MirrorSpec, entry: MirrorEntry, listed: Sequence[str], monitor: LeaseMonitor
) -> dict[str, Any]:
    """The tags of an entry that are wanted, of those that its repository lists.

    A list of referrers is no image. It is brought with what it is about: put under its tag it would
    replace the one at the destination.
    """
    if spec.how(entry).referrers == NONE:
        tags, untagged = listed, False
    else:
        tags = [tag for tag in listed if not is_fallback_tag(tag)]
        untagged = len(tags) == len(listed) and not any(map(is_digest_tag, tags))
    wanted = sorted(tags) if entry.select is None else entry.select.choose(tags, monitor.check)
    if len(wanted) < entry.require:
        error = TooFewTagsError(
            f"{len(wanted)} of its {len(listed)} tags are selected, {entry.require} are required",
            subject=str(entry.origin),
        )
        return {"error": error.at(Side.SOURCE).as_json()}
    return {"tags": wanted, **({UNTAGGED: True} if untagged else {})}


def _choose_of_each(
    spec: MirrorSpec,
    chosen: dict[str, dict[str, Any]],
    tags_of: Callable[[MirrorEntry], list[str]],
    lease: JobLease,
    context: WorkerContext,
    monitor: LeaseMonitor,
) -> bool:
    """Complete what is *chosen* of the entries of a policy; each repository is asked once.

    False: those of closed registries were not asked.
    """
    left: dict[str, list[tuple[int, MirrorEntry]]] = {}  # of one repository there may be several
    for n, entry in enumerate(spec.entries):
        if entry.listed and str(n) not in chosen:
            left.setdefault(str(entry.origin), []).append((n, entry))
    with context.catalog.read() as connection:
        closed = lanes.state(connection, context.now()).closed
    sources = [name for name, of in left.items() if of[0][1].origin.domain not in closed]
    for start in range(0, len(sources), LISTED_AT_ONCE):
        some = sources[start : start + LISTED_AT_ONCE]
        answers = partial_failures.ask(
            lambda name: tags_of(left[name][0][1]),
            some,
            lease,
            context,
            of=lambda name: left[name][0][1].origin.domain,
        )
        for repository, answer in zip(some, answers, strict=True):
            for n, entry in left[repository]:
                if isinstance(answer, TransshipError):
                    continue
                if isinstance(answer, dict):
                    chosen[str(n)] = {"error": answer}
                else:
                    chosen[str(n)] = _chosen(spec, entry, answer, monitor)
        if not all(isinstance(answer, TransshipError) for answer in answers):
            partial_failures.remember(lease, context, chosen=chosen)
        partial_failures.raise_unsettled(answers)
    return len(sources) == len(left)


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
