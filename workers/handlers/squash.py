"""Squash: several layers of an image become one; in the store, or from registry to registry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from transship.store.catalog.content import references
from transship.store.catalog.content.layers import Pair
from transship.store.catalog.scheduling import jobs
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.errors import RequestError, Side
from transship.store.images.build.squashing import (
    Cut,
    cut_at_parent,
    cut_last,
    cut_whole,
    squashable,
    squashed_config,
    squashed_index,
    squashed_manifest,
)
from transship.store.images.edit.publish import made, publish
from transship.store.images.view.local_content import Opened, describe, opened, read_manifest
from transship.store.layers.codecs.formats import Compression, Readable, open_reader, open_writer
from transship.store.layers.compose.squash import squash
from transship.store.layers.sources import LayerSource
from transship.store.oci.config import MAX_CONFIG_BYTES, ImageConfig
from transship.store.oci.descriptor import Descriptor
from transship.store.oci.digest import Digest
from transship.store.oci.manifest import Index, Manifest
from transship.store.oci.reference import Reference, parse_target
from transship.workers.jobs.intake import Arrivals, Meter, Metered
from transship.workers.runtime.context import WorkerContext
from transship.workers.runtime.leases import LeaseMonitor
from transship.workers.specs import SquashSpec
from transship.workers.steps import checkpoint, deliver, local_image
from transship.workers.steps.closure import Closure, narrowed, resolve_by_steps
from transship.workers.steps.needs import Steps
from transship.workers.steps.outcome import Done, Outcome, Waiting
from transship.workers.steps.remote import Remote


def advance(lease: JobLease, context: WorkerContext, monitor: LeaseMonitor) -> Steps[Outcome]:
    """Bring in what lies in a registry; squash one image after the other; publish or deliver."""
    published = lease.checkpoint.get("published")
    if published is not None:
        return Done(**published)
    spec = SquashSpec.model_validate(lease.spec)
    if "made" not in lease.checkpoint:
        closure = yield from _source(spec, lease, context, monitor)
        parents = yield from _parents(spec, lease, context, monitor)
        yield from checkpoint.waits()
        if closure is None or parents is None:
            return Waiting()
        monitor.unbounded()
        _squash_all(closure, parents, spec, lease, context, monitor)
    squashed = _made(lease, context)
    if spec.remote_target is None:
        return _publish(squashed, spec, lease, context)
    return (yield from _deliver(squashed, spec.remote_target, spec, lease, context, monitor))


# --- where it comes from -------------------------------------------------------------------------


def _source(
    spec: SquashSpec, lease: JobLease, context: WorkerContext, monitor: LeaseMonitor
) -> Steps[Closure | None]:
    """The image to squash, all its blobs in the store; None while some are on their way."""
    platforms = spec.wanted_platforms()
    if spec.remote_source is None:
        root = local_image.fixed_root(spec.reference, lease, context)
        return local_image.closure(root, spec.reference, platforms, lease, context)
    source = Remote.of(spec.remote_source, Side.SOURCE, lease, context, monitor)
    root = yield from checkpoint.fixed_root(lease, source)
    whole = yield from resolve_by_steps(root, platforms, source.manifests)
    closure = narrowed(whole, platforms)
    here = yield from _brought(source, closure.blobs, spec, lease)
    return closure if here else None


def _parents(
    spec: SquashSpec, lease: JobLease, context: WorkerContext, monitor: LeaseMonitor
) -> Steps[list[ImageConfig] | None]:
    """The configs of the images that the parent stands for; None while some are on their way."""
    if spec.parent is None:
        return []
    if spec.remote_parent is None:
        root = local_image.fixed_root(spec.parent, lease, context, fact="parent")
        with context.catalog.read() as connection:
            rows = references.images_under(connection, str(root.digest))
        ids = [Digest.parse(row.image_id) for row in rows if row.os]
    else:
        source = Remote.of(spec.remote_parent, Side.SOURCE, lease, context, monitor)
        if "parent" not in lease.checkpoint:
            found = yield from source.resolve()
            checkpoint.remember(lease, context, parent=found.to_json())
        root = Descriptor.from_json(lease.checkpoint["parent"])
        whole = yield from resolve_by_steps(root, (), source.manifests)
        images = whole.images
        configs = [image.config for image in images if squashable(image)]
        here = yield from _brought(source, configs, spec, lease)
        if not here:
            return None
        ids = [config.digest for config in configs]
    return [
        ImageConfig.parse(context.content.read(id_, max_bytes=MAX_CONFIG_BYTES))
        for id_ in dict.fromkeys(ids)
    ]


def _brought(
    source: Remote,
    wanted: Sequence[Descriptor],
    spec: SquashSpec,
    lease: JobLease,
) -> Steps[bool]:
    """Whether all of *wanted* is in the store; what is not is asked for."""
    usable = yield from source.usable(wanted)
    missing = [blob for blob in wanted if blob.digest not in usable]
    to_store = spec.remote_target is None  # else what is sent is what counts
    if to_store:
        yield from checkpoint.count(lease, wanted, {blob.digest for blob in missing})
    downloads = [source.wanted("download", blob, counted=to_store) for blob in missing]
    yield from checkpoint.want(downloads, source.context)
    return not missing


# --- squashing -----------------------------------------------------------------------------------


def _squash_all(
    closure: Closure,
    parents: Sequence[ImageConfig],
    spec: SquashSpec,
    lease: JobLease,
    context: WorkerContext,
    monitor: LeaseMonitor,
) -> None:
    """Squash each image, and write down what came of it, so that a death costs one at most."""
    root = closure.root
    named = {root.digest} if isinstance(root, Manifest) else {d.digest for d in root.manifests}
    images = [
        opened(image, context.content)
        for image in closure.images
        if image.digest in named and squashable(image)
    ]
    if not images:
        raise RequestError("holds no image with layers", subject=spec.reference)
    cuts = [_cut(image, parents, spec) for image in images]
    meter = _meter(images, spec, lease, context)
    squashed: dict[str, dict[str, Any]] = lease.checkpoint.setdefault("squashed", {})
    for image, cut in zip(images, cuts, strict=True):
        digest = str(image.manifest.digest)
        if digest not in squashed:
            squashed[digest] = _squash(image, cut, meter, spec, lease, context, monitor)
            checkpoint.remember(lease, context)
    became = {
        image.manifest.digest: _manifest(squashed[str(image.manifest.digest)]["to"], context)
        for image in images
    }
    new: Manifest | Index = (
        squashed_index(root, became) if isinstance(root, Index) else became[root.digest]
    )
    local_image.keep_documents([new.raw], lease, context)
    members = [one for one in became.values() if one.digest != new.digest]
    checkpoint.remember(lease, context, made=[one.descriptor.to_json() for one in (*members, new)])


def _cut(image: Opened, parents: Sequence[ImageConfig], spec: SquashSpec) -> Cut:
    config = image.config
    assert config is not None, "what is squashable has one"
    if spec.parent is not None:
        return cut_at_parent(config, parents, spec.parent)
    return cut_whole(config) if spec.last is None else cut_last(config, spec.last)


def _meter(
    images: Sequence[Opened], spec: SquashSpec, lease: JobLease, context: WorkerContext
) -> Meter | None:
    """Counts what is read, each layer twice at most; not where transfers are what is counted."""
    if spec.registries:
        return None
    total = 2 * sum(layer.blob.size for image in images for layer in image.layers)
    return Meter(lease, context, total)


def _squash(
    image: Opened,
    cut: Cut,
    meter: Meter | None,
    spec: SquashSpec,
    lease: JobLease,
    context: WorkerContext,
    monitor: LeaseMonitor,
) -> dict[str, Any]:
    """Squash one image; its new layer and documents are in the store, leased, on return."""
    assert image.config is not None
    compression = Compression(spec.compress)
    sources = [_layer(layer.blob.digest, meter, context) for layer in image.layers]
    with context.content.draft(lease.id) as draft:
        compressor = open_writer(compression, draft.write)
        layer = squash(
            sources[cut.layers :],
            compressor.write,
            onto=sources[: cut.layers],
            clamp=spec.source_date_epoch,
            check=monitor.check,
        )
        compressor.finish()
        digest, size = draft.commit(), draft.size
    arrivals = Arrivals(lease, context)
    arrivals.add(digest, size)
    arrivals.flush()
    created = lease.created_at if spec.source_date_epoch is None else spec.source_date_epoch
    config = squashed_config(image.config, cut, layer.diff_id, created)
    manifest = squashed_manifest(
        image.manifest,
        config,
        cut.layers,
        Descriptor(media_type="", digest=digest, size=size),
        compression,
    )
    local_image.keep_documents([config, manifest.raw], lease, context)
    return {
        "from": {
            "digest": str(image.manifest.digest),
            "image_id": str(image.config.digest),
            "layers": len(image.layers),
        },
        "to": manifest.descriptor.to_json(),
        "layer": [str(digest), str(layer.diff_id), layer.size],
    }


def _layer(digest: Digest, meter: Meter | None, context: WorkerContext) -> LayerSource:
    """A layer of the store, counted as it is read."""

    @contextmanager
    def open_() -> Iterator[Readable]:
        with context.content.open(digest) as blob:
            stored: Readable = blob if meter is None else Metered(blob, meter)
            with open_reader(stored, subject=str(digest)) as reader:
                yield reader

    return open_


# --- where it goes -------------------------------------------------------------------------------


def _made(lease: JobLease, context: WorkerContext) -> Closure:
    """The new image, as the plan has it."""
    described = [Descriptor.from_json(one) for one in lease.checkpoint["made"]]
    manifests = tuple(read_manifest(one, context.content) for one in described)
    return Closure(root=manifests[-1], manifests=manifests)


def _manifest(descriptor: Any, context: WorkerContext) -> Manifest:
    manifest = read_manifest(Descriptor.from_json(descriptor), context.content)
    assert isinstance(manifest, Manifest)
    return manifest


def _publish(squashed: Closure, spec: SquashSpec, lease: JobLease, context: WorkerContext) -> Done:
    """Let the target stand for the new image, in one transaction, and once."""
    target = parse_target(spec.target)
    pairs = [Pair(*one["layer"]) for one in lease.checkpoint["squashed"].values()]
    new = made(squashed.manifests, context.content, names=[target], verified=pairs)
    result = _result(squashed, target, lease, context)
    with context.catalog.write() as connection:
        jobs.save(connection, lease)
        became = publish(
            connection,
            lease.tenant,
            new,
            holder=lease.id,
            seq=lease.seq,
            now=context.now(),
            tags=True,
        )
        done: dict[str, Any] = {
            "result": result,
            "superseded_by": next(iter(became.superseded.values()), None),
        }
        lease.learn(published=done)
        jobs.save(connection, lease)
    return Done(**done)


def _deliver(
    squashed: Closure,
    reference: Reference,
    spec: SquashSpec,
    lease: JobLease,
    context: WorkerContext,
    monitor: LeaseMonitor,
) -> Steps[Outcome]:
    """Send the new image to its registry, as a push does."""
    target = Remote.of(reference, Side.DESTINATION, lease, context, monitor)
    origin = spec.remote_source
    same = origin is not None and origin.domain == reference.domain
    absent = yield from deliver.absent_blobs(
        lease, target, squashed, mount_from=origin.path if same and origin is not None else None
    )
    left, idle = yield from deliver.left_to_upload(target, absent, lease)
    if left:
        yield from deliver.want_uploads(target, idle, lease)
        return Waiting()
    result = _result(squashed, reference, lease, context)
    return (yield from deliver.put_manifests(squashed, target, result))


def _result(
    squashed: Closure, target: Reference, lease: JobLease, context: WorkerContext
) -> dict[str, Any]:
    steps = {step["to"]["digest"]: step for step in lease.checkpoint["squashed"].values()}
    images = []
    for manifest in squashed.images:
        held = describe(manifest, context.content)
        images.append(
            {
                "platform": "/".join(filter(None, (held.os, held.architecture, held.variant))),
                "digest": held.digest,
                "image_id": held.image_id,
                "layers": held.layers,
                "squashed_from": steps[held.digest]["from"],
            }
        )
    return {
        "reference": str(target),
        "digest": str(squashed.root.digest),
        "image_id": images[0]["image_id"] if len(images) == 1 else None,
        "images": images,
    }
