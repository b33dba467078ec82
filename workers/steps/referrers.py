"""What is about an image: signatures, SBOMs, attestations, and what is about these in turn.

Some name it as their `subject`, and the registry lists them; others have a tag made of its digest,
as cosign wrote them before there were subjects. A copy that takes them along puts what they are
about first, by its digest, then them, and the tag of the image last, so that nobody finds it
without.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from transship.store.errors import (
    ConflictError,
    InvalidManifestError,
    ManifestNotFoundError,
    Side,
    UnsupportedMediaTypeError,
)
from transship.store.oci.descriptor import Descriptor
from transship.store.oci.digest import Digest
from transship.store.oci.manifest import Index, Manifest
from transship.workers.registry.client import Repository
from transship.workers.registry.referrers import described, fallback_tag
from transship.workers.specs import ALL, NONE, ReferrersChoice
from transship.workers.steps.closure import Closure, Fetch, resolve, resolve_by_steps
from transship.workers.steps.memory import Memory
from transship.workers.steps.needs import Steps
from transship.workers.steps.remote import Remote

DIGEST_TAGS: Final = (".sig", ".att", ".sbom")  # behind the fallback tag of what they are about
MAX_DEPTH: Final = 8  # a signature of an SBOM of an image is the second
MAX_REFERRERS: Final = 1000  # of an image, with all that is about its children
UNTAGGED: Final = "no_digest_tags"  # a fact of a checkpoint: the source lists no tag of this kind


@dataclass(frozen=True, slots=True)
class Referrer:
    """A manifest that is about *subject*.

    *tag* is where it is found, if that is a tag made of the subject's digest; without one its own
    field names the subject.
    """

    descriptor: Descriptor
    subject: Digest
    tag: str = ""

    @property
    def digest(self) -> Digest:
        """Its own digest."""
        return self.descriptor.digest

    def to_json(self) -> dict[str, Any]:
        """As a checkpoint has it."""
        found = {"descriptor": self.descriptor.to_json(), "subject": str(self.subject)}
        return {**found, "tag": self.tag} if self.tag else found

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Referrer:
        """The opposite of `to_json`."""
        return cls(
            Descriptor.from_json(value["descriptor"]),
            Digest.parse(value["subject"]),
            value.get("tag", ""),
        )


@dataclass(frozen=True, slots=True)
class Attached:
    """The referrers of an image, and their manifests: each after what it consists of."""

    referrers: tuple[Referrer, ...] = ()
    manifests: tuple[Manifest | Index, ...] = ()

    def manifest(self, referrer: Referrer) -> Manifest | Index:
        """The manifest of one of them."""
        return next(one for one in self.manifests if one.digest == referrer.digest)

    def described_of(self, subject: Digest) -> list[Descriptor]:
        """Those that name *subject*, as lists of referrers have them."""
        theirs = [one for one in self.referrers if one.subject == subject and not one.tag]
        return [described(self.manifest(one)) for one in theirs]


NOTHING_ATTACHED: Final = Attached()


def is_digest_tag(tag: str) -> bool:
    """Whether a tag is made of a digest, as those of signatures are."""
    return tag.startswith("sha256-") and tag.endswith(DIGEST_TAGS)


def attached_to(
    subjects: Iterable[Digest], choice: ReferrersChoice, source: Remote
) -> Steps[Attached]:
    """What is about *subjects* at the source. Found out once a job.

    What cannot be taken along is left out and told in the job's log: listed and not there, about
    something else, or of a type that is no manifest's.

    Raises:
        InvalidManifestError: too many, or too deep.
    """
    stored = source.lease.checkpoint.get("referrers")
    if stored is not None:
        found = [Referrer.from_json(one) for one in stored]
    elif not may_have_some(choice, source, tagged=may_be_tagged(source)):
        return NOTHING_ATTACHED
    else:
        found = yield from _found(subjects, choice, source)
    fetched: dict[Digest, Manifest | Index] = {}
    kept = yield from _fetched(found, choice, source, fetched)
    source.lease.learn(referrers=[one.to_json() for one in kept])
    return Attached(tuple(kept), tuple(fetched.values()))


def may_have_some(choice: ReferrersChoice, source: Remote, *, tagged: bool) -> bool:
    """Whether a source may have what is wanted, as far as that is known without asking it.

    *tagged*: it may have tags made of digests.
    """
    return choice != NONE and (tagged or source.repository.may_list_referrers)


def may_be_tagged(source: Remote) -> bool:
    """Whether the source may have tags made of digests: its list was not read, or shows some."""
    return UNTAGGED not in source.lease.checkpoint


def about(
    repository: Repository | Memory, subject: Digest, choice: ReferrersChoice, *, tagged: bool
) -> list[Referrer]:
    """What a repository has that is about *subject*; *tagged*: it may have tags made of digests."""
    listed = repository.list_referrers(subject, tagged=tagged)
    found = [Referrer(one, subject) for one in listed.descriptors if _may_be_wanted(one, choice)]
    if tagged and choice == ALL:
        for ending in DIGEST_TAGS:
            tag = f"{fallback_tag(subject)}{ending}"
            there = repository.head_manifest(tag)
            if there is not None:
                found.append(Referrer(there, subject, tag))
    return found


def about_all(
    repository: Repository | Memory,
    subjects: Iterable[Digest],
    choice: ReferrersChoice,
    *,
    tagged: bool,
) -> list[Referrer]:
    """The same of some subjects and of all that is about them, one question after the other."""
    walk = _levels(subjects)
    try:
        level = next(walk)
        while True:
            level = walk.send([about(repository, one, choice, tagged=tagged) for one in level])
    except StopIteration as end:
        found: list[Referrer] = end.value
        return found


def missing_of(found: Iterable[Referrer], target: Repository | Memory) -> Iterator[Referrer]:
    """Those of some referrers that nobody would find who looks for them in a repository."""
    listed: dict[Digest, set[Digest]] = {}
    for one in found:
        if one.tag:
            there = target.head_manifest(one.tag)
            if there is None or there.digest != one.digest:
                yield one
            continue
        if one.subject not in listed:
            descriptors = target.list_referrers(one.subject).descriptors
            listed[one.subject] = {other.digest for other in descriptors}
        if one.digest not in listed[one.subject]:
            yield one


def taken_along(one: Referrer, choice: ReferrersChoice, fetch: Fetch) -> Closure | None:
    """All of a referrer; None where a copy would leave it out, as `attached_to` says."""
    try:
        whole = resolve(one.descriptor, (), fetch)
    except (ManifestNotFoundError, UnsupportedMediaTypeError):
        return None
    return None if _why_left_out(one, whole.root, choice) is not None else whole


def refuse_or_tell_rewrite(
    root: Descriptor, closure: Closure, choice: ReferrersChoice, source: Remote, *, fail: bool
) -> Steps[None]:
    """What is about an index does not fit the part of it that is copied: tell, or *fail*.

    Raises:
        ConflictError: there is some, and that is to be a failure.
    """
    if closure.root.digest == root.digest or "rewrite_told" in source.lease.checkpoint:
        return
    tagged = may_be_tagged(source)
    if not may_have_some(choice, source, tagged=tagged):
        return
    (found,) = yield from source.ask(
        lambda digest: about(source.repository, digest, choice, tagged=tagged), [root.digest]
    )
    source.lease.learn(rewrite_told=True)
    if not found:
        return
    names = ", ".join(one.tag or str(one.digest) for one in found[:3])
    more = f" and {len(found) - 3} more" if found[3:] else ""
    detail = f"what is about {root.digest} does not fit some of its platforms: {names}{more}"
    if fail:
        raise ConflictError(
            detail,
            subject=str(source.reference),
            hint="copy all platforms, or set on_rewrite to warn",
            side=Side.SOURCE,
        )
    yield from source.warn([f"{detail}; not copied"])


def _found(
    subjects: Iterable[Digest], choice: ReferrersChoice, source: Remote
) -> Steps[list[Referrer]]:
    """Ask about a whole level at a time."""
    tagged = may_be_tagged(source)
    walk = _levels(subjects)
    try:
        level = next(walk)
        while True:
            answers = yield from source.ask(
                lambda digest: about(source.repository, digest, choice, tagged=tagged), level
            )
            level = walk.send(answers)
    except StopIteration as end:
        found: list[Referrer] = end.value
        return found


def _levels(
    subjects: Iterable[Digest],
) -> Generator[list[Digest], list[list[Referrer]], list[Referrer]]:
    """Yield what is to be asked about next, and be sent an answer for each; return all found."""
    found: dict[tuple[Digest, str], Referrer] = {}
    level = list(dict.fromkeys(subjects))
    seen = set(level)
    for _ in range(MAX_DEPTH):
        if not level:
            return list(found.values())
        answers = yield level
        new = [one for some in answers for one in some if (one.digest, one.tag) not in found]
        found.update(((one.digest, one.tag), one) for one in new)
        if len(found) > MAX_REFERRERS:
            raise InvalidManifestError(
                f"more than {MAX_REFERRERS} manifests refer to it",
                subject=str(new[0].subject),
                hint="name the artifact types that you want",
            )
        level = [digest for digest in dict.fromkeys(r.digest for r in new) if digest not in seen]
        seen.update(level)
    if level:
        raise InvalidManifestError(
            f"what refers to it is more than {MAX_DEPTH} deep", subject=str(level[0])
        )
    return list(found.values())


def _may_be_wanted(listed: Descriptor, choice: ReferrersChoice) -> bool:
    # Lists made by some clients leave the type out: then the manifest has to be read.
    return choice == ALL or listed.artifact_type is None or listed.artifact_type in choice


def _fetched(
    found: Sequence[Referrer],
    choice: ReferrersChoice,
    source: Remote,
    fetched: dict[Digest, Manifest | Index],
) -> Steps[list[Referrer]]:
    """Get the manifests of *found* into *fetched*; those of them that can be taken along."""
    kept: list[Referrer] = []
    notes: list[str] = []
    at_once: dict[Digest, Manifest | Index] = {}
    with suppress(ManifestNotFoundError, UnsupportedMediaTypeError):  # of which, is seen below
        several = yield from source.manifests([one.descriptor for one in found])
        at_once = {manifest.digest: manifest for manifest in several}
    for one in found:
        try:
            whole = yield from _whole(one, at_once, source)
        except ManifestNotFoundError:
            notes.append(f"{one.digest} is listed as a referrer of {one.subject}, and not there")
            continue
        except UnsupportedMediaTypeError as error:
            notes.append(f"{one.digest}, a referrer of {one.subject}, is not copied: {error}")
            continue
        reason = _why_left_out(one, whole.root, choice)
        if reason is not None:
            notes += [reason] if reason else []
            continue
        fetched.update((manifest.digest, manifest) for manifest in whole.manifests)
        kept.append(one)
    yield from source.warn(notes)
    return kept


def _why_left_out(one: Referrer, root: Manifest | Index, choice: ReferrersChoice) -> str | None:
    """Why a referrer is not taken along; '' where that need not be told, None where it is."""
    if one.tag:
        return None
    named = root.subject.digest if root.subject is not None else None
    if named != one.subject:
        return f"{one.digest} is listed as a referrer of {one.subject}, and is not one"
    return None if choice == ALL or described(root).artifact_type in choice else ""


def _whole(
    one: Referrer, fetched: Mapping[Digest, Manifest | Index], source: Remote
) -> Steps[Closure]:
    there = fetched.get(one.digest)
    if isinstance(there, Manifest):
        return Closure(there, (there,))
    whole = yield from resolve_by_steps(one.descriptor, (), source.manifests)
    return whole


def listed_by_fallback(attached: Attached, target: Remote) -> Steps[list[Digest]]:
    """What referrers are about for which the target keeps no list by itself."""
    subjects = list(dict.fromkeys(one.subject for one in attached.referrers if not one.tag))
    answers = yield from target.ask(
        lambda digest: target.repository.list_referrers(digest, tagged=False), subjects
    )
    return [one for one, listed in zip(subjects, answers, strict=True) if not listed.by_api]


def put_attached(attached: Attached, put: Callable[[str, Manifest | Index], None]) -> None:
    """Put referrers, after what they consist of: by their digest, and by their tags."""
    for manifest in attached.manifests:
        put(str(manifest.digest), manifest)
    for one in attached.referrers:
        if one.tag:
            put(one.tag, attached.manifest(one))
