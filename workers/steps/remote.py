"""A repository in a registry, as one job may see it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection

from transship.store.catalog.content import blobs
from transship.store.catalog.content.blobs import Source
from transship.store.catalog.scheduling import jobs
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.catalog.scheduling.waits import Wanted
from transship.store.errors import (
    ManifestNotFoundError,
    RegistryNotFoundError,
    Side,
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
            return self.repository.head_manifest(self.reference.identifier)

    def resolve(self) -> Descriptor:
        """What the reference stands for now.

        Raises:
            ManifestNotFoundError: nothing.
        """
        found = self.head()
        if found is None:
            raise ManifestNotFoundError(
                "image not found, or access denied",
                registry=self.reference.domain,
                subject=str(self.reference),
                http_status=404,
                hint="check the name and the tag, and whether it needs credentials",
            ).at(self.side)
        return found

    def manifests(self, wanted: Sequence[Descriptor]) -> list[Manifest | Index]:
        """Manifests of this repository, from the store where this job may have them from there.

        They are stored and leased to the job. Those that the job has had before are not asked for
        again.
        """
        had = set(self.lease.checkpoint.get("manifests", ()))
        new = {str(d.digest): d for d in wanted if str(d.digest) not in had}
        got = self._get_manifests(new) if new else {}
        return [got.get(d.digest) or read_manifest(d, self.context.content) for d in wanted]

    def usable(self, wanted: Collection[Descriptor]) -> set[Digest]:
        """Those of *wanted* that are in the store and that this job may use.

        All are leased to the job first. It may use what has come from this very repository, as
        long as the repository still says, by HEAD and to the job's own credential, that it has it.
        What came from elsewhere proves nothing here: it is wanted like what is missing.

        Raises:
            WrongSizeError: a blob that is held has another size than its descriptor.
            RegistryNotFoundError: the repository does not have it for this credential.
        """
        digests = {str(d.digest): d.digest for d in wanted}
        catalog = self.context.catalog
        with catalog.write() as connection:
            now = self.context.now()
            blobs.lease(connection, self.lease.id, digests)
            held = blobs.sizes(connection, digests, now)
            own, unknown = self._own(connection, held, now)
        with at(self.side):
            check_sizes(wanted, held)
        if unknown:
            seen = self._ask(digests[d] for d in sorted(unknown))
            with catalog.write() as connection:
                blobs.confirm(connection, map(str, seen), self.source, now)
            for digest in sorted(unknown - {str(d) for d in seen}):
                raise RegistryNotFoundError(
                    "blob not found, or access denied",
                    registry=self.source.registry,
                    subject=f"{self.reference.repository}@{digest}",
                    http_status=404,
                ).at(self.side)
        return {digests[d] for d in own}

    def present(
        self, wanted: Sequence[Descriptor], *, mount_from: str | None
    ) -> tuple[set[Digest], dict[Digest, str]]:
        """Those of *wanted* that this repository holds, after mounting what can be mounted.

        Blobs are mounted from *mount_from*, or from where the catalog has seen them with this
        credential. Also returned is from which repository each of those was mounted.
        """
        there = self._ask(d.digest for d in wanted)
        absent = [d for d in wanted if d.digest not in there]

        def mounted(blob: Descriptor) -> str | None:
            candidates = self._elsewhere(blob, mount_from)
            return next((one for one in candidates if self._mount(blob.digest, one)), None)

        with at(self.side):
            answers = self._probe(mounted, absent)
        origins = {
            blob.digest: repository
            for blob, repository in zip(absent, answers, strict=True)
            if repository is not None
        }
        there |= origins.keys()
        if there:
            with self.context.catalog.write() as connection:
                blobs.confirm(connection, map(str, there), self.source, self.context.now())
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

    def _get_manifests(self, new: Mapping[str, Descriptor]) -> dict[Digest, Manifest | Index]:
        catalog, content = self.context.catalog, self.context.content
        with catalog.write() as connection:
            now = self.context.now()
            jobs.save(connection, self.lease)
            blobs.lease(connection, self.lease.id, new)
            held = blobs.sizes(connection, new, now)
            own, unknown = self._own(connection, held, now)

        def get(digest: str) -> tuple[Manifest | Index, bool]:
            """The manifest, and whether its bytes came from here now."""
            self.monitor.check()
            descriptor = new[digest]
            there = digest in own and content.size(descriptor.digest) is not None
            if there and (
                digest not in unknown or self.repository.head_manifest(digest) is not None
            ):
                return read_manifest(descriptor, content), False
            manifest = self.repository.get_manifest(digest, expected=descriptor)
            content.put(manifest.raw)
            return manifest, True

        with at(self.side):
            check_sizes(new.values(), held)
            got = self._probe(get, list(new))
        with catalog.write() as connection:
            blobs.add(connection, {str(m.digest): len(m.raw) for m, _ in got}, now)
            came = [str(manifest.digest) for manifest, came_now in got if came_now]
            blobs.record_bytes(connection, came, self.source)
            blobs.confirm(connection, new, self.source, now)
        return {manifest.digest: manifest for manifest, _ in got}

    def _mount(self, digest: Digest, repository: str) -> bool:
        """Take a blob over from another repository, if the registry lets us."""
        self.monitor.check()
        session = self.repository.mount(
            digest, from_repository=f"{self.source.registry}/{repository}"
        )
        if session is not None:
            self.repository.cancel_upload(session)
        return session is None

    def _elsewhere(self, blob: Descriptor, mount_from: str | None) -> list[str]:
        """From where a mount is tried: as often as uploading the blob would be worth it."""
        if mount_from is not None:
            return [mount_from]
        limit = next(tries for size, tries in MOUNT_TRIES if blob.size > size)
        with self.context.catalog.read() as connection:
            return blobs.repositories_with(
                connection,
                str(blob.digest),
                registry=self.source.registry,
                fingerprint=self.source.fingerprint,
                but=self.source.repository,
                limit=limit,
            )

    def _ask(self, digests: Iterable[Digest]) -> set[Digest]:
        ordered = list(digests)

        def exists(digest: Digest) -> bool:
            self.monitor.check()
            return self.repository.head_blob(digest) is not None

        with at(self.side):
            answers = self._probe(exists, ordered)
        return {digest for digest, yes in zip(ordered, answers, strict=True) if yes}

    def _probe(self, ask: Callable[[T], R], items: Sequence[T]) -> list[R]:
        return self.context.probes.ask(ask, items, of=lambda _: self.source.registry)

    def _own(
        self, connection: Connection, held: Collection[str], now: float
    ) -> tuple[set[str], set[str]]:
        """What of *held* this job may use, and of that what its credential has to show yet."""
        if self.context.shared_trust:
            return set(held), set()
        own = blobs.proven(
            connection,
            held,
            registry=self.source.registry,
            repository=self.source.repository,
        )
        heard = blobs.confirmed(connection, own, self.source, since=now - WORD_SECONDS)
        return own, own - heard


def check_sizes(claims: Iterable[Descriptor], held: Mapping[str, int]) -> None:
    """Compare what descriptors claim with the sizes of the blobs that are *held*.

    Raises:
        WrongSizeError: one of them is wrong. That is a fault of whoever wrote the descriptor.
    """
    for claim in claims:
        actual = held.get(str(claim.digest))
        if actual is not None and actual != claim.size:
            raise WrongSizeError(subject=str(claim.digest), claimed=claim.size, actual=actual)
