"""The second half of push and copy: bring blobs and manifests to a registry, the tag last."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection

from transship.store.catalog.content import blobs
from transship.store.catalog.content.blobs import Source
from transship.store.catalog.scheduling import targets
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.errors import ConflictError, Side
from transship.store.oci.descriptor import Descriptor
from transship.store.oci.manifest import Index, Manifest
from transship.workers.registry.referrers import fallback_tag
from transship.workers.runtime.context import at
from transship.workers.steps import checkpoint
from transship.workers.steps.closure import Closure
from transship.workers.steps.needs import Steps, ask, transact
from transship.workers.steps.outcome import Done, Later, Outcome
from transship.workers.steps.referrers import (
    NOTHING_ATTACHED,
    Attached,
    listed_by_fallback,
    put_attached,
)
from transship.workers.steps.remote import Remote

TARGET_BUSY_SECONDS = 0.5  # another job is writing the same tag: one PUT, so soon over


def absent_blobs(
    lease: JobLease,
    target: Remote,
    closure: Closure,
    *,
    mount_from: str | None,
    new_at: float | None = None,
    **facts: Any,
) -> Steps[list[Descriptor]]:
    """The blobs that the target lacks. Found out once a job, after mounting what can be mounted.

    *new_at* is when the repository was found not to be there: what it has since, jobs have brought
    that are on record. *facts* go into the plan with the answer.
    """
    everything = closure.distributable_blobs()
    if "absent" not in lease.checkpoint:
        asked = target.context.now() if new_at is None else new_at
        there, mounted = yield from target.present(
            everything, mount_from=mount_from, is_new=new_at is not None
        )
        absent = {blob.digest for blob in everything if blob.digest not in there}
        yield from checkpoint.count(
            lease,
            everything,
            absent,
            absent=[str(digest) for digest in absent],
            absent_at=asked,
            mounted={str(digest): repository for digest, repository in mounted.items()},
            manifests=[str(manifest.digest) for manifest in closure.everything],
            **facts,
        )
    names = set(lease.checkpoint["absent"])
    return [blob for blob in everything if str(blob.digest) in names]


def left_to_upload(
    target: Remote, absent: Sequence[Descriptor], lease: JobLease
) -> Steps[tuple[list[Descriptor], list[Descriptor]]]:
    """Of the blobs that were absent, those that still are, and of these the ones not asked for.

    What another job has brought there meanwhile is skipped, and not sent again.

    Raises:
        RecordedError: one that was asked for has failed.
    """
    states = yield from checkpoint.waits()
    idle = [blob for blob in absent if ("upload", str(blob.digest)) not in states]
    if idle:
        wish = (target.source, [str(blob.digest) for blob in idle], lease.checkpoint["absent_at"])
        arrived = yield from transact(_confirmed, wish)
        yield from checkpoint.spare(lease, [blob for blob in idle if str(blob.digest) in arrived])
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
    *,
    source: Remote | None = None,
    missing: Collection[Descriptor] = (),
) -> Steps[None]:
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
    yield from checkpoint.want(wanted, target.context)


def put_manifests(
    closure: Closure,
    target: Remote,
    result: dict[str, Any],
    attached: Attached = NOTHING_ATTACHED,
    *,
    some_are_there: bool = False,
) -> Steps[Outcome]:
    """Put the manifests, children before parents and the tag last, as the only writer of it.

    What is *attached* goes before the tag, and after what it is about. A newer job that wrote the
    tag first is left alone: its image stands. Where *some are there* likely, the target is asked
    for each, and only the others are sent.

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
    by_fallback = yield from listed_by_fallback(attached, target)
    others = [
        str(target.reference.without_identifier().with_tag(tag))
        for tag in dict.fromkeys(
            [*map(fallback_tag, by_fallback), *(one.tag for one in attached.referrers if one.tag)]
        )
    ]
    newer = yield from transact(_hold, [name, *others])
    if newer == "":
        return Later(TARGET_BUSY_SECONDS)
    if newer is not None:
        return Done(result, superseded_by=newer)
    repository, registry = target.repository, target.source.registry
    root = closure.root.digest
    below = [one for one in closure.manifests if attached.referrers or one.digest != root]

    def put(identifier: str, manifest: Manifest | Index) -> None:
        target.monitor.check()
        if some_are_there:
            there = repository.head_manifest(identifier)
            if there is not None and there.digest == manifest.digest:
                return
        repository.put_manifest(identifier, manifest)

    def put_below(_: None) -> None:
        with at(Side.DESTINATION):
            for manifest in below:
                put(str(manifest.digest), manifest)
            put_attached(attached, put)
            for subject in by_fallback:
                repository.add_referrers(subject, attached.described_of(subject))

    def put_root(_: None) -> None:
        with at(Side.DESTINATION):
            put(target.reference.identifier, closure.root)

    if below:
        yield from ask(put_below, [None], registry=registry)
        newer = yield from transact(_superseded, name)  # the last look before others see it
        if newer is not None:
            return Done(result, superseded_by=newer)
    yield from ask(put_root, [None], registry=registry)
    yield from transact(_written, (name, others))
    return Done(result)


# --- pieces of transactions ----------------------------------------------------------------------


def _confirmed(
    connection: Connection,
    now: float,
    wishes: Sequence[tuple[JobLease, tuple[Source, list[str], float]]],
) -> list[set[str]]:
    """What destinations have been seen to hold since they were found to lack it."""
    del now
    seen = {
        source: blobs.confirmed_at(
            connection,
            sorted({d for _, (one, some, _) in wishes if one == source for d in some}),
            source,
        )
        for source in {source for _, (source, _, _) in wishes}
    }
    return [
        {digest for digest in some if seen[source].get(digest, 0.0) > since}
        for _, (source, some, since) in wishes
    ]


def _hold(
    connection: Connection, now: float, wishes: Sequence[tuple[JobLease, list[str]]]
) -> list[str | None]:
    """Hold all the names that a job writes, or none: two must not wait for each other.

    For each job there is what `targets.hold` says of the first of its names; '' also where another
    one has to be waited for.
    """
    del now
    wanted = [(lease, name) for lease, names in wishes for name in names]
    answers = iter(targets.hold(connection, wanted))
    found: list[str | None] = []
    for lease, names in wishes:
        first, *others = (next(answers) for _ in names)
        found.append(first if first is not None else "" if "" in others else None)
        if found[-1] is not None:
            targets.let_go(connection, [(lease, name) for name in names])
    return found


def _superseded(
    connection: Connection, now: float, names: Sequence[tuple[JobLease, str]]
) -> list[str | None]:
    del now
    return targets.superseded(connection, names)


def _written(
    connection: Connection, now: float, names: Sequence[tuple[JobLease, tuple[str, list[str]]]]
) -> list[None]:
    del now
    targets.written(connection, [(lease, name) for lease, (name, _) in names])
    targets.let_go(connection, [(lease, name) for lease, (_, some) in names for name in some])
    return [None] * len(names)
