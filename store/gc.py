"""Collection: mark what is in use, and sweep the rest, while everything else goes on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection

from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.content import collection, references
from transship.store.catalog.content.collection import Snapshot
from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.db.sql import chunks
from transship.store.content.ports import ContentStore, Trashed
from transship.store.oci.digest import Digest

log = logging.getLogger(__name__)

CHUNK = 200  # rows a transaction: leasing must not wait long
TRASH_SECONDS = 3600.0
URGENT_TRASH_SECONDS = 120.0  # where the disk is full; still longer than any lease
DRAFT_SECONDS = 24 * 3600.0  # a body that is received is written to now and then
ORPHAN_SECONDS = 3600.0
MAX_BROKEN = 100  # so many broken images are named

Check = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Broken:
    """A manifest or index that is held and lacks some of what it holds on to.

    *above* are the digests of what leads to it, itself included; *names* stand for one of these.
    """

    digest: str
    missing: tuple[str, ...]
    above: frozenset[str]
    names: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """As it stands in the report of a job."""
        missing = list(self.missing[:MAX_BROKEN])
        return {"digest": self.digest, "names": list(self.names), "missing": missing}


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
    broken: list[Broken] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The report of a job; of broken images the first hundred."""
        return {
            "blobs": self.blobs,
            "bytes": self.bytes,
            "partials": self.partials,
            "drafts": self.drafts,
            "orphans": self.orphans,
            "erased_bytes": self.erased_bytes,
            "kept_bytes": self.kept_bytes,
            "broken": len(self.broken),
            "broken_images": [one.as_json() for one in self.broken[:MAX_BROKEN]],
        }


def broken(snapshot: Snapshot) -> list[Broken]:
    """The manifests and indexes in use that hold on to something that is missing.

    That they lost it is a fact about these images alone, which keep what they have left.
    """
    lacking = {
        digest: missing
        for digest in reachable(snapshot) & snapshot.held.keys()
        if (missing := [c for c in snapshot.edges.get(digest, ()) if c not in snapshot.held])
    }
    above: dict[str, list[str]] = {}
    if lacking:
        for parent, children in snapshot.edges.items():
            for child in children:
                above.setdefault(child, []).append(parent)
    return [
        Broken(digest, tuple(sorted(missing)), frozenset(_closure([digest], above)))
        for digest, missing in sorted(lacking.items())
    ]


def reachable(snapshot: Snapshot) -> set[str]:
    """What is in use: what the roots lead to over the edges that are held, here or not.

    An index that was pulled for one platform has no edges to the others, on purpose. A root may be
    leased before it arrives.
    """
    return _closure(snapshot.roots, snapshot.edges)


def _closure(roots: Iterable[str], edges: Mapping[str, Sequence[str]]) -> set[str]:
    found: set[str] = set()
    ahead = list(roots)
    while ahead:
        digest = ahead.pop()
        if digest not in found:
            found.add(digest)
            ahead.extend(edges.get(digest, ()))
    return found


def sweep(
    catalog: Catalog,
    content: ContentStore,
    *,
    check: Check,
    enough: Callable[[int], bool] = lambda _: False,
) -> Swept:
    """Collect what is not in use, least recently used first, until *enough* (of the bytes) is so.

    Jobs go on meanwhile: what they lease in time stays. Files go to the trash. Images that lack
    something keep the rest, and are named in the report; they keep nobody else's from going.
    """
    with catalog.read() as connection:
        stale = collection.stale_holders(connection)
    for some in chunks(stale, CHUNK):
        with catalog.write() as connection:
            collection.drop_stale(connection, some)
    with catalog.write() as connection:
        number = collection.begin(connection)
    with catalog.read() as connection:
        snapshot = collection.snapshot(connection)
        report = Swept(broken=_with_names(connection, broken(snapshot)))
    unused = sorted(
        snapshot.held.keys() - reachable(snapshot), key=lambda d: snapshot.held[d].used_at
    )
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


def _with_names(connection: Connection, found: list[Broken]) -> list[Broken]:
    named = found[:MAX_BROKEN]
    above = frozenset[str]().union(*(one.above for one in named))
    names = [(row.name, row.digest) for row in references.of_digests(connection, HOUSE, above)]
    return [
        replace(one, names=tuple(name for name, digest in names if digest in one.above))
        for one in named
    ] + found[MAX_BROKEN:]


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

    Partials go that nobody has written to since *partials_before*, and what was put aside before
    then; the trash of the last hour stays, or, where it is *urgent*, of the last minutes. What is
    wanted is taken back from it.
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
    content.discard_quarantined(partials_before)
    for trashed in take_back(catalog, content, check):
        if trashed.since <= now - keep:
            content.erase(trashed.digest)
            report.erased_bytes += trashed.size


def take_back(catalog: Catalog, content: ContentStore, check: Check) -> list[Trashed]:
    """Take back from the trash what is wanted, and return the rest.

    A collection that was killed has moved files without having asked again; whoever goes on with
    it does this before anything else.
    """
    rest: list[Trashed] = []
    for some in chunks(list(content.trashed()), CHUNK):
        check()
        unwanted = set(_unwanted(catalog, [str(trashed.digest) for trashed in some]))
        for trashed in some:
            missing = str(trashed.digest) not in unwanted and content.size(trashed.digest) is None
            if not missing or not content.restore(trashed.digest):
                rest.append(trashed)
    return rest


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
    for digests in chunks(content.digests(), CHUNK):
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
