"""fsck: hash what is held again, put aside what is wrong, and fetch it again from where it came."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from transship.store import gc
from transship.store.catalog.content import blobs, collection
from transship.store.catalog.content.blobs import Source
from transship.store.catalog.content.collection import Snapshot
from transship.store.catalog.scheduling import waits
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.catalog.scheduling.waits import Wanted
from transship.store.content.present import ensure_present, lost
from transship.store.content.verify import intact
from transship.store.errors import DamagedStoreError, RegistryError, TransshipError
from transship.store.oci.digest import Digest
from transship.store.oci.manifest import MAX_MANIFEST_BYTES, Manifest, parse_manifest
from transship.workers.handlers.gc import TURN_SECONDS, upkeep_turn
from transship.workers.runtime.context import WorkerContext
from transship.workers.runtime.leases import LeaseMonitor
from transship.workers.specs import FsckSpec
from transship.workers.steps import checkpoint
from transship.workers.steps.needs import Steps
from transship.workers.steps.outcome import Done, Later, Outcome, Waiting

CHUNK = 100
REMEMBER_SECONDS = 5.0  # how much of the checking a crash may cost
MAX_SOURCES = 5  # registries to ask for a blob that is gone
MAX_REPORTED = 1000


def advance(lease: JobLease, context: WorkerContext, monitor: LeaseMonitor) -> Steps[Outcome]:
    """Check every blob once; with *repair* bring in what is in use and wrong, and report.

    Raises:
        DamagedStoreError: what is in use is still wrong or missing.
    """
    spec = FsckSpec.model_validate(lease.spec)
    if "damaged" not in lease.checkpoint:
        if not upkeep_turn(lease, context):
            return Later(TURN_SECONDS)
        _check_everything(lease, context, monitor)
    damaged: list[dict[str, Any]] = lease.checkpoint["damaged"]
    if spec.repair:
        waiting = yield from _repair(damaged, lease, context, monitor)
        if waiting:
            checkpoint.remember(lease, context, damaged=damaged)
            return Waiting()
    report = _report(lease.checkpoint)
    left = [one["digest"] for one in damaged if not one.get("repaired")]
    if left:
        raise DamagedStoreError(
            f"{len(left)} blobs that are in use are wrong or missing",
            subject=left[0],
            hint="" if spec.repair else "run `transship fsck --repair`, or pull the images again",
            report=report,
        )
    return Done(report)


def _check_everything(lease: JobLease, context: WorkerContext, monitor: LeaseMonitor) -> None:
    """Hash blob after blob in the order of their digests, and go on where an earlier try was."""
    facts: dict[str, Any] = lease.checkpoint.get("fsck") or {
        "after": "",
        "blobs": 0,
        "bytes": 0,
        "restored": [],
        "wrong": [],
        "missing": [],
    }
    monitor.unbounded()
    remembered = time.monotonic()
    while some := _next(context, facts["after"]):
        gone = _missing([row.digest for row in some], facts, context, monitor)
        for row in some:
            monitor.check()
            _check(row.digest, row.size, gone, facts, context, monitor)
            facts["after"] = row.digest
            facts["blobs"] += 1
            facts["bytes"] += row.size
            if time.monotonic() - remembered > REMEMBER_SECONDS:
                checkpoint.remember(lease, context, fsck=facts)
                remembered = time.monotonic()
    checkpoint.remember(lease, context, fsck=facts, damaged=_in_use(facts, context))


def _next(context: WorkerContext, after: str) -> Sequence[Any]:
    with context.catalog.read() as connection:
        return collection.held_after(connection, after, limit=CHUNK)


def _missing(
    digests: Sequence[str], facts: dict[str, Any], context: WorkerContext, monitor: LeaseMonitor
) -> set[Digest]:
    """Those of *digests* without a file; what the trash has is taken back."""
    absent = [one for one in map(Digest.parse, digests) if context.content.size(one) is None]
    facts["restored"] += [str(one) for one in absent if context.content.restore(one)]
    return lost(context.content, absent, check=monitor.check)


def _check(
    digest: str,
    size: int,
    gone: set[Digest],
    facts: dict[str, Any],
    context: WorkerContext,
    monitor: LeaseMonitor,
) -> None:
    parsed = Digest.parse(digest)
    if parsed in gone:
        facts["missing"].append({"digest": digest, "size": size})
        with context.catalog.write() as connection:
            blobs.forget(connection, digest)
        return
    found = context.content.size(parsed)
    if found == size and intact(context.content, parsed, monitor.check):
        return
    context.content.quarantine(parsed)
    with context.catalog.write() as connection:
        blobs.forget(connection, digest)
    facts["wrong"].append({"digest": digest, "size": size})


def _in_use(facts: dict[str, Any], context: WorkerContext) -> list[dict[str, Any]]:
    """What is damaged and needed, with the places it may come from again.

    Children that were missing before this check, in rows too, are found by their edges.
    """
    lost = {one["digest"]: one["size"] for one in (*facts["wrong"], *facts["missing"])}
    with context.catalog.read() as connection:
        snapshot = collection.snapshot(connection)
        needed = sorted(gc.reachable(snapshot) - snapshot.held.keys())
        leased_only = collection.only_leased(connection, needed)
        damaged: list[dict[str, Any]] = [
            {
                "digest": digest,
                "size": lost.get(digest),
                "manifest": digest in snapshot.edges,
                "sources": [
                    [source.registry, source.repository]
                    for source in blobs.sources_of(connection, digest)[:MAX_SOURCES]
                ],
            }
            for digest in needed
            if digest in lost or digest not in leased_only
        ]
    sizes = _described({one["digest"] for one in damaged if one["size"] is None}, snapshot, context)
    for one in damaged:
        one["size"] = sizes.get(one["digest"], one["size"])
    return damaged


def _described(digests: set[str], snapshot: Snapshot, context: WorkerContext) -> dict[str, int]:
    """The sizes of blobs that have no row any more, as the documents in use describe them.

    An earlier check has forgotten the row, or whoever could not read the blob has.
    """
    sizes: dict[str, int] = {}
    parents = gc.reachable(snapshot) & snapshot.held.keys() if digests else set()
    for parent in sorted(parents):
        if digests.isdisjoint(snapshot.edges.get(parent, ())):
            continue
        try:
            raw = context.content.read(Digest.parse(parent), max_bytes=MAX_MANIFEST_BYTES)
            document = parse_manifest(raw)
        except TransshipError:
            continue  # it is damaged itself
        below = document.blobs if isinstance(document, Manifest) else document.manifests
        sizes.update((str(one.digest), one.size) for one in below if str(one.digest) in digests)
    return sizes


def _repair(
    damaged: list[dict[str, Any]], lease: JobLease, context: WorkerContext, monitor: LeaseMonitor
) -> Steps[bool]:
    """Ask for what is damaged, one source after the other; whether there is something to wait for.

    Manifests are fetched here; blobs are downloads like any other, and keep to the limits.
    """
    with context.catalog.write() as connection:
        blobs.lease(connection, lease.id, [one["digest"] for one in damaged])
    with context.catalog.read() as connection:
        states = {state.digest: state for state in waits.of_job(connection, lease.id)}
    with context.catalog.write() as connection:
        here = blobs.held(connection, [one["digest"] for one in damaged], context.now())
    wanted: list[Wanted] = []
    waiting = False
    for one in damaged:
        monitor.check()
        if one["digest"] in here:
            one["repaired"] = True
            continue
        state = states.get(one["digest"])
        if state is not None and not state.ended:
            waiting = True
        elif one["manifest"]:
            one["repaired"] = _fetch_manifest(one, lease, context)
        elif one["size"] is not None and one["sources"]:
            wanted.append(_wanted(one, one["sources"].pop(0), lease, context))
    yield from checkpoint.want(wanted, context)
    return waiting or bool(wanted)


def _wanted(
    one: dict[str, Any], place: list[str], lease: JobLease, context: WorkerContext
) -> Wanted:
    registry, repository = place
    return Wanted(
        direction="download",
        digest=one["digest"],
        size=one["size"],
        media_type="application/octet-stream",
        registry=registry,
        repository=repository,
        fingerprint=context.fingerprint(lease.root, registry, repository),
    )


def _fetch_manifest(one: dict[str, Any], lease: JobLease, context: WorkerContext) -> bool:
    while one["sources"]:
        registry, repository = one["sources"].pop(0)
        try:
            remote = context.repository(lease.root, lease.tenant, registry, repository)
            manifest = remote.get_manifest(one["digest"])
        except RegistryError:
            continue
        except TransshipError as error:
            if error.retryable:
                continue
            raise
        context.content.put(manifest.raw)
        with context.catalog.write() as connection:
            now = context.now()
            blobs.add(connection, {one["digest"]: len(manifest.raw)}, now)
            fingerprint = context.fingerprint(lease.root, registry, repository)
            source = Source(registry, repository, fingerprint)
            blobs.record_bytes(connection, [one["digest"]], source)
            blobs.confirm(connection, [one["digest"]], source, now)
        ensure_present(context.content, [manifest.digest])
        return True
    return False


def _report(facts: dict[str, Any]) -> dict[str, Any]:
    found, damaged = facts["fsck"], facts["damaged"]
    repaired = [one["digest"] for one in damaged if one.get("repaired")]
    left = [one["digest"] for one in damaged if not one.get("repaired")]
    return {
        "blobs": found["blobs"],
        "bytes": found["bytes"],
        **{
            name: [one["digest"] for one in found[name]][:MAX_REPORTED]
            for name in ("wrong", "missing")
        },
        "restored": found["restored"][:MAX_REPORTED],
        "repaired": repaired[:MAX_REPORTED],
        "damaged": left[:MAX_REPORTED],
    }
