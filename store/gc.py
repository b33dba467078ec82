"""Collection: mark what is in use, and sweep the rest, while everything else goes on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from store.catalog import collection
from store.catalog.collection import Snapshot
from store.catalog.engine import Catalog
from store.content.ports import ContentStore
from store.errors import CollectionStoppedError
from store.oci.digest import Digest

log = logging.getLogger(__name__)

CHUNK = 200  # rows a transaction: leasing must not wait long
TRASH_SECONDS = 3600.0
URGENT_TRASH_SECONDS = 120.0  # where the disk is full; still longer than any lease
DRAFT_SECONDS = 24 * 3600.0  # a body that is received is written to now and then
ORPHAN_SECONDS = 3600.0

Check = Callable[[], None]
T = TypeVar("T")


@dataclass(slots=True)
class Swept:
    """What a collection took away."""

    blobs: int = 0
    bytes: int = 0
    partials: int = 0
    drafts: int = 0
    orphans: int = 0
    erased_bytes: int = 0  # from the trash, for good
    kept_bytes: int = 0
    _unused: dict[str, int] = field(default_factory=dict, repr=False)

    def as_json(self) -> dict[str, int]:
        """The report of a job."""
        return {
            "blobs": self.blobs,
            "bytes": self.bytes,
            "partials": self.partials,
            "drafts": self.drafts,
            "orphans": self.orphans,
            "erased_bytes": self.erased_bytes,
            "kept_bytes": self.kept_bytes,
        }


def mark(snapshot: Snapshot) -> set[str]:
    """Everything that is in use: what a root leads to, over the edges that are held.

    An index that was pulled for one platform has no edges to the others, on purpose. A root may be
    leased before it arrives; but what a blob that is here holds on to has to be here.

    Raises:
        CollectionStoppedError: it is not, so that the catalog cannot be trusted with a sweep.
    """
    marked = reachable(snapshot)
    for digest in marked & snapshot.held.keys():
        for child in snapshot.edges.get(digest, ()):
            if child not in snapshot.held:
                raise CollectionStoppedError(
                    f"{child}, which it holds on to, is missing",
                    subject=digest,
                    hint="run `transship fsck --repair`",
                )
    return marked


def reachable(snapshot: Snapshot) -> set[str]:
    """What the roots lead to, whether it is here or not."""
    found: set[str] = set()
    ahead = list(snapshot.roots)
    while ahead:
        digest = ahead.pop()
        if digest not in found:
            found.add(digest)
            ahead.extend(snapshot.edges.get(digest, ()))
    return found


def sweep(
    catalog: Catalog,
    content: ContentStore,
    *,
    check: Check,
    enough: Callable[[int], bool] = lambda _: False,
) -> Swept:
    """Collect what is not in use, least recently used first, until *enough* (of the bytes) is so.

    Jobs go on meanwhile: what they lease in time stays. Files go to the trash.

    Raises:
        CollectionStoppedError: see `mark`; nothing was swept.
    """
    with catalog.write() as connection:
        number = collection.begin(connection)
    with catalog.read() as connection:
        snapshot = collection.snapshot(connection)
    marked = mark(snapshot)
    unused = sorted(snapshot.held.keys() - marked, key=lambda d: snapshot.held[d].used_at)
    report = Swept()
    ahead = iter(unused)
    while not enough(report.bytes) and (some := _next(ahead, snapshot, report.bytes, enough)):
        check()
        with catalog.write() as connection:
            swept = collection.sweep(connection, some, number)  # no row means absent, from here on
        _to_trash(catalog, content, swept)
        report.blobs += len(swept)
        report.bytes += sum(swept.values())
    report.kept_bytes = sum(held.size for held in snapshot.held.values()) - report.bytes
    return report


def tidy(
    catalog: Catalog,
    content: ContentStore,
    report: Swept,
    *,
    partials_before: float,
    urgent: bool,
    check: Check,
) -> None:
    """Drop what crashes and cancelled jobs left on the disk, and empty the trash.

    Partials go that nobody has written to since *partials_before*; the trash of the last hour
    stays, or, where it is *urgent*, of the last minutes. What has a row is taken back from it.
    """
    now = time.time()
    for partial in list(content.partials()):
        check()
        if partial.modified_at < partials_before and _unwanted(catalog, [str(partial.digest)]):
            content.discard_partials(partial.digest)
            report.partials += 1
    report.drafts += content.discard_old_drafts(now - DRAFT_SECONDS)
    _sweep_orphans(catalog, content, report, now - ORPHAN_SECONDS, check)
    keep = URGENT_TRASH_SECONDS if urgent else TRASH_SECONDS
    for some in _chunks(list(content.trashed())):
        check()
        with catalog.read() as connection:
            held = collection.held(connection, [str(trashed.digest) for trashed in some])
        for trashed in some:
            if str(trashed.digest) in held and content.size(trashed.digest) is None:
                content.restore(trashed.digest)
            elif trashed.since <= now - keep:
                content.erase(trashed.digest)
                report.erased_bytes += trashed.size


def _next(
    ahead: Iterator[str], snapshot: Snapshot, so_far: int, enough: Callable[[int], bool]
) -> list[str]:
    """The next rows to sweep: no more than are needed, and not too many."""
    some: list[str] = []
    for digest in ahead:
        some.append(digest)
        so_far += snapshot.held[digest].size
        if len(some) >= CHUNK or enough(so_far):
            break
    return some


def _to_trash(catalog: Catalog, content: ContentStore, digests: Collection[str]) -> int:
    """Move files that have no row; what is wanted, or again meanwhile, stays. Returns how many.

    Who wants it says so in the catalog before looking for the file, or looks for it again after
    that. So it is asked again when the files have been moved: whoever came too late to be seen
    then has seen that they are gone.
    """
    moved = [
        digest for digest in _unwanted(catalog, digests) if content.remove(Digest.parse(digest))
    ]
    gone = _unwanted(catalog, moved)
    for digest in set(moved).difference(gone):
        content.restore(Digest.parse(digest))
    return len(gone)


def _sweep_orphans(
    catalog: Catalog, content: ContentStore, report: Swept, before: float, check: Check
) -> None:
    """Files that no row, no lease and no transfer names, and that are not new."""
    for digests in _chunks(content.digests()):
        check()
        old = []
        for digest in digests:
            written = content.modified_at(digest)
            if written is not None and written <= before:
                old.append(str(digest))
        report.orphans += _to_trash(catalog, content, old)


def _unwanted(catalog: Catalog, digests: Collection[str]) -> list[str]:
    if not digests:
        return []
    with catalog.read() as connection:
        wanted = collection.wanted(connection, digests)
    return [digest for digest in digests if digest not in wanted]


def _chunks(all_: Iterable[T]) -> Iterator[list[T]]:
    some: list[T] = []
    for one in all_:
        some.append(one)
        if len(some) == CHUNK:
            yield some
            some = []
    if some:
        yield some
