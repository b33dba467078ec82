"""Takes names away, and images with their last name: Docker's ImageDelete, rule by rule.

Bytes are not touched: what nothing holds on to any more is the collection's to sweep.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Flag, auto
from typing import Any

from sqlalchemy import Connection, Row

from transship.store.catalog.access import tenants
from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.content import blobs, layers, lineage, references
from transship.store.content.ports import ContentStore
from transship.store.errors import ConflictError, ContentError, Side, StoreError
from transship.store.images.edit.records import happened
from transship.store.images.view import users
from transship.store.images.view.local_content import Layer, open_base, open_image
from transship.store.images.view.resolve import Found, find
from transship.store.images.view.view import ImageView, LocalImage, familiar, is_digest_name
from transship.store.oci.platform import Platform
from transship.store.oci.reference import Reference


@dataclass(frozen=True, slots=True)
class Removed:
    """One thing that went: a name, an image by its ID, or a layer by its chainID.

    *size* is that of a layer, as it was held.
    """

    untagged: str | None = None
    deleted: str | None = None
    size: int = 0

    def as_json(self) -> dict[str, str]:
        """As Docker lists it."""
        if self.untagged is not None:
            return {"untagged": self.untagged}
        return {"deleted": str(self.deleted)}


class _Against(Flag):
    """What may speak against deleting an image."""

    CHILD = auto()
    RUNNING = auto()
    REFERENCES = auto()
    STOPPED = auto()
    HARD = CHILD | RUNNING
    SOFT = REFERENCES | STOPPED


@dataclass(frozen=True, slots=True)
class _Conflict:
    detail: str
    used: bool = False
    hint: str = "it cannot be forced"

    def error(self, image_id: str) -> ConflictError:
        return ConflictError(self.detail, subject=image_id, hint=self.hint, side=Side.STORE)


_FORCE = "remove it by force"


class Deletion:
    """Deletes images in one write transaction."""

    def __init__(
        self,
        connection: Connection,
        tenant: str,
        content: ContentStore,
        *,
        now: float,
        host: Platform | None = None,
    ) -> None:
        """Work in the transaction of *connection*, for a tenant; configs are read from *content*.

        What another tenant has too stays, and goes with the last of them.
        """
        self._connection = connection
        self._tenant = tenant
        self._content = content
        self._now = now
        self._host = host or Platform.host()

    def delete(self, text: str, *, force: bool = False, prune: bool = True) -> list[Removed]:
        """Take the name *text* away, or the image with that ID, with all its names.

        Args:
            text: A name, a digest, an ID or the beginning of one.
            force: Also where idle workspaces use the image, and where several repositories name
                it.
            prune: Delete its parents too, as long as nothing names or uses them.

        Returns:
            Names, then the image, then its layers that no other image has, from the top down; then
            the same of its parents.

        Raises:
            NotFoundError: there is no such image.
            ConflictError: it is used. Nothing was changed.
        """
        found = self._find(text)
        image = found.local
        removed: list[Removed] = []
        by_name = found.name is not None and not _begins(image.id, text)
        if by_name:
            if not force and _is_single(image):
                self._refuse_if_used(image, text)
            self._untag_name(image, str(found.name), removed)
        else:
            self._refuse_part(image, text)
            if _is_single(image):
                self._refuse(image, _Against.HARD if force else _Against.HARD | _Against.STOPPED)
                self._untag_all(image, removed)
        if removed:
            left = self._image(image.id)
            if left is None or (by_name and left.names):
                return removed
            image = left
        self._remove(image, removed, force=force, prune=prune, quiet=by_name)
        return removed

    def _find(self, text: str) -> Found:
        """Look, lock what there is against those who name it just now, and look again."""
        found = find(self._connection, self._tenant, text, host=self._host)
        image = found.local
        blobs.lock(self._connection, {*image.roots, *(row.digest for row in image.members)})
        return find(self._connection, self._tenant, text, host=self._host)

    def _remove(
        self, image: LocalImage, removed: list[Removed], *, force: bool, prune: bool, quiet: bool
    ) -> None:
        against = _Against.HARD if force else _Against.HARD | _Against.SOFT
        conflict = self._conflict(image, against)
        if conflict is not None:
            dangling = not image.names and not lineage.children(
                self._connection, self._tenant, image.id
            )
            if quiet and (not dangling or conflict.used):
                return
            raise conflict.error(image.id)
        known = lineage.get(self._connection, self._tenant, image.id)
        self._untag_all(image, removed)
        self._drop(image, removed)
        if prune and known is not None and known.parent is not None:
            parent = self._image(known.parent)
            if parent is not None:
                self._remove(parent, removed, force=False, prune=True, quiet=True)

    # --- names ---------------------------------------------------------------------------------

    def _untag_name(self, image: LocalImage, name: str, removed: list[Removed]) -> None:
        """Take one name away, and with a repository's last tag its digests."""
        self._untag(image, name, removed)
        if is_digest_name(name):
            return
        repository = _repository(name)
        if any(_repository(tag) == repository for tag in image.tags if tag != name):
            return
        for digest in image.digests:
            if _repository(digest) == repository:
                self._remove_name(image, digest)
                removed.append(Removed(untagged=familiar(digest)))

    def _untag_all(self, image: LocalImage, removed: list[Removed]) -> None:
        for row in image.names:
            self._untag(image, row.name, removed)

    def _untag(self, image: LocalImage, name: str, removed: list[Removed]) -> None:
        self._remove_name(image, name)
        happened(
            self._connection,
            self._tenant,
            "untag",
            image.id,
            name=image.id,
            now=self._now,
            image=image.manifest,
        )
        removed.append(Removed(untagged=familiar(name)))

    def _remove_name(self, image: LocalImage, name: str) -> None:
        for row in image.names:
            if row.name == name:
                references.remove(self._connection, self._tenant, name, row.digest)

    # --- images and layers ---------------------------------------------------------------------

    def _drop(self, image: LocalImage, removed: list[Removed]) -> None:
        """Forget the roots of an image without names, and what is under no other root."""
        view = ImageView.of_id(self._connection, self._tenant, image.id, self._host)
        others = [root for root in view.roots if root not in image.roots]
        kept = {digest for root in others for digest in view.under(root)}
        gone = {digest for root in image.roots for digest in view.under(root)} - kept
        rows = [row for row in image.members if row.digest in gone]
        read = {row.digest: self._layers(row, row.digest) for row in rows}
        tenants.let_go(self._connection, self._tenant, gone)
        for digest in gone - tenants.held_among(self._connection, HOUSE, gone):
            references.remove_image(self._connection, digest)
            if not users.is_base(self._connection, HOUSE, digest):
                blobs.unlink(self._connection, digest)
        told: set[str] = set()
        for row in rows:
            if row.image_id not in told and self._image(row.image_id) is None:
                self._forget(row, removed)
            for layer in self._layers_gone(row.digest, read[row.digest]):
                if layer.deleted not in told:
                    removed.append(layer)
                    told.add(str(layer.deleted))
            told.add(row.image_id)

    def _forget(self, row: Row[Any], removed: list[Removed]) -> None:
        lineage.forget(self._connection, self._tenant, row.image_id)
        happened(
            self._connection,
            self._tenant,
            "delete",
            row.image_id,
            name=row.image_id,
            now=self._now,
        )
        removed.append(Removed(deleted=row.image_id))

    def _layers(self, row: Row[Any] | None, manifest: str) -> tuple[Layer, ...]:
        """Those of an image that has a *row*, or that only a workspace still stands on."""
        try:
            if row is None:
                return open_base(manifest, self._content).layers
            return open_image(row, self._content).layers
        except (StoreError, ContentError):  # what cannot be read any more can still be deleted
            return ()

    def _layers_gone(self, manifest: str, its_layers: tuple[Layer, ...]) -> Iterator[Removed]:
        """From the top down, until one that another image has: that one has all below as well."""
        if users.is_base(self._connection, self._tenant, manifest):
            return
        for layer in reversed(its_layers):
            if self._is_used(layer):
                return
            yield Removed(deleted=str(layer.chain_id), size=layer.blob.size)

    def _is_used(self, layer: Layer) -> bool:
        same = {
            str(layer.blob.digest),
            *layers.digests_of(self._connection, str(layer.diff_id)),
        }
        parents = {parent for parent, _ in blobs.links(self._connection, children=same)}
        view = ImageView.around(self._connection, self._tenant, parents, self._host)
        return any(
            other.chain_id == layer.chain_id
            for digest in parents
            if digest in view.rows or users.is_base(self._connection, self._tenant, digest)
            for other in self._layers(view.rows.get(digest), digest)
        )

    # --- what speaks against it ----------------------------------------------------------------

    def _refuse(self, image: LocalImage, against: _Against) -> None:
        conflict = self._conflict(image, against)
        if conflict is not None:
            raise conflict.error(image.id)

    def _refuse_if_used(self, image: LocalImage, name: str) -> None:
        """Without its only name an image in use would be left with none."""
        conflict = self._conflict(image, _Against.RUNNING | _Against.STOPPED)
        if conflict is not None:
            raise ConflictError(conflict.detail, subject=name, hint=_FORCE, side=Side.STORE)

    def _refuse_part(self, image: LocalImage, text: str) -> None:
        if not image.roots and image.part_of:
            names = ", ".join(familiar(row.name) for row in image.part_of)
            raise ConflictError(
                f"it belongs to {names}; remove that instead", subject=text, side=Side.STORE
            )

    def _conflict(self, image: LocalImage, against: _Against) -> _Conflict | None:
        manifests = [row.digest for row in image.members]
        if against & _Against.CHILD and any(
            lineage.children(self._connection, self._tenant, row.image_id) for row in image.members
        ):
            return _Conflict("it has child images, which need it")
        if against & _Against.RUNNING:
            workspace = users.workspace_on(self._connection, self._tenant, manifests, busy=True)
            if workspace is not None:
                return _Conflict(f"the busy workspace {workspace} uses it", used=True)
            job = users.job_on(self._connection, self._tenant, {*manifests, *image.roots})
            if job is not None:
                return _Conflict(f"the job {job} works on it", used=True)
        if against & _Against.REFERENCES and image.names:
            return _Conflict(f"it has {len(image.names)} names", hint=_FORCE)
        if against & _Against.STOPPED:
            workspace = users.workspace_on(self._connection, self._tenant, manifests, busy=False)
            if workspace is not None:
                return _Conflict(f"the workspace {workspace} uses it", used=True, hint=_FORCE)
        return None

    def _image(self, id_: str) -> LocalImage | None:
        return ImageView.of_id(self._connection, self._tenant, id_, self._host).image(id_)


def _is_single(image: LocalImage) -> bool:
    """Whether it has a name, one tag at most, and all its names in one repository."""
    repositories = {_repository(row.name) for row in image.names}
    return len(repositories) == 1 and len(image.tags) <= 1


def _begins(image_id: str, text: str) -> bool:
    """Whether *text* can be read as the beginning of the ID, even if it is a name as well."""
    return image_id.startswith(text) or image_id.partition(":")[2].startswith(text)


def _repository(name: str) -> str:
    return Reference.parse(name).repository
