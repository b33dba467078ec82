"""Runs of stored mirrors: started when they are asked for, or by maintenance when they are due."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from sqlalchemy import Connection

from transship.store.catalog.access import credentials
from transship.store.catalog.access.credentials import Sealer
from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.scheduling import mirrors
from transship.store.catalog.scheduling.mirrors import StoredMirror
from transship.store.errors import TransshipError
from transship.workers.jobs.submission import Submission, known, make
from transship.workers.specs import AnySpec, fingerprint, parse_spec

log = logging.getLogger(__name__)


def requester(name: str) -> str:
    """Who jobs are requested by that the schedule of a mirror starts."""
    return f"mirror {name}"


@dataclass(frozen=True, slots=True)
class Ready:
    """A stored mirror, and the spec of its run or why that cannot be understood."""

    stored: StoredMirror
    spec: AnySpec | TransshipError
    verifies: bool = False

    @classmethod
    def of(cls, stored: StoredMirror, verify: Mapping[str, Any] | None = None) -> Self:
        """Understand *stored*, which takes a while where it is long: in no transaction.

        With *verify*, fields of the spec, the run copies nothing, and the next is due as it was.
        """
        try:
            spec = parse_spec({**stored.spec, **(verify or {})})
            return cls(stored, spec, verifies=verify is not None)
        except TransshipError as error:  # it is of another version
            return cls(stored, error)


def start_due(connection: Connection, ready: Iterable[Ready], sealer: Sealer, now: float) -> None:
    """Start those that are due still. Once, whoever calls; the interval of all of them goes on."""
    for one in ready:
        if not mirrors.start_due(connection, one.stored, now):
            continue
        if isinstance(one.spec, TransshipError):
            log.warning("the mirror %s cannot be started: %s", one.stored.name, one.spec)
            continue
        name = one.stored.name
        wanted = Submission(
            spec=one.spec, requested_by=requester(name), tenant=HOUSE, fingerprint=_told_by(name)
        )
        _make(connection, one.stored, wanted, sealer, now)


def start(
    connection: Connection,
    ready: Ready,
    requested_by: str,
    sealer: Sealer,
    now: float,
    *,
    idempotency_key: str | None = None,
) -> str | None:
    """Start a run that was asked for, and return its job. The same key gives the same job again.

    None where the mirror has been changed meanwhile.

    Raises:
        NotFoundError: it has been removed meanwhile.
        ConflictError: a run of it is going on, or the key belongs to another request.
        InvalidSpecError: it was kept by another version, and cannot be understood.
    """
    name = ready.stored.name
    if isinstance(ready.spec, TransshipError):
        raise ready.spec
    told_by = f"{_told_by(name)} {fingerprint(ready.spec)}" if ready.verifies else _told_by(name)
    made = known(connection, requested_by, idempotency_key, told_by)
    if made is not None:
        return made
    if not mirrors.start(connection, ready.stored, now, puts_off=not ready.verifies):
        return None
    wanted = Submission(
        spec=ready.spec,
        requested_by=requested_by,
        tenant=HOUSE,
        idempotency_key=idempotency_key,
        fingerprint=told_by,
    )
    return _make(connection, ready.stored, wanted, sealer, now)


def start_again(
    connection: Connection, name: str, wanted: Submission, sealer: Sealer, now: float
) -> str:
    """Start the run *wanted*, which does again what one of the mirror *name* has left.

    What an admin has written down since counts: a run of another policy is not done again. The
    same key gives the same job again.

    Raises:
        NotFoundError: the mirror has been removed meanwhile.
        ConflictError: it has been changed, a run of it is going on, or the key belongs to another
            request.
    """
    key, fingerprint = wanted.idempotency_key, wanted.fingerprint
    made = known(connection, wanted.requested_by, key, fingerprint)
    if made is not None:
        return made
    mirrors.hold_idle(connection, name)
    assert wanted.retry_of is not None
    stored = mirrors.check_in_force(connection, name, wanted.retry_of)
    return _make(connection, stored, wanted, sealer, now)


def _make(
    connection: Connection, stored: StoredMirror, wanted: Submission, sealer: Sealer, now: float
) -> str:
    """Make the job of a run, with all an admin's rights: an admin wrote it down."""
    name = stored.name
    job = make(
        connection,
        replace(wanted, may_use=None, may_hurry=True),
        credentials.all_named(connection),
        sealer,
        now,
        label=f"{name}: {wanted.spec.label}",
    )
    mirrors.record_run(connection, name, stored.spec, job, now)
    return job


def _told_by(name: str) -> str:
    """What a request for a run is told by: not by what the mirror says at the time."""
    return f"a run of {name}"
