"""Load: an archive of images, which has arrived as blobs, becomes images, all of them or none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection

from transship.store.archives.archive import Archive, ArchivedImage, Root, StoredLayer, descend
from transship.store.archives.members import Members
from transship.store.archives.read import interpret
from transship.store.catalog.content import blobs, layers
from transship.store.catalog.content.layers import Pair
from transship.store.catalog.scheduling import jobs
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.errors import ContentError, IncompleteBodyError, InvalidArchiveError, Side
from transship.store.images.edit.publish import Made, Published, made, publish
from transship.store.layers.codecs.formats import Compression, open_reader
from transship.store.layers.diffids import measure
from transship.store.oci.digest import Digest
from transship.store.oci.manifest import Index, Manifest
from transship.store.oci.reference import parse_repository
from transship.workers.jobs.service import RECEIVED
from transship.workers.runtime.context import WorkerContext
from transship.workers.runtime.leases import LeaseMonitor
from transship.workers.specs import LoadSpec
from transship.workers.steps import local_image
from transship.workers.steps.outcome import Done, Outcome
from transship.workers.steps.recompress import recompress


def advance(lease: JobLease, context: WorkerContext, monitor: LeaseMonitor) -> Outcome:
    """Understand the archive, and publish everything that it names at once.

    Layers that it leaves out are taken from the store where its owner may use what is held there.
    """
    published = lease.checkpoint.get("published")
    if published is not None:
        return Done(**published)
    members = Members.from_json(received(lease))
    monitor.unbounded()
    try:
        archive = _understood(members, lease, context)
        found = _found_here(archive, lease, context, monitor)
        found |= _repacked(archive, lease, context, monitor)
        news = [_made(root, members, found, lease, context) for root in archive.roots]
    except ContentError as error:
        error.at(Side.REQUEST)
        raise
    monitor.check()
    return _publish(news, lease, context)


def received(lease: JobLease) -> dict[str, Any]:
    """What came of the job's body.

    Raises:
        IncompleteBodyError: whoever received it died before it was there in whole.
    """
    found: dict[str, Any] | None = lease.checkpoint.get(RECEIVED)
    if found is None:
        raise IncompleteBodyError(
            "the server that received the body ended before it was whole", hint="send it again"
        )
    return found


def _understood(members: Members, lease: JobLease, context: WorkerContext) -> Archive:
    spec = LoadSpec.model_validate(lease.spec)
    repository = parse_repository(spec.repository) if spec.repository is not None else None
    return interpret(members, context.content, repository=repository, stripped=context.shared_trust)


def _found_here(
    archive: Archive, lease: JobLease, context: WorkerContext, monitor: LeaseMonitor
) -> dict[Digest, StoredLayer]:
    """The layers that the archive leaves out and the store holds, by diffID.

    What was only claimed to be one is read, and believed if it is.
    """
    wanted = {
        diff_id for image in archive.images if image.manifest is None for diff_id in image.missing
    }
    found: dict[Digest, StoredLayer] = {}
    for diff_id in sorted(wanted):
        with context.catalog.write() as connection:
            digests = layers.digests_of(connection, str(diff_id))
            blobs.lease(connection, lease.id, digests)
            held_here = blobs.held(connection, digests, context.now())
        for digest in (Digest.parse(one) for one in digests if one in held_here):
            with context.content.open(digest) as blob, open_reader(blob) as reader:
                if measure(reader, check=monitor.check).diff_id != diff_id:
                    continue
                size = context.content.size(digest) or 0
                found[diff_id] = StoredLayer(digest, size, reader.compression)
                break
    return found


def _repacked(
    archive: Archive, lease: JobLease, context: WorkerContext, monitor: LeaseMonitor
) -> dict[Digest, StoredLayer]:
    """The layers that no manifest can name as they come, by diffID; compressed by gzip instead."""
    wanted = {diff_id: blob for image in archive.images for diff_id, blob in image.unnamed.items()}
    found: dict[Digest, StoredLayer] = {}
    for diff_id, blob in wanted.items():
        made = recompress(blob.digest, diff_id, Compression.GZIP, lease, context, monitor)
        found[diff_id] = StoredLayer(made.digest, made.size, Compression.GZIP)
    return found


def _made(
    root: Root,
    members: Members,
    found: Mapping[Digest, StoredLayer],
    lease: JobLease,
    context: WorkerContext,
) -> Made:
    """What the catalog is to know of *root*; its documents are in the store on return."""
    manifests: list[Manifest | Index] = []
    configs: list[bytes] = []
    parents: dict[str, str] = {}
    verified: dict[Pair, None] = {}
    computed = {member.digest: member.diff_id for member in members.files.values()}
    computed |= {layer.digest: diff_id for diff_id, layer in found.items()}
    for one in descend((root,)):
        if not isinstance(one, ArchivedImage):
            manifests.append(one.index)
            continue
        _check_history(one)
        manifest = one.complete(found)
        manifests.append(manifest)
        if one.config is not None:  # one that was made of older documents is in no file
            configs.append(one.config.raw)
        if one.parent is not None:
            parents[str(one.image_id)] = str(one.parent)
        for layer in manifest.layers:
            diff_id = computed.get(layer.digest)
            if diff_id is not None and one.config is not None and diff_id in one.config.diff_ids:
                verified[Pair(str(layer.digest), str(diff_id))] = None
    documents = (*configs, *(manifest.raw for manifest in manifests))
    local_image.keep_documents(documents, lease, context)
    return made(manifests, context.content, names=root.names, parents=parents, verified=verified)


def _check_history(image: ArchivedImage) -> None:
    if image.config is None:
        return
    steps = sum(not step.get("empty_layer", False) for step in image.config.history)
    if steps > len(image.config.diff_ids):
        raise InvalidArchiveError(
            "more steps of its history have a layer than there are layers",
            subject=str(image.image_id),
        )


def _publish(news: Iterable[Made], lease: JobLease, context: WorkerContext) -> Done:
    """Let all of it be there in one transaction, and once."""
    with context.catalog.write() as connection:
        jobs.save(connection, lease)
        became = [(one, _publish_one(connection, one, lease, context.now())) for one in news]
        done: dict[str, Any] = {"result": _result(became), "superseded_by": None}
        lease.learn(published=done)
        jobs.save(connection, lease)
    return Done(**done)


def _publish_one(connection: Connection, one: Made, lease: JobLease, now: float) -> Published:
    return publish(
        connection, lease.tenant, one, holder=lease.id, seq=lease.seq, now=now, action="load"
    )


def _result(became: Iterable[tuple[Made, Published]]) -> dict[str, Any]:
    """*loaded* and *moved* are in Docker's words: familiar names, or an ID where there is none."""
    images, loaded, moved = [], [], []
    superseded: dict[str, str] = {}
    for new, published in became:
        images.append(
            {
                "references": [str(name) for name in published.names],
                "digest": published.digest,
                "image_id": published.image_id,
                "platforms": [
                    "/".join(filter(None, (one.os, one.architecture, one.variant)))
                    for one in new.images
                ],
            }
        )
        loaded += [name.familiar for name in new.names] or [published.image_id]
        moved += [name.familiar for name in published.moved]
        superseded |= published.superseded
    return {"images": images, "loaded": loaded, "moved": moved, "superseded": superseded}
