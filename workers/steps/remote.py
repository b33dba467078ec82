"""A repository in a registry, as one job may see it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection

from transship.store.catalog.content import blobs
from transship.store.catalog.content.blobs import Source
from transship.store.catalog.db.schema import SMALL_BLOB_BYTES
from transship.store.catalog.scheduling import events
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.catalog.scheduling.waits import Wanted
from transship.store.errors import (
    ContentError,
    ManifestNotFoundError,
    RegistryError,
    RegistryNotFoundError,
    Side,
    UnauthorizedError,
    UnreachableError,
    WrongSizeError,
)
from transship.store.images.view.local_content import read_manifest
from transship.store.oci.descriptor import Descriptor
from transship.store.oci.digest import Digest
from transship.store.oci.manifest import Index, Manifest
from transship.store.oci.reference import Reference
from transship.workers.registry.client import Repository
from transship.workers.runtime.context import WorkerContext, at
from transship.workers.runtime.leases import LeaseMonitor
from transship.workers.steps.needs import Steps, ask, transact

T = TypeVar("T")
R = TypeVar("R")

# Above so many bytes so many tries, as Docker has it.
MOUNT_TRIES = ((10 * 1024 * 1024, 4), (100 * 1024, 3), (-1, 1))
WORD_SECONDS = 3600.0  # for so long a registry's answer to a credential is not asked for again


@dataclass(frozen=True, slots=True)
class Remote:
    """One side of a job: the repository, opened with the credential that the job brought."""

    reference: Reference
    side: Side
    repository: Repository
    source: Source
    lease: JobLease
    context: WorkerContext
    monitor: LeaseMonitor
    _fetched: dict[str, Manifest | Index] = field(default_factory=dict)  # and not stored yet

    @classmethod
    def of(
        cls,
        reference: Reference,
        side: Side,
        lease: JobLease,
        context: WorkerContext,
        monitor: LeaseMonitor,
    ) -> Remote:
        """The repository of *reference* for the job that *lease* holds."""
        registry, path = reference.domain, reference.path
        return cls(
            reference=reference,
            side=side,
            repository=context.repository(
                lease.root, lease.tenant, registry, path, mirrored=side is Side.SOURCE
            ),
            source=Source(registry, path, context.fingerprint(lease.root, registry, path)),
            lease=lease,
            context=context,
            monitor=monitor,
        )

    def head(self) -> Descriptor | None:
        """What the reference stands for now, by HEAD; None where it stands for nothing."""
        self.monitor.check()
        with at(self.side):
            return self.repository.head_manifest(
                self.reference.identifier, sure=self.side is Side.SOURCE
            )

    def resolve(self) -> Steps[Descriptor]:
        """What the reference stands for now.

        Raises:
            ManifestNotFoundError: nothing.
        """
        found = yield from self.stands_for()
        if found is None:
            raise self._not_found()
        return found

    def fetch(self) -> Steps[Descriptor]:
        """The same, by one GET: `manifests` has it then.

        Raises:
            ManifestNotFoundError: the reference stands for nothing.
        """

        def get(_: None) -> Manifest | Index:
            try:
                return self.repository.get_manifest(self.reference.identifier)
            except ManifestNotFoundError:
                raise self._not_found() from None

        (manifest,) = yield from self.ask(get, [None])
        self._fetched[str(manifest.digest)] = manifest
        return manifest.descriptor

    def _not_found(self) -> ManifestNotFoundError:
        error = ManifestNotFoundError(
            "image not found, or access denied",
            registry=self.reference.domain,
            subject=str(self.reference),
            http_status=404,
            hint="check the name and the tag, and whether it needs credentials",
        )
        error.at(self.side)
        return error

    def stands_for(self) -> Steps[Descriptor | None]:
        """The same; None where the reference stands for nothing, or a destination does not say."""
        (found,) = yield from self.ask(lambda _: self._helpful(self.head), [None])
        return found

    def manifests(self, wanted: Sequence[Descriptor]) -> Steps[Sequence[Manifest | Index]]:
        """Manifests of this repository, from the store where this job may have them from there.

        They are stored and leased to the job. Those that the job has had before are not asked for
        again.
        """
        had = set(self.lease.checkpoint.get("manifests", ()))
        new = {str(d.digest): d for d in wanted if str(d.digest) not in had}
        got: dict[Digest, Manifest | Index] = {}
        if new:
            got = yield from self._get_manifests(new)
        return [got.get(d.digest) or read_manifest(d, self.context.content) for d in wanted]

    def usable(self, wanted: Collection[Descriptor]) -> Steps[set[Digest]]:
        """Those of *wanted* that are in the store and that this job may use.

        All are leased to the job first. It may use what has come from this very repository, as
        long as the repository still says, by HEAD and to the job's own credential, that it has it.
        What came from elsewhere proves nothing here: it is wanted like what is missing.

        Raises:
            WrongSizeError: a blob that is held has another size than its descriptor.
            RegistryNotFoundError: the repository does not have it for this credential.
        """
        digests = {str(d.digest): d.digest for d in wanted}
        held = yield from self._lease(digests)
        with at(self.side):
            check_sizes(wanted, held.sizes)
        if held.unknown:
            seen = yield from self._seen([digests[d] for d in sorted(held.unknown)])
            yield from transact(_confirm, (self.source, {str(d) for d in seen}))
            for digest in sorted(held.unknown - {str(d) for d in seen}):
                raise RegistryNotFoundError(
                    "blob not found, or access denied",
                    registry=self.source.registry,
                    subject=f"{self.reference.repository}@{digest}",
                    http_status=404,
                ).at(self.side)
        return {digests[d] for d in held.own}

    def present(
        self, wanted: Sequence[Descriptor], *, mount_from: str | None, is_new: bool = False
    ) -> Steps[tuple[set[Digest], dict[Digest, str]]]:
        """Those of *wanted* that this repository holds, after mounting what can be mounted.

        Blobs are mounted from *mount_from*, or from where the catalog has seen them with this
        credential. Also returned is from which repository each of those was mounted. A repository
        that *is_new* is only asked for blobs that would take long to send for nothing.
        """
        asked = [d.digest for d in wanted if not is_new or d.size > SMALL_BLOB_BYTES]
        there = yield from self._seen(asked)
        absent = [d for d in wanted if d.digest not in there]
        candidates: dict[str, list[str]] = {}
        if mount_from is not None:
            candidates = {str(blob.digest): [mount_from] for blob in absent}
        elif absent:
            candidates = yield from transact(_elsewhere, (self.source, absent))

        def mounted(blob: Descriptor) -> str | None:
            with at(self.side):
                tried = candidates.get(str(blob.digest), ())
                return next((one for one in tried if self._mount(blob.digest, one)), None)

        likely = [blob for blob in absent if candidates.get(str(blob.digest))]
        answers = yield from self.ask(mounted, likely)
        origins = {
            blob.digest: repository
            for blob, repository in zip(likely, answers, strict=True)
            if repository is not None
        }
        there |= origins.keys()
        if there:
            yield from transact(_confirm, (self.source, {str(d) for d in there}))
        return there, origins

    def wanted(self, direction: str, blob: Descriptor, **more: Any) -> Wanted:
        """The wish to have *blob* moved from or to this repository; *more* as `Wanted` has it."""
        return Wanted(
            direction=direction,
            digest=str(blob.digest),
            size=blob.size,
            media_type=blob.media_type,
            registry=self.source.registry,
            repository=self.source.repository,
            fingerprint=self.source.fingerprint,
            **more,
        )

    def ask(
        self,
        question: Callable[[T], R],
        items: Sequence[T],
        *,
        key: Callable[[T], Hashable] | None = None,
    ) -> Steps[list[R]]:
        """Ask about each item; see `needs.Ask`. Errors are placed on this side."""

        def placed(item: T) -> R:
            with at(self.side):
                return question(item)

        return ask(placed, items, registry=self.source.registry, key=key)

    def warn(self, notes: Sequence[str]) -> Steps[None]:
        """Tell of something in the job's log."""
        if notes:
            yield from transact(_warn, notes)

    def _get_manifests(
        self, new: Mapping[str, Descriptor]
    ) -> Steps[dict[Digest, Manifest | Index]]:
        content = self.context.content
        held = yield from self._lease(new)

        def get(digest: str) -> tuple[Manifest | Index, bool]:
            """The manifest, and whether its bytes came from here now."""
            descriptor = new[digest]
            there = digest in held.own and content.size(descriptor.digest) is not None
            if there and (
                digest not in held.unknown or self.repository.head_manifest(digest) is not None
            ):
                return read_manifest(descriptor, content), False
            manifest = self._fetched.pop(digest, None) or self.repository.get_manifest(digest)
            content.put(manifest.raw)
            return manifest, True

        got = yield from self.ask(get, list(new))
        yield from transact(_record_manifests, (self.source, got))
        wrong = [
            note
            for manifest, _ in got
            if (note := _misdescribed(new[str(manifest.digest)], manifest))
        ]
        yield from self.warn(wrong)
        return {manifest.digest: manifest for manifest, _ in got}

    def _lease(self, digests: Iterable[str]) -> Steps[_Held]:
        return transact(_lease_and_look, _Look(self.source, list(digests), self.context))

    def _mount(self, digest: Digest, repository: str) -> bool:
        """Take a blob over from another repository, if the registry lets us."""
        self.monitor.check()
        session = self.repository.mount(
            digest, from_repository=f"{self.source.registry}/{repository}"
        )
        if session is not None:
            self.repository.cancel_upload(session)
        return session is None

    def _helpful(self, question: Callable[[], R | None]) -> R | None:
        """Ask what a source must answer, and what only saves work at a destination.

        What is not known to be there is sent. Who is told to sign in, to wait, or nothing at all
        would not get further with that.
        """
        try:
            return question()
        except (UnauthorizedError, UnreachableError):
            raise
        except RegistryError as refusal:
            if refusal.asks_for_patience or self.side is Side.SOURCE:
                raise
        except ContentError:
            if self.side is Side.SOURCE:
                raise
        return None

    def _seen(self, digests: Sequence[Digest]) -> Steps[set[Digest]]:
        """Those of some blobs that the repository holds, by HEAD."""

        def exists(digest: Digest) -> bool:
            found = self._helpful(
                lambda: self.repository.head_blob(digest, sure=self.side is Side.SOURCE)
            )
            return found is not None

        answers = yield from self.ask(
            exists, digests, key=lambda digest: ("blob", self.source, digest)
        )
        return {digest for digest, yes in zip(digests, answers, strict=True) if yes}


