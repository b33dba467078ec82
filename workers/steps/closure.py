"""What an image consists of: its manifests, children before parents, and its blobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from transship.store.errors import InvalidManifestError, PlatformNotFoundError
from transship.store.oci import mediatypes
from transship.store.oci.descriptor import Descriptor
from transship.store.oci.digest import Digest
from transship.store.oci.manifest import Index, Manifest
from transship.store.oci.platform import Platform, select
from transship.store.sizes import human_bytes
from transship.workers.steps.needs import Steps

DEEPEST = 64  # an index in an index is legal and rare
MAX_BYTES = 64 * 1024 * 1024  # of manifests of one image

Fetch = Callable[[Sequence[Descriptor]], Sequence[Manifest | Index]]
FetchSteps = Callable[[Sequence[Descriptor]], Steps[Sequence[Manifest | Index]]]


def is_manifest(descriptor: Descriptor) -> bool:
    """Whether it describes a manifest or an index, and not a blob."""
    return mediatypes.is_manifest(descriptor.media_type) or mediatypes.is_index(
        descriptor.media_type
    )


@dataclass(frozen=True, slots=True)
class Closure:
    """The part of an image that was asked for.

    *manifests* holds children before the indexes that name them, the root last; *attached* what
    comes along with the image and is no part of it.
    """

    root: Manifest | Index
    manifests: tuple[Manifest | Index, ...]
    attached: tuple[Manifest | Index, ...] = ()

    @property
    def everything(self) -> tuple[Manifest | Index, ...]:
        """All manifests, each once."""
        unique = {m.digest: m for m in (*self.manifests, *self.attached)}
        return tuple(unique.values())

    @property
    def images(self) -> list[Manifest]:
        """The manifests that are not indexes."""
        return [m for m in self.everything if isinstance(m, Manifest)]

    @property
    def blobs(self) -> list[Descriptor]:
        """Configs and layers, and what indexes name besides manifests; each digest once.

        The children of such an index, a build cache say, are blobs.
        """
        unique: dict[Digest, Descriptor] = {}
        for manifest in self.everything:
            if isinstance(manifest, Manifest):
                blobs: Iterable[Descriptor] = manifest.blobs
            else:
                blobs = (d for d in manifest.manifests if not is_manifest(d))
            for blob in blobs:
                unique.setdefault(blob.digest, blob)
        return list(unique.values())

    def distributable_blobs(self) -> list[Descriptor]:
        """Those blobs that may be sent to another registry."""
        return [b for b in self.blobs if not mediatypes.is_nondistributable(b.media_type)]


def resolve(root: Descriptor, platforms: Sequence[Platform], fetch: Fetch) -> Closure:
    """Walk from *root* to everything below it, or below the children for *platforms*.

    Platforms choose among the children of an index; an image that is no index is taken as it is,
    as Docker does. A child that is neither an image nor an index is a blob, and not walked to.
    *fetch* is asked for all children of an index at a time, and for none twice.

    Raises:
        PlatformNotFoundError: the index has no child for one of them.
        InvalidManifestError: nested too deep, manifests of too many bytes, or a child that
            contradicts its descriptor.
    """

    def at_once(wanted: Sequence[Descriptor]) -> Steps[Sequence[Manifest | Index]]:
        yield from ()  # it needs nothing
        return fetch(wanted)

    try:
        next(resolve_by_steps(root, platforms, at_once))
    except StopIteration as end:
        closure: Closure = end.value
        return closure
    raise AssertionError("it needs nothing")


def resolve_by_steps(
    root: Descriptor, platforms: Sequence[Platform], fetch: FetchSteps
) -> Steps[Closure]:
    """The same, where *fetch* has needs."""
    walk = _Walk(fetch)
    yield from walk.get([root])
    yield from walk.down(root, platforms, depth=0)
    return Closure(root=walk.fetched[root.digest], manifests=tuple(walk.order.values()))


def narrowed(closure: Closure, platforms: Sequence[Platform]) -> Closure:
    """The closure under a root of its own.

    For one platform that is its image, for several an index of these only; with no platforms, or
    no index to choose from, the closure itself.
    """
    index = closure.root
    if not platforms or isinstance(index, Manifest):
        return closure
    kept = [d for d in index.manifests if any(m.digest == d.digest for m in closure.manifests)]
    if len(kept) == len(index.manifests):
        return closure
    below = tuple(m for m in closure.manifests if m.digest != index.digest)
    if len(kept) == 1:
        only = next(m for m in below if m.digest == kept[0].digest)
        return Closure(root=only, manifests=below)
    subset = index.subset({d.digest for d in kept})
    return Closure(root=subset, manifests=(*below, subset))


@dataclass(slots=True)
class _Walk:
    fetch: FetchSteps
    fetched: dict[Digest, Manifest | Index] = field(default_factory=dict)
    order: dict[Digest, Manifest | Index] = field(default_factory=dict)
    size: int = 0  # of what was fetched

    def down(
        self, descriptor: Descriptor, platforms: Sequence[Platform], depth: int
    ) -> Steps[None]:
        manifest = self.fetched[descriptor.digest]
        if isinstance(manifest, Index):
            below = [d for d in _children(manifest, platforms) if d.digest not in self.order]
            if below and depth == DEEPEST:
                raise InvalidManifestError(
                    "indexes are nested too deep", subject=str(manifest.digest)
                )
            yield from self.get(below)
            for child in below:
                if child.digest not in self.order:
                    yield from self.down(child, (), depth + 1)
        self.order[descriptor.digest] = manifest

    def get(self, wanted: Sequence[Descriptor]) -> Steps[None]:
        new = list({d.digest: d for d in wanted if d.digest not in self.fetched}.values())
        if new:
            self.check(self.size + sum(d.size for d in new), new[0])
            found = yield from self.fetch(new)
            self.fetched.update(zip((d.digest for d in new), found, strict=True))
            self.size += sum(len(manifest.raw) for manifest in found)
            self.check(self.size, new[0])

    @staticmethod
    def check(size: int, at: Descriptor) -> None:
        if size > MAX_BYTES:
            raise InvalidManifestError(
                f"its manifests take more than {human_bytes(MAX_BYTES)}", subject=str(at.digest)
            )


def _children(index: Index, platforms: Sequence[Platform]) -> list[Descriptor]:
    manifests = [d for d in index.manifests if is_manifest(d)]
    if not platforms:
        return manifests
    chosen: dict[Digest, Descriptor] = {}
    for platform in platforms:
        child = select(manifests, platform)
        if child is None:
            offered = sorted(
                {str(d.platform) for d in manifests if d.platform and d.platform.os != "unknown"}
            )
            raise PlatformNotFoundError(
                f"the image has no {platform}",
                subject=str(index.digest),
                hint=f"it has {', '.join(offered)}" if offered else "",
            )
        chosen[child.digest] = child
    return list(chosen.values())
