"""Which images a mirror consists of: the tags of its repositories, asked for once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from transship.store.catalog.scheduling.admission import lanes
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.errors import Side, TooFewTagsError, TransshipError
from transship.workers.mirrors import plan, report
from transship.workers.mirrors.plan import Image
from transship.workers.registry.referrers import is_fallback_tag
from transship.workers.runtime.context import WorkerContext
from transship.workers.runtime.leases import LeaseMonitor
from transship.workers.specs import NONE, MirrorEntry, MirrorSpec
from transship.workers.steps import children, partial_failures
from transship.workers.steps.checkpoint import remember
from transship.workers.steps.referrers import UNTAGGED, is_digest_tag
from transship.workers.steps.remote import Remote

LISTED_AT_ONCE = 128  # repositories whose tags are asked for before what was chosen is on record


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a mirror consists of, and what could not become part of it."""

    images: list[Image]
    failed: list[dict[str, Any]]  # repositories that could not be listed, and clashes
    unlisted: int
    nothing_selected: list[str]
    untagged: frozenset[str]  # repositories that list no tags made of digests


def choose(
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
