"""The door through which the API asks for work: submit, cancel, retry."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, select

from store.catalog import credentials, jobs
from store.catalog.credentials import SealedCredential, Sealer
from store.catalog.engine import Catalog
from store.catalog.jobs import NewJob
from store.catalog.schema import jobs as jobs_table
from store.errors import ConflictError, CredentialsNeededError, NotFoundError, TransshipError
from store.oci.platform import Platform
from workers.identity import new_id
from workers.registry.credentials import Credential
from workers.specs import (
    CopySpec,
    MirrorSpec,
    PullSpec,
    PushSpec,
    as_json,
    fingerprint,
    fix_platforms,
    parse_spec,
)
from workers.transfers.tick import stop_jobs
from workers.wire import Wire
from workers.world import ring

_CREDENTIALS_FOR = "credentials_for"  # in the plan: registries for which a job brought credentials

AnySpec = PullSpec | PushSpec | CopySpec | MirrorSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A checked request for a job."""

    spec: AnySpec
    requested_by: str
    id: str = field(default_factory=new_id)
    idempotency_key: str | None = None
    credentials: Mapping[str, Credential] = field(default_factory=dict)
    retry_of: str | None = None


class JobQueue:
    """Submits, cancels and retries jobs; safe to use from many threads."""

    def __init__(self, catalog: Catalog, sealer: Sealer, wire: Wire, host: Platform) -> None:
        """Write to *catalog* and ring on *wire*; pulls default to the platform *host*."""
        self._catalog = catalog
        self._sealer = sealer
        self._wire = wire
        self._host = host

    def submit(
        self,
        wanted: Sequence[Submission],
        committed: Callable[[list[str | TransshipError]], None] = lambda _: None,
    ) -> list[str | TransshipError]:
        """Make jobs, all in one transaction; call *committed* when it is on disk, then ring.

        Returns for each its job's id, or the error that kept it from being made: another body
        under a known idempotency key. The same key and body give the same job again.
        """
        with self._catalog.write() as connection:
            now = time.time()
            answers = [self._make(connection, one, now) for one in wanted]
            messages = ring(connection, now)
        committed(answers)
        self._wire.publish(messages)
        return answers

    def cancel(self, id_: str) -> None:
        """Ask a job and its children to stop. A job that has ended stays as it is.

        Raises:
            NotFoundError: there is no such job.
        """
        with self._catalog.write() as connection:
            now = time.time()
            row = _existing(connection, id_)
            ended = stop_jobs(connection, row.id, "cancelled", now)
            messages = ring(connection, now)
        self._wire.publish(messages)
        self._wire.announce({*ended, id_, *([row.parent] if row.parent else [])})

    def retry(
        self, id_: str, *, requested_by: str, given: Mapping[str, Credential] | None = None
    ) -> str:
        """Make a new job like an ended one; of a mirror, only for the children that failed.

        The credentials of the first one are gone: *given* are used.

        Raises:
            NotFoundError: there is no such job.
            ConflictError: it has not ended, or there is nothing to do again.
            CredentialsNeededError: the first one had credentials for a registry, and none are
                given for it now.
        """
        with self._catalog.read() as connection:
            row = _existing(connection, id_)
            if row.state in jobs.ACTIVE:
                raise ConflictError("the job has not ended yet", subject=id_)
            _check_credentials(connection, row, given or {})
            spec = dict(row.spec)
            if row.kind == "mirror":
                spec = self._failed_part(connection, row, spec)
        submission = Submission(
            spec=parse_spec(spec),
            requested_by=requested_by,
            credentials=given or {},
            retry_of=id_,
        )
        (answer,) = self.submit([submission])
        if isinstance(answer, TransshipError):
            raise answer
        return answer

    def _failed_part(
        self, connection: Connection, row: Row[Any], spec: dict[str, Any]
    ) -> dict[str, Any]:
        children = connection.execute(
            select(jobs_table.c.child_key, jobs_table.c.state).where(jobs_table.c.parent == row.id)
        ).all()
        if not children:  # it failed before it had any
            return spec
        failed = [child.child_key for child in children if child.state != "succeeded"]
        if not failed:
            raise ConflictError(
                "every image of this mirror was mirrored", subject=row.id, hint="submit it anew"
            )
        mirror = MirrorSpec.model_validate(spec)
        return {**spec, "source": str(mirror.origin), "tags": failed}

    def _make(self, connection: Connection, wanted: Submission, now: float) -> str | TransshipError:
        spec = fix_platforms(wanted.spec, self._host)
        digest = fingerprint(spec)
        known = self._known(connection, wanted)
        if known is not None:
            if known.fingerprint == digest:
                return str(known.id)
            return ConflictError(
                "this idempotency key belongs to another request",
                subject=wanted.idempotency_key or wanted.id,
                hint="use a new key for a new request",
            )
        registry = spec.registries[0]
        sealed = [
            SealedCredential(host, self._sealer.seal(asdict(given)), given.fingerprint)
            for host, given in wanted.credentials.items()
            if host in spec.registries
        ]
        jobs.create(
            connection,
            [
                NewJob(
                    id=wanted.id,
                    kind=spec.kind,
                    spec=as_json(spec),
                    label=spec.label,
                    registry=registry,
                    priority=spec.priority,
                    requested_by=wanted.requested_by,
                    fingerprint=digest,
                    idempotency_key=wanted.idempotency_key,
                    deadline=now + spec.deadline if spec.deadline is not None else None,
                    retry_of=wanted.retry_of,
                    plan={_CREDENTIALS_FOR: [one.registry for one in sealed]} if sealed else None,
                )
            ],
            now,
        )
        credentials.keep(connection, wanted.id, sealed)
        return wanted.id

    def _known(self, connection: Connection, wanted: Submission) -> Any:
        same = jobs_table.c.id == wanted.id
        if wanted.idempotency_key is not None:
            same |= (jobs_table.c.idempotency_key == wanted.idempotency_key) & (
                jobs_table.c.requested_by == wanted.requested_by
            )
        return connection.execute(
            select(jobs_table.c.id, jobs_table.c.fingerprint).where(same)
        ).first()


def _existing(connection: Connection, id_: str) -> Row[Any]:
    row = jobs.get(connection, id_)
    if row is None:
        raise NotFoundError("no such job", subject=id_, hint="see `transship jobs`")
    return row


def _check_credentials(
    connection: Connection, ended: Row[Any], given: Mapping[str, Credential]
) -> None:
    # A child used what had come with its root.
    root = ended if ended.root == ended.id else jobs.get(connection, ended.root)
    needed = ((root.plan if root is not None else None) or {}).get(_CREDENTIALS_FOR, ())
    if missing := [host for host in needed if host not in given]:
        raise CredentialsNeededError(
            f"the first job brought credentials for {', '.join(missing)}, which are gone",
            subject=ended.id,
            hint="send them again",
        )
