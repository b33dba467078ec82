"""An image in the store, as one job may see it: what its name stood for, and all it consists of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from transship.store.catalog.content import blobs, references
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.errors import BlobMissingError, PlatformNotFoundError, Side
from transship.store.images.view.local_content import read_manifest, read_manifests
from transship.store.images.view.resolve import resolve_root
from transship.store.oci.descriptor import Descriptor
from transship.store.oci.digest import Digest
from transship.store.oci.manifest import Index
from transship.store.oci.platform import Platform
from transship.workers.runtime.context import WorkerContext
from transship.workers.steps import checkpoint
from transship.workers.steps.closure import Closure, narrowed, resolve
from transship.workers.steps.remote import check_sizes


def fixed_root(
    reference: str, lease: JobLease, context: WorkerContext, *, fact: str = "root"
) -> Descriptor:
    """What *reference* stood for when the job first looked, leased from then on.

    It is kept in the plan as *fact*.
    """
    stored = lease.checkpoint.get(fact)
    if stored is not None:
        return Descriptor.from_json(stored)
    with context.catalog.write() as connection:
        root = resolve_root(connection, lease.tenant, reference)
        blobs.lease(connection, lease.id, [str(root.digest)])
    checkpoint.remember(lease, context, **{fact: root.to_json()})
    return root


def closure(
    root: Descriptor,
    reference: str,
    platforms: Sequence[Platform],
    lease: JobLease,
    context: WorkerContext,
    *,
    whole: bool = False,
) -> Closure:
    """The image as far as it is held and was asked for, every blob of it leased.

    Of an index of which only some children are held it is these: one child is itself the root.

    Args:
        root: Of the image.
        reference: What errors call it.
        platforms: Those asked for; none means all that are held.
        lease: The job's.
        context: The parts of this process.
        whole: All platforms were asked for, whether they are held or not.

    Raises:
        PlatformNotFoundError: a platform that was asked for is not held.
        BlobMissingError: the store has lost a blob.
        WrongSizeError: a blob has another size than its manifest claims.
    """
    with context.catalog.read() as connection:
        held_images = {row.digest for row in references.images_under(connection, str(root.digest))}
        edges = blobs.children(connection, str(root.digest))
    top = read_manifest(root, context.content)
    if isinstance(top, Index) and not platforms:
        lacking = [d for d in top.manifests if str(d.digest) not in edges]
        if lacking and whole:
            names = ", ".join(sorted(str(d.platform or d.digest) for d in lacking))
            raise PlatformNotFoundError(
                f"not all platforms are held: {names} missing",
                subject=reference,
                hint="pull it with --all-platforms first",
                side=Side.STORE,
            )
        if lacking:
            platforms = tuple(
                d.platform for d in top.manifests if str(d.digest) in held_images and d.platform
            )
    try:
        found = resolve(root, platforms, partial(read_manifests, content=context.content))
        found = narrowed(found, platforms)
    except BlobMissingError as missing:
        raise PlatformNotFoundError(
            "this platform is not held",
            subject=reference,
            hint="pull it with --platform first",
            side=Side.STORE,
        ) from missing
    except PlatformNotFoundError as missing:
        missing.at(Side.STORE)
        raise
    wanted = {str(m.digest) for m in found.manifests} | {str(b.digest) for b in found.blobs}
    with context.catalog.write() as connection:
        blobs.lease(connection, lease.id, wanted)
        held = blobs.sizes(connection, wanted, context.now())
    check_sizes(found.blobs, held)
    absent = wanted - held.keys()
    absent -= {str(m.digest) for m in found.manifests}  # read a moment ago
    if absent:
        raise BlobMissingError(
            "the store does not hold all of the image",
            subject=min(absent),
            hint="pull it again",
        )
    return found


def keep_documents(documents: Iterable[bytes], lease: JobLease, context: WorkerContext) -> None:
    """Put configs and manifests that were made here into the store: leased, and on record."""
    sizes = {}
    raws = list(documents)
    with context.catalog.write() as connection:
        blobs.lease(connection, lease.id, [str(Digest.of(raw)) for raw in raws])
    for raw in raws:
        sizes[str(context.content.put(raw))] = len(raw)
    with context.catalog.write() as connection:
        blobs.add(connection, sizes, context.now())
