"""A repository in a registry, as one job may see it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from store.catalog import blobs
from store.catalog.blobs import Source
from store.catalog.jobs import JobLease
from store.catalog.waits import Wanted
from store.errors import ManifestNotFoundError, RegistryNotFoundError, Side
from store.images.held import read_manifest
from store.oci.descriptor import Descriptor
from store.oci.digest import Digest
from store.oci.manifest import Index, Manifest
from store.oci.reference import Reference
from workers.leases import Held
from workers.registry.client import Repository
from workers.world import World, at

# Above so many bytes so many tries, as Docker has it.
MOUNT_TRIES = ((10 * 1024 * 1024, 4), (100 * 1024, 3), (-1, 1))


@dataclass(frozen=True, slots=True)
class Remote:
    """One side of a job: the repository, opened with the credential that the job brought."""

    reference: Reference
    side: Side
    repository: Repository
    source: Source
    lease: JobLease
    world: World
    held: Held

    @classmethod
    def of(
        cls, reference: Reference, side: Side, lease: JobLease, world: World, held: Held
    ) -> Remote:
        """The repository of *reference* for the job that *lease* holds."""
        registry, path = reference.domain, reference.path
        return cls(
            reference=reference,
            side=side,
            repository=world.repository(lease.root, registry, path, mirrored=side is Side.SOURCE),
            source=Source(registry, path, world.fingerprint(lease.root, registry, path)),
            lease=lease,
            world=world,
            held=held,
        )

    def head(self) -> Descriptor | None:
        """What the reference stands for now, by HEAD; None where it stands for nothing."""
        self.held.check()
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
                "the registry does not hold this image, or hides it",
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
        had = set(self.lease.plan.get("manifests", ()))
        new = {str(d.digest): d for d in wanted if str(d.digest) not in had}
        got = self._get_manifests(new) if new else {}
        return [got.get(d.digest) or read_manifest(d, self.world.content) for d in wanted]

    def usable(self, wanted: Collection[Descriptor]) -> set[Digest]:
        """Those of *wanted* that are in the store and that this job may use.

        All are leased to the job first. What is held and not yet known to be readable with the
        job's own credential is asked of the registry, by HEAD.
        """
        digests = {str(d.digest): d.digest for d in wanted}
        catalog, now = self.world.catalog, self.world.now()
        with catalog.write() as connection:
            blobs.lease(connection, self.lease.id, digests)
            held = blobs.held(connection, digests, now)
            confirmed = blobs.confirmed(connection, held, self.source)
        unknown = sorted(self._unconfirmed(confirmed, held))
        if unknown:
            seen = self._ask(digests[d] for d in unknown)
            with catalog.write() as connection:
                blobs.confirm(connection, map(str, seen), self.source, now)
            for digest in sorted(set(unknown) - {str(d) for d in seen}):
                raise RegistryNotFoundError(
                    "the registry does not hold this blob, or hides it",
                    registry=self.source.registry,
                    subject=f"{self.reference.repository}@{digest}",
                    http_status=404,
                ).at(self.side)
        return {digests[d] for d in held}

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
            answers = self.world.probe(mounted, absent)
        origins = {
            blob.digest: repository
            for blob, repository in zip(absent, answers, strict=True)
            if repository is not None
        }
        there |= origins.keys()
        with self.world.catalog.write() as connection:
            blobs.confirm(connection, map(str, there), self.source, self.world.now())
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
        catalog, content, now = self.world.catalog, self.world.content, self.world.now()
        with catalog.write() as connection:
            blobs.lease(connection, self.lease.id, new)
            held = blobs.held(connection, new, now)
            unknown = self._unconfirmed(blobs.confirmed(connection, held, self.source), held)

        def get(digest: str) -> Manifest | Index:
            self.held.check()
            descriptor = new[digest]
            there = digest in held and content.size(descriptor.digest) is not None
            if there and (
                digest not in unknown or self.repository.head_manifest(digest) is not None
            ):
                return read_manifest(descriptor, content)
            manifest = self.repository.get_manifest(digest, expected=descriptor)
            content.put(manifest.raw)
            return manifest

        with at(self.side):
            got = self.world.probe(get, new)
        with catalog.write() as connection:
            for manifest in got:
                blobs.add(connection, str(manifest.digest), len(manifest.raw), now)
            blobs.confirm(connection, new, self.source, now)
        return {manifest.digest: manifest for manifest in got}

    def _mount(self, digest: Digest, repository: str) -> bool:
        """Take a blob over from another repository, if the registry lets us."""
        self.held.check()
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
        with self.world.catalog.read() as connection:
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
            self.held.check()
            return self.repository.head_blob(digest) is not None

        with at(self.side):
            answers = self.world.probe(exists, ordered)
        return {digest for digest, yes in zip(ordered, answers, strict=True) if yes}

    def _unconfirmed(self, confirmed: set[str], held: Iterable[str]) -> set[str]:
        return set() if self.world.shared_trust else set(held) - confirmed
