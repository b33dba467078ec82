"""A mirror's dry run: source and destination are compared by HEAD, and nothing is written.

How much would move is asked of the manifests, of the first images only: a GET counts as a pull.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.errors import Side
from transship.store.oci.descriptor import Descriptor
from transship.store.oci.manifest import Index, Manifest
from transship.store.oci.platform import Platform
from transship.workers.mirrors.plan import Image
from transship.workers.mirrors.report import COPY, FAILED, MISSING, UP_TO_DATE, Tally
from transship.workers.runtime.context import WorkerContext, at
from transship.workers.runtime.leases import LeaseMonitor
from transship.workers.steps import compare, partial_failures
from transship.workers.steps.closure import narrowed, resolve
from transship.workers.steps.remote import Remote

LOOKED_AT_ONCE = 256  # images compared before what was found is on record
MAX_SIZED = 100


def look_at_all(
    images: Sequence[Image],
    lease: JobLease,
    context: WorkerContext,
    monitor: LeaseMonitor,
    *,
    untagged: Collection[str] = (),
) -> Tally:
    """Compare every image. What has been compared is on record, and is not compared again.

    *untagged* are repositories that list no tags made of digests.
    """
    sides = _Sides(lease, context, monitor, untagged)
    tally = Tally(**lease.checkpoint.get("looked", {}))
    while tally.images < len(images):
        some = images[tally.images : tally.images + LOOKED_AT_ONCE]
        found = partial_failures.ask(
            lambda one: _look(one, sides),
            some,
            lease,
            context,
            of=lambda one: one.source.domain,
        )
        partial_failures.raise_unsettled(found)
        items = [_item(one, was) for one, was in zip(some, found, strict=True)]
        left = MAX_SIZED - tally.sized
        # Some platforms of an image are known by their digest only once its index has been read.
        to_size = [
            (one, was.root, item)
            for one, was, item in zip(some, found, items, strict=True)
            if isinstance(was, _Found) and was.root is not None and item["state"] == COPY
            if one.how.platforms or (left := left - 1) >= 0
        ]
        sizes = partial_failures.ask(
            lambda each: _size(each[0], each[1], each[2]["replaces"], sides),
            to_size,
            lease,
            context,
            of=lambda each: each[0].source.domain,
        )
        partial_failures.raise_unsettled(sizes)
        for (*_, item), size in zip(to_size, sizes, strict=True):
            if not isinstance(size, Size):
                item.update(state=FAILED, error=size)
            elif size.up_to_date:
                item.update(state=UP_TO_DATE)
            else:
                item["bytes"] = sum(size.blobs.values())
                tally.blobs |= size.blobs
        for item in items:
            tally.count(item)
        partial_failures.remember(lease, context, looked=asdict(tally))
    return tally


@dataclass(frozen=True, slots=True)
class Size:
    """The digest that an image has at its destination, and the blobs that it consists of."""

    digest: str
    blobs: dict[str, int]
    up_to_date: bool


@dataclass(frozen=True, slots=True)
class _Sides:
    """Who asks both sides of an image.

    *untagged* are repositories that list no tags made of digests.
    """

    lease: JobLease
    context: WorkerContext
    monitor: LeaseMonitor
    untagged: Collection[str]

    def source(self, one: Image) -> Remote:
        return Remote.of(one.source, Side.SOURCE, self.lease, self.context, self.monitor)

    def target(self, one: Image) -> Remote:
        return Remote.of(one.target, Side.DESTINATION, self.lease, self.context, self.monitor)

    def has_referrers(self, one: Image, root: Descriptor) -> bool:
        return compare.has_referrers(
            root,
            _platforms(one),
            one.how.referrers,
            self.source(one),
            self.target(one),
            tagged=one.source.repository not in self.untagged,
        )


@dataclass(frozen=True, slots=True)
class _Found:
    root: Descriptor | None
    there: Descriptor | None
    up_to_date: bool


def _look(one: Image, sides: _Sides) -> _Found:
    root = sides.source(one).head()
    if root is None:
        return _Found(None, None, up_to_date=False)
    there = sides.target(one).head()
    expected = compare.expected_digest(root, one.how.platforms, sides.context)
    same = there is not None and str(there.digest) == expected
    return _Found(root, there, up_to_date=same and sides.has_referrers(one, root))


def _platforms(one: Image) -> list[Platform]:
    return [Platform.parse(text) for text in one.how.platforms]


def _item(one: Image, found: object) -> dict[str, Any]:
    item: dict[str, Any] = {"source": str(one.source), "destination": str(one.target)}
    if not isinstance(found, _Found):
        return {**item, "state": FAILED, "error": found}
    if found.root is None:
        return {**item, "state": MISSING}
    there = str(found.there.digest) if found.there is not None else None
    state = UP_TO_DATE if found.up_to_date else COPY
    return {**item, "state": state, "digest": str(found.root.digest), "replaces": there}


def _size(one: Image, root: Descriptor, replaces: str | None, sides: _Sides) -> Size:
    source = sides.source(one)
    platforms = _platforms(one)

    def fetch(wanted: Sequence[Descriptor]) -> list[Manifest | Index]:
        sides.monitor.check()
        with at(Side.SOURCE):
            return [source.repository.get_manifest(str(d.digest)) for d in wanted]

    closure = narrowed(resolve(root, platforms, fetch), platforms)
    digest = str(closure.root.digest)
    return Size(
        digest,
        {str(blob.digest): blob.size for blob in closure.distributable_blobs()},
        up_to_date=digest == replaces and sides.has_referrers(one, root),
    )
