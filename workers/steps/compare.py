"""Whether images are at their destinations already, so that nothing has to be copied.

A mirror asks this before it makes its children: what is up to date becomes a job that has ended, in
the transaction that makes the others. What is asked here only saves work. Where there is no answer,
or the registry is paused, parked or silent, the image becomes an ordinary child, which asks itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Final, TypeVar

from transship.store.catalog.scheduling import jobs, targets
from transship.store.catalog.scheduling.admission import lanes
from transship.store.catalog.scheduling.admission.lanes import Openness
from transship.store.catalog.scheduling.jobs import AlreadyThere, JobLease
from transship.store.errors import (
    BlobMissingError,
    ContentError,
    RegistryError,
    RegistryNotFoundError,
    RegistryUnavailableError,
    Side,
    TooManyRequestsError,
    UnreachableError,
)
from transship.store.images.view.local_content import read_manifests
from transship.store.oci import mediatypes
from transship.store.oci.descriptor import Descriptor
from transship.store.oci.manifest import Index, Manifest
from transship.store.oci.platform import Platform
from transship.store.oci.reference import Reference
from transship.workers.registry.client import Repository
from transship.workers.runtime.context import WorkerContext, at
from transship.workers.runtime.leases import LeaseMonitor
from transship.workers.specs import CopySpec, ReferrersChoice
from transship.workers.steps.closure import narrowed, resolve
from transship.workers.steps.memory import Memories, Memory
from transship.workers.steps.referrers import (
    UNTAGGED,
    about_all,
    may_have_some,
    missing_of,
    taken_along,
)
from transship.workers.steps.remote import Remote

T = TypeVar("T")
R = TypeVar("R")

LACKS: Final = "target_lacks"  # a fact of a checkpoint
PAGE: Final = 64  # images compared before what was found is on record
LISTED_FROM: Final = 8  # tags of one repository: so many are looked up in its list
MAX_LISTED: Final = 10_000  # tags of a destination; of one that has more each is asked for
# After these a registry is not asked again in this run.
_NO_ANSWER: Final = (RegistryUnavailableError, TooManyRequestsError, UnreachableError)


def expected_digest(root: Descriptor, platforms: Sequence[str], context: WorkerContext) -> str:
    """What the target stands for once it has *platforms* of *root*, as far as that is known."""
    if not platforms:
        return str(root.digest)
    with context.catalog.read() as connection:
        derived = targets.derived(connection, str(root.digest), transform(platforms))
    return derived or str(root.digest)


def transform(platforms: Sequence[str]) -> str:
    """What is done to an image of which some platforms are taken."""
    return f"platforms={','.join(sorted(platforms))}"


def known_blobs(root: Descriptor, context: WorkerContext) -> list[Descriptor]:
    """The blobs of an image whose manifests the store still holds; else none. For the figures."""
    try:
        return resolve(
            root, (), partial(read_manifests, content=context.content)
        ).distributable_blobs()
    except BlobMissingError:
        return []


def result(spec: CopySpec, root: Descriptor, digest: str, *, up_to_date: bool) -> dict[str, Any]:
    """The result of a copy."""
    return {
        "reference": str(spec.target),
        "digest": digest,
        "source_digest": str(root.digest),
        "up_to_date": up_to_date,
    }


def manifests_of(source: Remote, wanted: Sequence[Descriptor]) -> Sequence[Manifest | Index]:
    """Manifests of a repository, of a job that only looks at them: from the store, else fetched."""
    try:
        return read_manifests(wanted, content=source.context.content)
    except BlobMissingError:
        source.monitor.check()
        return [source.repository.get_manifest(str(one.digest)) for one in wanted]


def has_referrers(
    root: Descriptor,
    platforms: Sequence[Platform],
    choice: ReferrersChoice,
    source: Remote,
    target: Remote,
    *,
    tagged: bool,
    remembered: Callable[[Remote], Memory | Repository] = lambda side: side.repository,
) -> bool:
    """Whether the target has all that is about *platforms* of *root* at the source.

    *tagged*: the source may have tags made of digests. What is *remembered* of a side is not asked
    for again.
    """
    if not may_have_some(choice, source, tagged=tagged):
        return True
    fetch = partial(manifests_of, source)
    subjects = [root.digest]
    if mediatypes.is_index(root.media_type):
        whole = resolve(root, platforms, fetch)
        subjects = [one.digest for one in narrowed(whole, platforms).manifests]
    with at(Side.SOURCE):
        found = about_all(remembered(source), subjects, choice, tagged=tagged)
    with at(Side.DESTINATION):
        missing = list(missing_of(found, remembered(target)))
    with at(Side.SOURCE):  # some of a list may be no referrers, and are left out by every copy
        return all(taken_along(one, choice, fetch) is None for one in missing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What was found of one copy: there is nothing to do; or what its destination lacks, if known.

    *facts* are of the checkpoint of the job that is made for it.
    """

    up_to_date: AlreadyThere | None = None
    facts: dict[str, Any] | None = None


