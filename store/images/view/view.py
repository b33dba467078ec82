"""Docker's view of what is held: images by ID, each with the names that stand for it.

A name stands for a *root*, a manifest or an index. Of an index Docker's answers are about one of
its images, the root's *lead*: the one for this host's platform, or else the first. An image's
names are those of the roots that it leads; images of other platforms come and go with their index.

A view is a tenant's: what nobody but other tenants has is not in it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy import Connection, Row

from transship.store.catalog.access import tenants
from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.content import blobs, references
from transship.store.oci.platform import Platform, select
from transship.store.oci.reference import Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalImage:
    """An image as Docker counts them.

    Attributes:
        id: The digest of its config; of what is no image, such as an artifact or an index of
            which nothing is held, the root's.
        manifest: Its row; None where nothing is held.
        roots: The digests that it leads, those with names first.
        names: The references that stand for them, by name.
        members: Every image that is held under the roots, this one first.
        part_of: Where it leads none: the names of the roots that hold it.
    """

    id: str
    manifest: Row[Any] | None
    roots: tuple[str, ...]
    names: tuple[Row[Any], ...]
    members: tuple[Row[Any], ...]
    part_of: tuple[Row[Any], ...] = ()

    @property
    def tags(self) -> list[str]:
        """Its names with a tag, in full."""
        return [row.name for row in self.names if not is_digest_name(row.name)]

    @property
    def digests(self) -> list[str]:
        """Its names with a digest, in full."""
        return [row.name for row in self.names if is_digest_name(row.name)]


def is_digest_name(name: str) -> bool:
    """Whether a full name ends in a digest, and not in a tag."""
    return "@" in name


def familiar(name: str) -> str:
    """A full name as Docker shows it."""
    return Reference.parse(name).familiar


def platform_of(row: Row[Any]) -> Platform:
    """What an image is for."""
    return Platform(row.os, row.architecture, row.variant)


def fitting(rows: Sequence[Row[Any]], wanted: Platform) -> Row[Any] | None:
    """The image that fits best; one that names no variant fits every one of its architecture."""
    best = select([_Candidate(row, platform_of(row)) for row in rows], wanted)
    if best is not None:
        return best.row
    plain = (wanted.os, wanted.architecture, "")
    return next((r for r in rows if (r.os, r.architecture, r.variant) == plain), None)


def lead(rows: Sequence[Row[Any]], host: Platform) -> Row[Any] | None:
    """The image among *rows* that answers for their index."""
    return fitting(rows, host) or (rows[0] if rows else None)


class ImageView:
    """Roots, images and names as they were when read: all, or some and what hangs on them."""

    def __init__(
        self,
        rows: Iterable[Row[Any]],
        links: Iterable[tuple[str, str]],
        names: Iterable[Row[Any]],
        host: Platform,
    ) -> None:
        """Put together what was read; *links* are those from an index to what it holds on to."""
        self.rows: dict[str, Row[Any]] = {row.digest: row for row in rows}
        self._host = host
        self._names: dict[str, list[Row[Any]]] = defaultdict(list)
        for name in names:
            self._names[name.digest].append(name)
        self._below: dict[str, list[str]] = defaultdict(list)
        held = set()
        for parent, child in links:
            self._below[parent].append(child)
            held.add(child)
        everything = dict.fromkeys((*self._names, *self.rows, *self._below))
        self._set_roots(one for one in everything if one in self._names or one not in held)

    def _set_roots(self, roots: Iterable[str]) -> None:
        self.roots = list(roots)
        self._led: dict[str, list[str]] = defaultdict(list)
        for root in self.roots:
            self._led[self._lead_id(root)].append(root)

    @classmethod
    def whole(cls, connection: Connection, tenant: str, host: Platform | None = None) -> Self:
        """Everything that is held."""
        if tenant != HOUSE:
            return cls.around(connection, tenant, tenants.held_by(connection, tenant), host)
        rows = references.every_image(connection)
        links = set(blobs.links(connection, children=[row.digest for row in rows]))
        above = {parent for parent, _ in links}
        while above:  # indexes of indexes
            more = set(blobs.links(connection, children=above)) - links
            links |= more
            above = {parent for parent, _ in more}
        names = references.listed(connection, tenant)
        return cls(rows, sorted(links), names, host or Platform.host())

    @classmethod
    def around(
        cls,
        connection: Connection,
        tenant: str,
        digests: Iterable[str],
        host: Platform | None = None,
    ) -> Self:
        """What hangs together with *digests*, of manifests or indexes, by holding or being held."""
        rows: dict[str, Row[Any]] = {}
        links: set[tuple[str, str]] = set()
        found: set[str] = set()
        new = set(digests)
        while new:
            found |= new
            rows |= {row.digest: row for row in references.images_of(connection, new)}
            more = blobs.links(connection, parents=new - rows.keys(), children=new)
            links.update(more)
            new = {digest for link in more for digest in link} - found
        names = references.of_digests(connection, tenant, found)
        view = cls(rows.values(), sorted(links), names, host or Platform.host())
        if tenant != HOUSE:
            view._keep(tenants.held_among(connection, tenant, found))
        return view

    @classmethod
    def of_id(
        cls, connection: Connection, tenant: str, id_: str, host: Platform | None = None
    ) -> Self:
        """What hangs together with the image *id_*."""
        same = [row.digest for row in references.images_with_id(connection, id_)]
        return cls.around(connection, tenant, same or [id_], host)

    def images(self) -> list[LocalImage]:
        """Every image that leads a root."""
        return [self._image(id_, roots) for id_, roots in self._led.items()]

    def has(self, digest: str) -> bool:
        """Whether a manifest is on it, or an index with a name."""
        return digest in self.rows or digest in self._names

    def image(self, id_: str) -> LocalImage | None:
        """The image *id_*, if it is there, whether it leads a root or not."""
        if id_ in self._led:
            return self._image(id_, self._led[id_])
        row = next((row for row in self.rows.values() if row.image_id == id_), None)
        if row is None:
            return None
        above = [r for r in self.roots if row.digest in {m.digest for m in self.members(r)}]
        names = [name for root in above for name in self._names.get(root, ())]
        return LocalImage(
            id=id_, manifest=row, roots=(), names=(), members=(row,), part_of=tuple(names)
        )

    def leader(self, root: str) -> LocalImage:
        """The image that answers for *root*."""
        return self._image(id_ := self._lead_id(root), self._led[id_])

    def members(self, root: str) -> list[Row[Any]]:
        """The images that are held under *root*, by platform."""
        return sorted(
            (self.rows[digest] for digest in self.under(root) if digest in self.rows),
            key=lambda row: (row.os, row.architecture, row.variant, row.digest),
        )

    def under(self, root: str) -> set[str]:
        """*root* and every manifest and index below it."""
        seen: set[str] = set()
        todo = [root]
        while todo:
            digest = todo.pop()
            if digest not in seen:
                seen.add(digest)
                todo += self._below.get(digest, ())
        return seen

    def _keep(self, digests: Collection[str]) -> None:
        """Leave only *digests* in the view."""
        self.rows = {digest: row for digest, row in self.rows.items() if digest in digests}
        links = [
            (parent, child)
            for parent, below in self._below.items()
            for child in below
            if parent in digests and child in digests
        ]
        self._below = defaultdict(list)
        for parent, child in links:
            self._below[parent].append(child)
        held = {child for _, child in links}
        self._set_roots(one for one in sorted(digests) if one in self._names or one not in held)

    def _lead_id(self, root: str) -> str:
        row = self.rows.get(root) or lead(self.members(root), self._host)
        return str(row.image_id) if row is not None else root

    def _image(self, id_: str, roots: list[str]) -> LocalImage:
        named = sorted(roots, key=lambda root: root not in self._names)
        names = sorted(
            (name for root in roots for name in self._names.get(root, ())),
            key=lambda row: row.name,
        )
        members = {row.digest: row for root in named for row in self.members(root)}
        first = next((row for row in members.values() if row.image_id == id_), None)
        ordered = sorted(members.values(), key=lambda row: row is not first)
        return LocalImage(
            id=id_, manifest=first, roots=tuple(named), names=tuple(names), members=tuple(ordered)
        )


@dataclass(frozen=True, slots=True)
class _Candidate:
    row: Row[Any]
    platform: Platform | None
