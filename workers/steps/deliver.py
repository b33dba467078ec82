"""The second half of push and copy: bring blobs and manifests to a registry, the tag last."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from transship.store.catalog.content import blobs
from transship.store.catalog.scheduling import jobs, targets
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.catalog.scheduling.waits import WaitState
from transship.store.errors import ConflictError, Side
from transship.store.oci.descriptor import Descriptor
from transship.workers.runtime.context import WorkerContext, at
from transship.workers.steps import checkpoint
from transship.workers.steps.closure import Closure
from transship.workers.steps.outcome import Done, Later, Outcome
from transship.workers.steps.remote import Remote

TARGET_BUSY_SECONDS = 0.5  # another job is writing the same tag: one PUT, so soon over


def absent_blobs(
    lease: JobLease, target: Remote, closure: Closure, *, mount_from: str | None, **facts: Any
) -> list[Descriptor]:
    """The blobs that the target lacks. Found out once a job, after mounting what can be mounted.

    *facts* go into the plan with the answer.
    """
    everything = closure.distributable_blobs()
    if "absent" not in lease.checkpoint:
        asked = target.context.now()
        there, mounted = target.present(everything, mount_from=mount_from)
        absent = {blob.digest for blob in everything if blob.digest not in there}
        checkpoint.count(
            lease,
            target.context,
            everything,
            absent,
            absent=[str(digest) for digest in absent],
            absent_at=asked,
            mounted={str(digest): repository for digest, repository in mounted.items()},
            manifests=[str(manifest.digest) for manifest in closure.manifests],
            **facts,
        )
    names = set(lease.checkpoint["absent"])
    return [blob for blob in everything if str(blob.digest) in names]


def left_to_upload(
    target: Remote,
    absent: Sequence[Descriptor],
    states: dict[tuple[str, str], WaitState],
    lease: JobLease,
    context: WorkerContext,
) -> tuple[list[Descriptor], list[Descriptor]]:
    """Of the blobs that were absent, those that still are, and of these the ones not asked for.

    What another job has brought there meanwhile is skipped, and not sent again.
    """
    idle = [blob for blob in absent if ("upload", str(blob.digest)) not in states]
    with context.catalog.read() as connection:
        arrived = blobs.confirmed(
            connection,
            [str(blob.digest) for blob in idle],
            target.source,
            since=lease.checkpoint["absent_at"],
        )
    checkpoint.spare(lease, context, [blob for blob in idle if str(blob.digest) in arrived])
    idle = [blob for blob in idle if str(blob.digest) not in arrived]
    on_their_way = [
        blob
        for blob in absent
        if (state := states.get(("upload", str(blob.digest)))) is not None and not state.ended
    ]
    return [*idle, *on_their_way], idle


def want_uploads(
    target: Remote,
    ready: Collection[Descriptor],
    lease: JobLease,
    context: WorkerContext,
    *,
    source: Remote | None = None,
    missing: Collection[Descriptor] = (),
) -> None:
    """Make the job wait for the upload of each of *ready*, which the store holds.

    Those that are *missing* come from *source* first.
    """
    absent_at = lease.checkpoint["absent_at"]
    wanted = [target.wanted("upload", blob, absent_at=absent_at) for blob in ready]
    if source is not None:
        wanted += [
            target.wanted(
                "upload",
                blob,
                absent_at=absent_at,
                after=source.wanted("download", blob, counted=False),
            )
            for blob in missing
        ]
    checkpoint.want(lease, context, wanted)


def put_manifests(
    closure: Closure,
    target: Remote,
    lease: JobLease,
    context: WorkerContext,
    result: dict[str, Any],
) -> Outcome:
    """Put the manifests, children before parents and the tag last, as the only writer of it.

    A newer job that wrote the tag first is left alone: its image stands.

    Raises:
        ConflictError: the destination names another digest than the image has.
    """
    name = str(target.reference)
    if target.reference.digest not in (None, closure.root.digest):
        raise ConflictError(
            f"what would be written is {closure.root.digest}, not what the destination names",
            subject=name,
            hint="give the destination a tag",
            side=Side.DESTINATION,
        )
    with context.catalog.write() as connection:
        newer = targets.hold(connection, name, lease)
    if newer == "":
        return Later(TARGET_BUSY_SECONDS)
    if newer is not None:
        return Done(result, superseded_by=newer)
    with at(Side.DESTINATION):
        for manifest in closure.manifests:
            target.monitor.check()
            if manifest.digest != closure.root.digest:
                target.repository.put_manifest(str(manifest.digest), manifest)
        with context.catalog.write() as connection:  # the last look before others see it
            jobs.save(connection, lease)
            newer = targets.is_superseded(connection, name, lease)
        if newer is not None:
            return Done(result, superseded_by=newer)
        target.monitor.check()
        target.repository.put_manifest(target.reference.identifier, closure.root)
    with context.catalog.write() as connection:
        targets.written(connection, name, lease)
    return Done(result)
