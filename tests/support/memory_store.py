"""The content store in memory: the same contract, for tests of what is built on it."""

from __future__ import annotations

import io
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from transship.store.content.ports import Ingest, Partial, Trashed
from transship.store.errors import BlobMissingError, DigestMismatchError, SizeMismatchError
from transship.store.oci.digest import Digest


class MemoryStore:
    """Blobs in a dictionary; gone with the object."""

    def __init__(self) -> None:
        """Begin empty."""
        self._lock = threading.Lock()
        self._blobs: dict[Digest, bytes] = {}
        self._trash: dict[Digest, bytes] = {}
        self._partials: dict[tuple[Digest, str, int], bytearray] = {}
        self._drafts: dict[MemoryDraft, str] = {}

    def size(self, digest: Digest) -> int | None:
        """How long the blob is; None where it is absent."""
        blob = self._blobs.get(digest)
        return None if blob is None else len(blob)

    def open(self, digest: Digest) -> BinaryIO:
        """Open a blob for reading."""
        blob = self._blobs.get(digest)
        if blob is None:
            raise BlobMissingError("the store does not hold it", subject=str(digest))
        return io.BytesIO(blob)

    def read(self, digest: Digest, *, max_bytes: int) -> bytes:
        """A small blob in whole, hashed again."""
        with self.open(digest) as file:
            raw = file.read()
        if len(raw) > max_bytes:
            raise SizeMismatchError(subject=str(digest), expected=max_bytes, actual=len(raw))
        actual = Digest.of(raw, digest.algorithm)
        if actual != digest:
            raise DigestMismatchError(expected=str(digest), actual=str(actual))
        return raw

    def put(self, raw: bytes) -> Digest:
        """Store small content under its sha256."""
        digest = Digest.of(raw)
        with self._lock:
            self._blobs[digest] = bytes(raw)
        return digest

    def ingest(self, digest: Digest, *, fence: int, origin: str = "") -> MemoryIngest:
        """Begin, or go on with, bringing a blob in."""
        with self._lock:
            mine = [key for key in self._partials if key[:2] == (digest, origin)]
            earlier = [key for key in mine if key[2] < fence]
            taken = max((bytes(self._partials[key]) for key in earlier), key=len, default=b"")
            for key in earlier:
                del self._partials[key]
            self._partials[digest, origin, fence] = bytearray(taken)
        return MemoryIngest(self, digest, origin, fence)

    def publish(self, sealed: Collection[Ingest]) -> None:
        """Make sealed blobs visible."""
        for ingest in sealed:
            ingest.name()

    def draft(self, holder: str) -> MemoryDraft:
        """Begin to bring in a blob whose digest will be known at its end."""
        draft = MemoryDraft(self)
        self._drafts[draft] = holder
        return draft

    def discard_drafts(self, holder: str) -> int:
        """Drop the drafts that *holder* left behind."""
        left = [draft for draft, whose in self._drafts.items() if whose == holder]
        for draft in left:
            del self._drafts[draft]
        return len(left)

    def discard_old_drafts(self, before: float) -> int:
        """Drop the drafts that were not written to since *before*."""
        left = [draft for draft in self._drafts if draft.written_at < before]
        for draft in left:
            del self._drafts[draft]
        return len(left)

    def remove(self, digest: Digest) -> bool:
        """Move a blob to the trash."""
        with self._lock:
            blob = self._blobs.pop(digest, None)
            if blob is not None:
                self._trash[digest] = blob
        return blob is not None

    def restore(self, digest: Digest) -> bool:
        """Take a blob back from the trash, if its bytes are still right."""
        with self._lock:
            blob = self._trash.get(digest)
            if blob is None or Digest.of(blob, digest.algorithm) != digest:
                return False
            self._blobs[digest] = self._trash.pop(digest)
        return True

    def trashed(self) -> Iterator[Trashed]:
        """Every blob in the trash."""
        for digest, blob in list(self._trash.items()):
            yield Trashed(digest, len(blob), 0.0)

    def erase(self, digest: Digest) -> None:
        """Drop a blob that is in the trash."""
        self._trash.pop(digest, None)

    def quarantine(self, digest: Digest) -> bool:
        """Put a blob aside whose bytes are not what its digest says."""
        return self._blobs.pop(digest, None) is not None

    def discard_quarantined(self, before: float) -> int:
        """Nothing that was put aside is kept here."""
        return 0

    def discard_partials(self, digest: Digest) -> None:
        """Drop every partial of a blob."""
        with self._lock:
            for key in [key for key in self._partials if key[0] == digest]:
                del self._partials[key]

    def partials(self) -> Iterator[Partial]:
        """Every partial there is."""
        with self._lock:
            found = [
                Partial(digest, fence, len(held), 0.0, origin)
                for (digest, origin, fence), held in self._partials.items()
            ]
        yield from found

    def digests(self) -> Iterator[Digest]:
        """Every blob there is."""
        yield from list(self._blobs)

    def modified_at(self, digest: Digest) -> float | None:
        """Memory knows no times: long ago."""
        return 0.0 if digest in self._blobs else None

    def free_bytes(self) -> int:
        """Memory has no such bound."""
        return sys.maxsize


class MemoryDraft:
    """See `transship.store.content.ports.Draft`."""

    def __init__(self, store: MemoryStore) -> None:
        """Write for *store*."""
        self.size = 0
        self.written_at = time.time()
        self._store = store
        self._held = bytearray()

    @property
    def digest(self) -> Digest:
        """The sha256 of what was written so far."""
        return Digest.of(bytes(self._held))

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append *data*."""
        self._held += data
        self.size = len(self._held)
        self.written_at = time.time()

    def commit(self) -> Digest:
        """Make the blob visible under the digest of what was written."""
        return self._store.put(bytes(self._held))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._store._drafts.pop(self, None)


class MemoryIngest:
    """See `transship.store.content.ports.Ingest`."""

    def __init__(self, store: MemoryStore, digest: Digest, origin: str, fence: int) -> None:
        """Write to the partial of *origin* that *store* keeps for *fence*."""
        self.digest = digest
        self._store = store
        self._key = (digest, origin, fence)
        self._held = store._partials[self._key]
        self.offset = self.resumed = len(self._held)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append *data*."""
        self._held += data
        self.offset = len(self._held)

    def rewind(self) -> None:
        """Drop what is held and begin at the start."""
        self._held.clear()
        self.offset = self.resumed = 0

    def seal(self, size: int) -> None:
        """End the blob."""
        raw = bytes(self._held)
        if len(raw) != size:
            self.discard()
            raise SizeMismatchError(subject=str(self.digest), expected=size, actual=len(raw))
        actual = Digest.of(raw, self.digest.algorithm)
        if actual != self.digest:
            self.discard()
            raise DigestMismatchError(expected=str(self.digest), actual=str(actual))

    def name(self) -> Path:
        """Make the blob visible under its digest."""
        with self._store._lock:
            self._store._blobs[self.digest] = bytes(self._held)
        self.discard()
        return Path()

    def commit(self, *, size: int, guard: Callable[[], None]) -> None:
        """Make the blob visible under its digest."""
        self.seal(size)
        guard()
        self.name()

    def discard(self) -> None:
        """Drop the partial."""
        with self._store._lock:
            self._store._partials.pop(self._key, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._held:
            self.discard()