def check_sizes(claims: Iterable[Descriptor], held: Mapping[str, int]) -> None:
    """Compare what descriptors claim with the sizes of the blobs that are *held*.

    Raises:
        WrongSizeError: one of them is wrong. That is a fault of whoever wrote the descriptor.
    """
    for claim in claims:
        actual = held.get(str(claim.digest))
        if actual is not None and actual != claim.size:
            raise WrongSizeError(subject=str(claim.digest), claimed=claim.size, actual=actual)


def _misdescribed(claim: Descriptor, manifest: Manifest | Index) -> str:
    """What an index says wrongly of a manifest whose bytes its digest proves; "" for nothing."""
    actual = manifest.descriptor
    wrong = [
        f"{what} {of_claim}, not {of_actual}"
        for what, of_claim, of_actual in (
            ("size", claim.size, actual.size),
            ("type", claim.media_type, actual.media_type),
        )
        if of_claim != of_actual
    ]
    return f"{claim.digest} is described with {' and '.join(wrong)}" if wrong else ""


# --- pieces of transactions ----------------------------------------------------------------------


def _warn(
    connection: Connection, now: float, notes: Sequence[tuple[JobLease, Sequence[str]]]
) -> list[None]:
    for lease, some in notes:
        for note in some:
            events.record(connection, lease.id, "warning", now, message=note)
    return [None] * len(notes)