class Comparison:
    """Compares the images of one run of a mirror, a page at a time."""

    def __init__(
        self,
        lease: JobLease,
        context: WorkerContext,
        monitor: LeaseMonitor,
        *,
        untagged: Collection[str] = (),
    ) -> None:
        """Ask with the credentials of the job that *lease* holds.

        *untagged* are repositories that list no tags made of digests.
        """
        self._untagged = untagged
        self._lease, self._context, self._monitor = lease, context, monitor
        self._tags: dict[str, frozenset[str] | None] = {}  # of destinations; None: not known
        self._listed_at: dict[str, float] = {}  # when they were asked for
        self._new: set[str] = set()  # destinations that there were not
        self._useless: set[str] = set()  # registries that gave no answer
        self._memories = Memories()
        self._state: Openness | None = None

    def compare(self, specs: Sequence[CopySpec]) -> list[Compared]:
        """What is known of each copy.

        Raises:
            Interruption: the job is to stop, or its lease is lost.
        """
        self._monitor.check()
        with self._context.catalog.read() as connection:
            self._state = lanes.state(connection, self._context.now())
        self._list_targets(specs)
        likely = [number for number, spec in enumerate(specs) if self._may_be_there(spec)]
        there = self._heads({n: specs[n].target for n in likely}, Side.DESTINATION)
        roots = self._heads({n: specs[n].origin for n in there}, Side.SOURCE)
        same = {
            number: root
            for number, root in roots.items()
            if expected_digest(root, specs[number].platforms, self._context)
            == str(there[number].digest)
        }
        whole = self._with_referrers(specs, same)
        return [
            self._compared(spec, same[number], there[number])
            if number in whole
            else Compared(facts=self._facts(spec) or None)
            for number, spec in enumerate(specs)
        ]

    def _with_referrers(
        self, specs: Sequence[CopySpec], roots: Mapping[int, Descriptor]
    ) -> set[int]:
        """Those of some images that are up to date, whose referrers are at the target too."""

        def whole(number: int) -> bool:
            spec = specs[number]
            return has_referrers(
                roots[number],
                spec.wanted_platforms(),
                spec.referrers,
                self._remote(spec.origin, Side.SOURCE),
                self._remote(spec.target, Side.DESTINATION),
                tagged=spec.origin.repository not in self._untagged,
                remembered=self._memories.of,
            )

        answers = self._ask(whole, [*roots], lambda number: specs[number].origin.domain)
        return {number for number, yes in zip(roots, answers, strict=True) if yes}

    def _facts(self, spec: CopySpec) -> dict[str, Any]:
        """What is known for the job of an image: of its source and of its destination."""
        facts: dict[str, Any] = {}
        if self._lacks(spec.target):
            name = spec.target.repository
            facts[LACKS] = {"repository": name in self._new, "at": self._listed_at[name]}
        if spec.origin.repository in self._untagged:
            facts[UNTAGGED] = True
        return facts

    def _compared(self, spec: CopySpec, root: Descriptor, there: Descriptor) -> Compared:
        digest = str(there.digest)
        blobs = known_blobs(there, self._context)
        return Compared(
            up_to_date=AlreadyThere(
                result=result(spec, root, digest, up_to_date=True),
                blobs=len(blobs),
                size=sum(blob.size for blob in blobs),
            )
        )

    def _lacks(self, target: Reference) -> bool:
        """Whether the destination was listed, and the tag was not there."""
        tags = self._tags.get(target.repository)
        return tags is not None and target.digest is None and target.identifier not in tags

    def _may_be_there(self, spec: CopySpec) -> bool:
        if self._lacks(spec.target):
            return False
        return self._open(spec.target) and self._open(spec.origin)

    def _list_targets(self, specs: Sequence[CopySpec]) -> None:
        """Ask for the tags of destinations of which several are of interest, each once a run."""
        wanted = Counter(spec.target.repository for spec in specs if spec.target.digest is None)
        by_name = {spec.target.repository: spec.target for spec in specs}
        names = [
            name
            for name, number in wanted.items()
            if number >= LISTED_FROM and name not in self._tags and self._open(by_name[name])
        ]

        def listed(name: str) -> frozenset[str] | None:
            remote = self._remote(by_name[name], Side.DESTINATION)
            try:
                tags = frozenset(islice(remote.repository.list_tags(), MAX_LISTED + 1))
            except RegistryNotFoundError:
                self._new.add(name)
                return frozenset()
            return tags if len(tags) <= MAX_LISTED else None

        asked = self._context.now()
        self._listed_at |= dict.fromkeys(names, asked)
        answers = self._ask(listed, names, lambda name: by_name[name].domain)
        self._tags |= dict(zip(names, answers, strict=True))

    def _heads(self, references: Mapping[int, Reference], side: Side) -> dict[int, Descriptor]:
        """What some references stand for; without those that stand for nothing."""

        def head(number: int) -> Descriptor | None:
            return self._remote(references[number], side).head()

        answers = self._ask(head, [*references], lambda number: references[number].domain)
        found = zip(references, answers, strict=True)
        return {number: answer for number, answer in found if answer is not None}

    def _ask(
        self, question: Callable[[T], R | None], items: Sequence[T], registry: Callable[[T], str]
    ) -> list[R | None]:
        """Ask of each item; nothing of a registry that has given no answer before."""

        def answer(item: T) -> R | None:
            if registry(item) in self._useless:
                return None
            try:
                return question(item)
            except _NO_ANSWER:
                self._useless.add(registry(item))
                return None
            except (RegistryError, ContentError):
                return None

        return self._context.probes.ask(answer, items, of=registry)

    def _open(self, reference: Reference) -> bool:
        """Whether the registry may be asked now, with the credential there is for it."""
        assert self._state is not None
        registry, state = reference.domain, self._state
        left_alone = state.closed | state.half_open
        silent = state.silent | state.listening
        credential = self._context.fingerprint(self._lease.root, registry, reference.path)
        return (
            registry not in left_alone
            and (jobs.CONTROL, registry) not in silent
            and state.until([(registry, credential)]) is None
        )

    def _remote(self, reference: Reference, side: Side) -> Remote:
        return Remote.of(reference, side, self._lease, self._context, self._monitor)
