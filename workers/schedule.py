"""Runs of stored mirrors: started when they are asked for, or by the tick when they are due."""

from __future__ import annotations

import logging

from sqlalchemy import Connection

from store.catalog import credentials, mirrors
from store.catalog.credentials import Sealer
from store.catalog.mirrors import StoredMirror
from store.errors import TransshipError
from workers.making import Submission, known, make
from workers.specs import parse_spec

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
    made = known(connection, requested_by, idempotency_key, _fingerprint(name))
    if made is not None:
        return made
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
    spec = parse_spec(stored.spec)
    job = make(
        connection,
        Submission(
            spec=spec, requested_by=requested_by, idempotency_key=idempotency_key, may_use=None
        ),
        credentials.all_named(connection),
        sealer,
        now,
        fingerprint=_fingerprint(stored.name),
        label=f"{stored.name}: {spec.label}",
    )
    mirrors.record_run(connection, stored.name, job, now)
    return job


def _fingerprint(name: str) -> str:
    """What a request for a run is told by: not by what the mirror says at the time."""
    return f"a run of {name}"