@dataclass(frozen=True, slots=True)
class _Look:
    source: Source
    digests: Collection[str]
    context: WorkerContext


@dataclass(frozen=True, slots=True)
class _Held:
    """What the store holds of some blobs, by size.

    A job may use its *own*; of these the *unknown* ones its credential has to show yet.
    """

    sizes: Mapping[str, int]
    own: set[str]
    unknown: set[str]


def _lease_and_look(
    connection: Connection, now: float, wishes: Sequence[tuple[JobLease, _Look]]
) -> list[_Held]:
    blobs.lease_all(connection, [(lease.id, look.digests) for lease, look in wishes])
    everything = {digest for _, look in wishes for digest in look.digests}
    sizes = blobs.sizes(connection, everything, now)
    shared = all(look.context.shared_trust for _, look in wishes)
    proven: dict[tuple[str, str], set[str]] = {}
    heard: dict[Source, set[str]] = {}
    for source in {look.source for _, look in wishes if sizes and not shared}:
        place = (source.registry, source.repository)
        if place not in proven:
            proven[place] = blobs.proven(
                connection, sizes, registry=source.registry, repository=source.repository
            )
        since = now - WORD_SECONDS
        heard[source] = blobs.confirmed(connection, proven[place], source, since=since)
    found: list[_Held] = []
    for _, look in wishes:
        held = {digest: sizes[digest] for digest in look.digests if digest in sizes}
        own = set(held)
        unknown: set[str] = set()
        if not shared and held:
            own &= proven[look.source.registry, look.source.repository]
            unknown = own - heard[look.source]
        found.append(_Held(held, own, unknown))
    return found


