"""Whether a mirror is whole: what is at the destinations is compared with what is at the sources.

An equal tag proves the manifest that it stands for, and nothing of what is below it: a registry may
have lost a blob. So all of an image is asked for: tag, manifests, blobs, and what is about them. By
HEAD, or by reading everything. What is wrong is named; nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.errors import ContentError, RegistryNotFoundError, Side
from transship.store.oci.descriptor import Descriptor
from transship.store.oci.manifest import Index, Manifest
from transship.store.oci.platform import Platform
from transship.workers.mirrors.plan import Image
from transship.workers.mirrors.report import MAX_NAMED
from transship.workers.registry.client import Repository
from transship.workers.runtime.context import WorkerContext, at
from transship.workers.runtime.leases import LeaseMonitor
from transship.workers.steps import compare, partial_failures
from transship.workers.steps.closure import Closure, narrowed, resolve
from transship.workers.steps.memory import Memories
from transship.workers.steps.referrers import (
    Referrer,
    about_all,
    may_have_some,
    missing_of,
    taken_along,
)
from transship.workers.steps.remote import Remote

LOOKED_AT_ONCE = 64  # images compared before what was found is on record
MAX_PROBLEMS = 20  # of an image that are named


@dataclass(slots=True)
class Verified:
    """What has been found out so far.

    Attributes:
        images: How many were compared.
        gone: Of these, how many the source has no longer, so that nothing can be said of them.
        damaged: What is wrong with those that are not whole, by their destination.
        problems: How many that are in all.
        failed: Those that could not be compared, each with the error.
    """

    images: int = 0
    gone: int = 0
    damaged: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    problems: int = 0
    failed: list[dict[str, Any]] = field(default_factory=list)

    def as_result(self) -> dict[str, Any]:
        """As the result of a job has it."""
        named = list(self.damaged)[:MAX_NAMED]
        return {
            "images": self.images,
            "whole": self.images - self.gone - len(self.damaged) - len(self.failed),
            "gone": self.gone,
            "damaged": len(self.damaged),
            "problems": self.problems,
            "items": [{"image": name, "problems": self.damaged[name]} for name in named],
        }


def verify_all(
    images: Sequence[Image],
    lease: JobLease,
    context: WorkerContext,
    monitor: LeaseMonitor,
    *,
    untagged: Collection[str],
    read: bool,
    under: str,
) -> Verified:
    """Compare every image; what has been compared is on record, and is not compared again.

    *untagged* are repositories that list no tags made of digests. With *read* every byte is read.
    It is on record *under* this name.
    """
    found = Verified(**lease.checkpoint.get(under, {}))
    run = _Run(lease, context, monitor, untagged, read)
    while found.images < len(images):
        some = images[found.images : found.images + LOOKED_AT_ONCE]
        answers = partial_failures.ask(
            run.problems, some, lease, context, of=lambda one: one.target.domain
        )
        partial_failures.raise_unsettled(answers)
        for one, answer in zip(some, answers, strict=True):
            name = str(one.target)
            if answer is None:
                found.gone += 1
            elif isinstance(answer, list):
                if answer:
                    found.damaged[name] = answer[:MAX_PROBLEMS]
                    found.problems += len(answer)
            else:
                told = {"image": name, "tag": one.target.tag, "job": None, "state": "failed"}
                found.failed.append({**told, "error": answer})
        found.images += len(some)
        partial_failures.remember(lease, context, **{under: asdict(found)})
    return found


class _Run:
    """One pass over the images. What several have in common is asked for once."""

    def __init__(
        self,
        lease: JobLease,
        context: WorkerContext,
        monitor: LeaseMonitor,
        untagged: Collection[str],
        read: bool,
    ) -> None:
        self._lease, self._context, self._monitor = lease, context, monitor
        self._untagged = untagged
        self._read = read
        self._memories = Memories()

    def problems(self, one: Image) -> list[dict[str, str]] | None:
        """What is wrong with an image at its destination; None: the source has it no longer."""
        source, target = self._source(one), self._target(one)
        root = source.head()
        if root is None:
            return None
        platforms = [Platform.parse(text) for text in one.how.platforms]
        with at(Side.SOURCE):
            whole = narrowed(resolve(root, platforms, partial(self._manifests, source)), platforms)
            attached = self._attached(one, source, whole)
        with at(Side.DESTINATION):
            return list(self._compared(one, whole, attached, target))

    def _compared(
        self,
        one: Image,
        whole: Closure,
        attached: Sequence[tuple[Referrer, Closure]],
        target: Remote,
    ) -> Iterator[dict[str, str]]:
        there = self._memories.of(target).head_manifest(one.target.identifier)
        if there is None or there.digest != whole.root.digest:
            if there is not None and one.how.overwrite == "never":
                return  # it is to stay
            stands = "missing" if there is None else f"stands for {there.digest}"
            yield _problem("tag", str(whole.root.digest), stands)
        yield from self._below(whole, target)
        missing = list(missing_of((one for one, _ in attached), self._memories.of(target)))
        for referrer, all_of_it in attached:
            if referrer in missing:
                yield _problem("referrer", str(referrer.digest), f"not found by {referrer.subject}")
            yield from self._below(all_of_it, target)

    def _below(self, whole: Closure, target: Remote) -> Iterator[dict[str, str]]:
        for manifest in whole.manifests:
            yield from self._wrong("manifest", manifest.descriptor, target)
        for blob in whole.distributable_blobs():
            yield from self._wrong("blob", blob, target)

    def _wrong(self, what: str, wanted: Descriptor, target: Remote) -> Iterator[dict[str, str]]:
        self._monitor.check()
        ask: Callable[[], str]
        if self._read:
            ask = partial(self._read_whole, what, wanted, target.repository)
        else:
            ask = partial(_asked_for, what, wanted, target.repository)
        problem = self._memories.of(target).once((what, wanted.digest), ask)
        if problem:
            yield _problem(what, str(wanted.digest), problem)

    def _read_whole(self, what: str, wanted: Descriptor, repository: Repository) -> str:
        try:
            if what == "manifest":
                repository.get_manifest(str(wanted.digest))
                return ""
            hasher = wanted.digest.hasher()
            with repository.open_blob(wanted, check=self._monitor.check) as body:
                body.read_into(hasher.update, check=self._monitor.check)
        except RegistryNotFoundError:
            return "missing"
        except ContentError as wrong:
            return wrong.detail
        return "" if hasher.hexdigest() == wanted.digest.hex else "other bytes"

    def _attached(
        self, one: Image, source: Remote, whole: Closure
    ) -> list[tuple[Referrer, Closure]]:
        """What is about the image at its source: each, and all of it."""
        tagged = one.source.repository not in self._untagged
        if not may_have_some(one.how.referrers, source, tagged=tagged):
            return []
        found = about_all(
            self._memories.of(source),
            [manifest.digest for manifest in whole.manifests],
            one.how.referrers,
            tagged=tagged,
        )
        fetch = partial(self._manifests, source)
        return [
            (referrer, whole_of_it)
            for referrer in found
            if (whole_of_it := taken_along(referrer, one.how.referrers, fetch)) is not None
        ]

    def _manifests(
        self, source: Remote, wanted: Sequence[Descriptor]
    ) -> Sequence[Manifest | Index]:
        self._monitor.check()
        return compare.manifests_of(source, wanted)

    def _source(self, one: Image) -> Remote:
        return Remote.of(one.source, Side.SOURCE, self._lease, self._context, self._monitor)

    def _target(self, one: Image) -> Remote:
        return Remote.of(one.target, Side.DESTINATION, self._lease, self._context, self._monitor)


def _asked_for(what: str, wanted: Descriptor, repository: Repository) -> str:
    if what == "manifest":
        return "" if repository.head_manifest(str(wanted.digest)) is not None else "missing"
    size = repository.head_blob(wanted.digest)
    if size is None:
        return "missing"
    return "" if size == wanted.size else f"has {size} bytes, not {wanted.size}"


def _problem(what: str, digest: str, problem: str) -> dict[str, str]:
    return {"what": what, "digest": digest, "problem": problem}
