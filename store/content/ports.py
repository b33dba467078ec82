"""The content store's contract.

A blob's life: an *ingest* collects its bytes under a name of its own; *seal* checks size and
digest, and syncs; *publish* gives it its digest as name. Before that nobody sees it, after that it
never changes. What an ingest leaves behind when it ends early is a *partial*, which the next one
takes over.

The catalog says which blobs are held; this port only keeps files. It takes no locks: whoever
ingests holds a fence from the catalog, and a higher fence supersedes a lower one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from transship.store.oci.digest import Digest


@dataclass(frozen=True, slots=True)
class Partial:
    """What an ingest left behind; *modified_at* is in seconds since the epoch."""

    digest: Digest
    fence: int
    size: int
    modified_at: float
    origin: str = ""  # tells those of one origin from those of another; its name is not kept


@dataclass(frozen=True, slots=True)
class Trashed:
    """A blob in the trash; *since* is when it went there, in seconds since the epoch."""

    digest: Digest
    size: int
    since: float


class Draft(Protocol):
    """One blob on its way in whose digest is not known yet; one thread uses it.

    A context manager: leaving it without a commit drops what was written.
    """

    size: int  # bytes written so far

    @property
    def digest(self) -> Digest:
        """The sha256 of what was written so far."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append *data*, hashing it on the way.

        Raises:
            DiskFullError: no space is left.
        """

    def commit(self) -> Digest:
        """Make the blob visible under its sha256, durably, and return that.

        Whoever commits makes sure first that nobody collects it: its row comes after.
        """

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Ingest(Protocol):
    """One blob on its way in; a context manager that one thread uses.

    Leaving it without a commit closes the file and keeps what is there as a partial.
    """

    digest: Digest
    offset: int  # bytes held so far
    resumed: int  # of these, taken over from an earlier ingest

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append *data*, hashing it on the way.

        Raises:
            DiskFullError: no space is left; what was written before stays.
        """

    def rewind(self) -> None:
        """Drop what is held and begin at the start."""

    def seal(self, size: int) -> None:
        """End the blob, and make its bytes durable; `ContentStore.publish` makes it visible.

        Nothing is written to it after that. The partial stays until it is published.

        Raises:
            SizeMismatchError, DigestMismatchError: the bytes are wrong. They are dropped, for no
                later attempt could make them right.
        """

    def name(self) -> Path:
        """Make the sealed blob visible; returns the directory to sync before that lasts."""

    def commit(self, *, size: int, guard: Callable[[], None]) -> None:
        """Seal the blob and make it visible under its digest, durably.

        Success means that the content is in the store, not that this call put it there. *guard*
        is called when all is checked and nothing is visible yet; what it raises is passed on, and
        the partial stays.

        Raises:
            SizeMismatchError, DigestMismatchError: see `seal`.
        """

    def discard(self) -> None:
        """Drop the partial."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class ContentStore(Protocol):
    """Blobs by digest; safe to use from many threads and processes at once."""

    def size(self, digest: Digest) -> int | None:
        """How long the blob is; None where it is absent."""

    def open(self, digest: Digest) -> BinaryIO:
        """Open a blob for reading; the caller closes. It is not hashed again.

        Raises:
            BlobMissingError: it is absent.
        """

    def read(self, digest: Digest, *, max_bytes: int) -> bytes:
        """A small blob in whole, hashed again.

        Raises:
            BlobMissingError: it is absent.
            SizeMismatchError: it is longer than *max_bytes*.
            DigestMismatchError: the disk gave back something else.
        """

    def put(self, raw: bytes) -> Digest:
        """Store small content under its sha256; durable on return, success if it is there."""

    def ingest(self, digest: Digest, *, fence: int, origin: str = "") -> Ingest:
        """Begin, or go on with, bringing a blob in, as the holder of *fence*.

        The longest partial of a lower fence is copied, and hashed while it is; the file that an
        earlier holder may still write to is not used any more. What the same fence left behind
        is dropped.

        Only partials of the same *origin*, any text, are taken over or touched: whoever provides
        the end of a blob has not shown that it has the beginning.
        """

    def publish(self, sealed: Collection[Ingest]) -> None:
        """Make sealed blobs visible under their digests, durably, and all together.

        Their fences must hold still: who has lost one publishes nothing. Success means that the
        content is in the store, not that this call put it there.
        """

    def draft(self, holder: str) -> Draft:
        """Begin to bring in a blob whose digest will be known at its end.

        *holder*, the id of a job, say, tells whose it was if it is left behind by a crash.
        """

    def discard_drafts(self, holder: str) -> int:
        """Drop the drafts that *holder* left behind, and say how many."""

    def discard_old_drafts(self, before: float) -> int:
        """Drop the drafts, of anybody, that were not written to since *before*."""

    def remove(self, digest: Digest) -> bool:
        """Move a blob to the trash; False where it is absent."""

    def restore(self, digest: Digest) -> bool:
        """Take a blob back from the trash, if its bytes are still right."""

    def trashed(self) -> Iterator[Trashed]:
        """Every blob in the trash."""

    def erase(self, digest: Digest) -> None:
        """Drop a blob that is in the trash."""

    def quarantine(self, digest: Digest) -> bool:
        """Put a blob aside whose bytes are not what its digest says; False where it is absent."""

    def discard_quarantined(self, before: float) -> int:
        """Drop for good what was put aside *before*, and say how many."""

    def discard_partials(self, digest: Digest) -> None:
        """Drop every partial of a blob."""

    def partials(self) -> Iterator[Partial]:
        """Every partial there is."""

    def digests(self) -> Iterator[Digest]:
        """Every blob there is."""

    def modified_at(self, digest: Digest) -> float | None:
        """When the blob was written, in seconds since the epoch; None where it is absent."""

    def free_bytes(self) -> int:
        """How much more the disk would take."""