def _record_manifests(
    connection: Connection,
    now: float,
    got: Sequence[tuple[JobLease, tuple[Source, Sequence[tuple[Manifest | Index, bool]]]]],
) -> list[None]:
    everything = [(source, manifest, came) for _, (source, some) in got for manifest, came in some]
    blobs.add(connection, {str(m.digest): len(m.raw) for _, m, _ in everything}, now)
    for source in {source for source, _, _ in everything}:
        mine = {str(m.digest): came for where, m, came in everything if where == source}
        blobs.record_bytes(connection, [digest for digest, came in mine.items() if came], source)
        blobs.confirm(connection, mine, source, now)
    return [None] * len(got)


def _confirm(
    connection: Connection, now: float, seen: Sequence[tuple[JobLease, tuple[Source, set[str]]]]
) -> list[None]:
    for source in {source for _, (source, _) in seen}:
        digests = {d for _, (where, some) in seen if where == source for d in some}
        blobs.confirm(connection, sorted(digests), source, now)
    return [None] * len(seen)


def _elsewhere(
    connection: Connection,
    now: float,
    wanted: Sequence[tuple[JobLease, tuple[Source, Sequence[Descriptor]]]],
) -> list[dict[str, list[str]]]:
    """From where mounts are tried: as often as uploading the blob would be worth it."""
    del now
    by_source: dict[Source, dict[str, Descriptor]] = {}
    for _, (source, absent) in wanted:
        by_source.setdefault(source, {}).update((str(blob.digest), blob) for blob in absent)
    found: dict[Source, dict[str, list[str]]] = {}
    for source, some in by_source.items():
        there = blobs.seen_elsewhere(
            connection, some, registry=source.registry, but=source.repository
        )
        found[source] = {
            digest: blobs.repositories_with(
                connection,
                digest,
                registry=source.registry,
                fingerprint=source.fingerprint,
                but=source.repository,
                limit=next(tries for size, tries in MOUNT_TRIES if some[digest].size > size),
            )
            for digest in sorted(there)
        }
    return [found[source] for _, (source, _) in wanted]
