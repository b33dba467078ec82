"""The build cache: what image a step would give that was done before. Docker's MakeImageCache.

A step is the config of its container. It was done before where a child of the same parent has an
equal one; or where a *source*, an image that was built elsewhere, goes on after the parent's
history and layers with a step of the same command.

Where there is no parent, only sources count: an image without one may have come from anywhere, and
what it says of its first step is no proof (CVE-2024-24557).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from transship.store.catalog.content import lineage
from transship.store.catalog.db.engine import Catalog
from transship.store.content.ports import ContentStore
from transship.store.content.present import ensure_present
from transship.store.errors import BlobMissingError, ContentError, NotFoundError, Side
from transship.store.images.build.commit import encoded, kept
from transship.store.images.build.container_config import command, same_step
from transship.store.images.build.create import adopt, line, publish_at_once
from transship.store.images.build.manifests import manifest_after
from transship.store.images.edit.publish import made
from transship.store.images.view.local_content import Opened, open_image
from transship.store.images.view.resolve import Found, find
from transship.store.images.view.view import ImageView
from transship.store.oci import timestamps


@dataclass(frozen=True, slots=True)
class CacheHit:
    """What is known of a step.

    Attributes:
        image_id: The image that it gives; None where that is not known.
        source: The source that this was taken from. The builder keeps to it from now on, and
            names no other: two images may agree in a step and not in the next.
        unknown: Sources that are not here, or do not tell which step made which layer.
    """

    image_id: str | None
    source: str | None = None
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Image:
    id: str
    opened: Opened
    name: str = ""

    @property
    def tells_its_steps(self) -> bool:
        """Whether its history and its layers fit each other."""
        config = self.opened.config
        made_layers = sum(step.get("empty_layer") is not True for step in self.history)
        return config is not None and made_layers == len(config.diff_ids) == len(self.diff_ids)

    @property
    def history(self) -> Sequence[Mapping[str, Any]]:
        return self.opened.config.history if self.opened.config is not None else ()

    @property
    def diff_ids(self) -> list[str]:
        return [str(layer.diff_id) for layer in self.opened.layers]

    def goes_on_after(self, parent: _Image | None) -> bool:
        """Whether *parent*'s history and layers are the beginning of this one's."""
        if parent is None:
            return bool(self.history)
        steps, layers = len(parent.history), len(parent.diff_ids)
        return (
            len(self.history) > steps
            and [_said(step) for step in self.history[:steps]] == [*map(_said, parent.history)]
            and self.diff_ids[:layers] == parent.diff_ids
        )


class BuildCache:
    """Answers for steps of builds. It remembers nothing from one to the next."""

    def __init__(self, catalog: Catalog, content: ContentStore) -> None:
        """Look among what *catalog* and *content* hold."""
        self._catalog = catalog
        self._content = content

    def look(
        self,
        tenant: str,
        config: Mapping[str, Any],
        *,
        parent: str | None,
        sources: Sequence[str],
        holder: str,
        now: float,
    ) -> CacheHit:
        """Find the image that a step gives.

        With *sources*, one that was made here counts only if a source descends from it. Where a
        source has the step in its midst, an image that ends with it is made, of the source's layers
        and without a name; where it is the source's last, that becomes the parent's child.

        Args:
            tenant: Whose images are looked at.
            config: That of the step's container.
            parent: What stands for the image that it begins with; None for none.
            sources: What stands for images that may have the step, in the order to be asked.
            holder: Under which new blobs are leased meanwhile.
            now: The time.

        Raises:
            NotFoundError: the parent is not here.
        """
        with self._catalog.read() as connection:
            begins = None if parent is None else self._open(connection, tenant, parent)
            known, unknown = self._sources(connection, tenant, sources)
            local = None if begins is None else self._child(connection, tenant, begins, config)
            if local is not None:
                if not sources:
                    return CacheHit(local)
                if any(local in line(connection, tenant, source.id) for source in known):
                    return CacheHit(local, unknown=unknown)
        at = 0 if begins is None else len(begins.history)
        for source in known:
            if not source.goes_on_after(begins):
                continue
            if source.history[at].get("created_by", "") != command(config):
                continue
            if at + 1 == len(source.history):
                image_id = source.id
                if begins is not None:
                    with self._catalog.write() as connection:
                        adopt(connection, tenant, image_id, begins.id)
            else:
                image_id = self._midst(tenant, source, begins, config, holder, now)
            return CacheHit(image_id, source.name, unknown)
        return CacheHit(None, unknown=unknown)

    def _open(self, connection: Connection, tenant: str, text: str) -> _Image:
        found: Found = find(connection, tenant, text)
        if found.image is None:
            raise NotFoundError("no image is held of this index", subject=text, side=Side.STORE)
        return _Image(found.image.image_id, open_image(found.image, self._content), text)

    def _sources(
        self, connection: Connection, tenant: str, names: Sequence[str]
    ) -> tuple[list[_Image], tuple[str, ...]]:
        known, unknown = [], []
        for name in names:
            try:
                source = self._open(connection, tenant, name)
            except (NotFoundError, BlobMissingError):
                unknown.append(name)
                continue
            if source.tells_its_steps:
                known.append(source)
            else:
                unknown.append(name)
        return known, tuple(unknown)

    def _child(
        self, connection: Connection, tenant: str, parent: _Image, config: Mapping[str, Any]
    ) -> str | None:
        """The newest child of *parent* that was made by an equal step."""
        best: tuple[int, str] | None = None
        for id_ in lineage.children(connection, tenant, parent.id):
            image = ImageView.of_id(connection, tenant, id_).image(id_)
            if image is None or (row := image.manifest) is None:
                continue
            try:
                opened = open_image(row, self._content)
            except (BlobMissingError, ContentError):
                continue
            document = {} if opened.config is None else opened.config.document
            step = document.get("container_config")
            if isinstance(step, dict) and same_step(step, config):
                age = timestamps.parse(row.created) or 0
                best = max(best or (age, id_), (age, id_))
        return None if best is None else best[1]

    def _midst(
        self,
        tenant: str,
        source: _Image,
        parent: _Image | None,
        config: Mapping[str, Any],
        holder: str,
        now: float,
    ) -> str:
        """Make the image that ends where *source* goes on after *parent* by one step."""
        whole = source.opened.config
        assert whole is not None
        steps = 0 if parent is None else len(parent.history)
        layers = 0 if parent is None else len(parent.diff_ids)
        step = source.history[steps]
        if step.get("empty_layer") is not True:
            layers += 1
        document = {
            **kept(whole),
            "author": whole.document.get("author"),
            "config": dict(config),
            "created": step.get("created"),
            "history": source.history[: steps + 1],
            "rootfs": {"type": "layers", "diff_ids": source.diff_ids[:layers]},
        }
        raw = encoded({key: value for key, value in document.items() if value})
        model = source.opened.manifest
        manifest = manifest_after(model, raw, model.layers[:layers])
        self._content.put(raw)
        self._content.put(manifest.raw)
        image_id = str(manifest.config.digest)
        new = made([manifest], self._content)
        with self._catalog.write() as connection:
            publish_at_once(connection, tenant, new, holder=holder, now=now)
            if parent is not None:
                adopt(connection, tenant, image_id, parent.id)
        ensure_present(self._content, (manifest.config.digest, manifest.digest))
        return image_id


def _said(step: Mapping[str, Any]) -> dict[str, Any]:
    """What a step of a history says; a field that is left out is an empty one."""
    return {key: value for key, value in step.items() if value}
