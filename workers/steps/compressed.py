"""What was loaded without compression is compressed for a registry, once.

Docker's manifests know no uncompressed layers: an image that has some was made here, of an archive
or on top of one. What came from a registry, and what OCI's media types describe, stays as it is.
"""

from __future__ import annotations

from transship.store.archives.manifests import with_compressed_layers
from transship.store.catalog.content import blobs, layers, references
from transship.store.catalog.content.layers import Pair
from transship.store.catalog.scheduling import jobs
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.images.edit.publish import made, publish
from transship.store.images.view.local_content import read_manifest
from transship.store.images.view.view import is_digest_name
from transship.store.layers.codecs.formats import HEAD_BYTES, Compression, detect
from transship.store.oci import mediatypes
from transship.store.oci.descriptor import Descriptor
from transship.store.oci.digest import Digest
from transship.store.oci.manifest import Manifest
from transship.workers.runtime.context import WorkerContext
from transship.workers.runtime.leases import LeaseMonitor
from transship.workers.steps import local_image
from transship.workers.steps.closure import Closure
from transship.workers.steps.recompress import recompress


def compressed(
    closure: Closure,
    compression: Compression,
    lease: JobLease,
    context: WorkerContext,
    monitor: LeaseMonitor,
) -> Closure:
    """The image as a registry is to have it, all of it in the store, and leased.

    It is *closure* itself, or an image with the same config whose layers that were plain are
    compressed. That is held beside the one from the archive, so that each layer is compressed once
    for all images and registries; which blob holds which stream is on record by diffID.

    Raises:
        DigestMismatchError: the store's own copy of a layer is damaged.
        DiskFullError: no space is left.
    """
    known = lease.checkpoint.get("compressed")
    if known is not None:
        manifest = read_manifest(Descriptor.from_json(known), context.content)
        return Closure(root=manifest, manifests=(manifest,))
    root = closure.root
    plain = _plain_layers(root, context) if isinstance(root, Manifest) else []
    if not isinstance(root, Manifest) or not plain or _from_registry(root, lease, context):
        return closure
    context.content.discard_drafts(lease.id)  # of a worker that died here
    others: dict[Digest, tuple[Digest, int]] = {}
    for layer in plain:
        monitor.check()
        if layer.digest not in others:
            others[layer.digest] = _held(layer, compression, lease, context) or _made(
                layer.digest, compression, lease, context, monitor
            )
    new = with_compressed_layers(root, others, compression, lambda one: _compression(one, context))
    _keep(new, others, lease, context)
    return Closure(root=new, manifests=(new,))


def _plain_layers(root: Manifest, context: WorkerContext) -> list[Descriptor]:
    """The layers whose bytes are a tar, and not only their media type says so."""
    return [
        layer
        for layer in root.layers
        if layer.media_type == mediatypes.DOCKER_LAYER
        and _compression(layer.digest, context) is Compression.NONE
    ]


def _compression(digest: Digest, context: WorkerContext) -> Compression:
    with context.content.open(digest) as blob:
        return detect(blob.read(HEAD_BYTES))


def _from_registry(root: Manifest, lease: JobLease, context: WorkerContext) -> bool:
    """Whether a registry has it as it is: then a repository names it by its digest."""
    with context.catalog.read() as connection:
        names = references.of_digest(connection, lease.tenant, str(root.digest))
    return any(is_digest_name(row.name) for row in names)


def _held(
    layer: Descriptor, compression: Compression, lease: JobLease, context: WorkerContext
) -> tuple[Digest, int] | None:
    """A blob of the store that holds the layer's stream, compressed so; leased."""
    with context.catalog.write() as connection:
        digests = layers.digests_of(connection, str(layer.digest), verified=True)
        blobs.lease(connection, lease.id, digests)
        held = blobs.held(connection, digests, context.now())
    for digest in (Digest.parse(one) for one in digests if one in held):
        if _compression(digest, context) is compression:
            return digest, context.content.size(digest) or 0
    return None


def _made(
    plain: Digest,
    compression: Compression,
    lease: JobLease,
    context: WorkerContext,
    monitor: LeaseMonitor,
) -> tuple[Digest, int]:
    made_layer = recompress(plain, plain, compression, lease, context, monitor)
    return made_layer.digest, made_layer.size


def _keep(
    new: Manifest,
    others: dict[Digest, tuple[Digest, int]],
    lease: JobLease,
    context: WorkerContext,
) -> None:
    """Hold the image beside the one that it stands for, under the same ID."""
    local_image.keep_documents([new.raw], lease, context)
    pairs = [Pair(str(digest), str(plain)) for plain, (digest, _) in others.items()]
    image = made([new], context.content, verified=pairs)
    with context.catalog.write() as connection:
        publish(connection, lease.tenant, image, holder=lease.id, seq=lease.seq, now=context.now())
        lease.learn(compressed=new.descriptor.to_json())
        jobs.save(connection, lease)
