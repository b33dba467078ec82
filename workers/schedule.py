"""Runs of stored mirrors: started when they are asked for, or by the tick when they are due."""

from __future__ import annotations

import logging

from sqlalchemy import Connection

from store.catalog import credentials, jobs, mirrors
from store.catalog.credentials import Sealer
from store.catalog.jobs import NewJob
from store.catalog.mirrors import StoredMirror
from store.errors import ConflictError, TransshipError
from workers import entitlement
from workers.identity import new_id
from workers.specs import as_json, parse_spec

log = logging.getLogger(__name__)


def requester(name: str) -> str:
    """Who jobs are requested by that the schedule of a mirror starts."""
    return f"mirror {name}"


def start_due(connection: Connection, sealer: Sealer, now: float) -> list[str]:
    """Start every stored mirror whose time has come, and return the jobs. Once, whoever calls."""
    started = []
    for name in mirrors.due_names(connection, now):
        stored = mirrors.start_due(connection, name, now)
        if stored is None:
            continue
        try:
            started.append(_make(connection, stored, requester(name), sealer, now))
        except TransshipError as error:  # its spec is of another version; the interval goes on
            log.warning("the mirror %s cannot be started: %s", name, error)
    return started


def start(
    connection: Connection,
    name: str,
    requested_by: str,
    sealer: Sealer,
    now: float,
    *,
    idempotency_key: str | None = None,
) -> str:
    """Start a run that was asked for, and return its job. The same key gives the same job again.

    Raises:
        NotFoundError: there is no such mirror.
        ConflictError: a run of it is going on, or the key belongs to another request.
    """
    if idempotency_key is not None:
        known = jobs.of_key(connection, requested_by, idempotency_key)
        if known is not None and known.fingerprint == _fingerprint(name):
            return str(known.id)
        if known is not None:
            raise ConflictError(
                "this idempotency key belongs to another request",
                subject=idempotency_key,
                hint="use a new key for a new request",
            )
    stored = mirrors.start(connection, name, now)
    return _make(connection, stored, requested_by, sealer, now, idempotency_key=idempotency_key)


def _make(
    connection: Connection,
    stored: StoredMirror,
    requested_by: str,
    sealer: Sealer,
    now: float,
    *,
    idempotency_key: str | None = None,
) -> str:
    """Make the job of a run. It may use all credentials of the server: an admin wrote it down."""
    job, spec = new_id(), parse_spec(stored.spec)
    named = credentials.all_named(connection)
    entitled = entitlement.settle(spec.registries, {}, named, None, sealer)
    jobs.create(
        connection,
        [
            NewJob(
                id=job,
                kind=spec.kind,
                spec=as_json(spec),
                label=f"{stored.name}: {spec.label}",
                registry=spec.registries[0],
                queue=spec.queue,
                priority=spec.priority,
                requested_by=requested_by,
                fingerprint=_fingerprint(stored.name),
                idempotency_key=idempotency_key,
                deadline=now + spec.deadline if spec.deadline is not None else None,
                plan=entitled.plan,
            )
        ],
        now,
    )
    credentials.keep(connection, job, entitled.sealed)
    mirrors.record_run(connection, stored.name, job, now)
    return job


def _fingerprint(name: str) -> str:
    """What a request for a run is told by: not by what the mirror says at the time."""
    return f"a run of {name}"
