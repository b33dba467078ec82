"""Makes the job of a request, in the caller's transaction: once, with what it may sign in with."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection

from transship.store.catalog.access import credentials
from transship.store.catalog.access.credentials import NamedCredential, Sealer
from transship.store.catalog.access.quotas import NO_QUOTAS, Quotas
from transship.store.catalog.scheduling import jobs
from transship.store.catalog.scheduling.jobs import NewJob
from transship.store.errors import ConflictError
from transship.store.oci.reference import Reference
from transship.workers.credentials import grants
from transship.workers.credentials.grants import URL_SEALED, MayUse
from transship.workers.registry.auth.credentials import Credential
from transship.workers.runtime.ids import new_id
from transship.workers.specs import AnySpec, as_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A checked request for a job.

    It works on the images of *tenant*. *credentials* came with it, by registry or namespace;
    *may_use* names the server's own that it may have where none came, None all of them. *may_hurry*
    says whether its priority may be above 0: of what comes from outside, only who asks for it
    knows. *fingerprint* tells the request from another one with its idempotency key; empty: its
    spec does.
    """

    spec: AnySpec
    requested_by: str
    tenant: str
    id: str = field(default_factory=new_id)
    idempotency_key: str | None = None
    credentials: Mapping[str, Credential] = field(default_factory=dict)
    may_use: MayUse = frozenset()
    may_hurry: bool = True
    retry_of: str | None = None
    fingerprint: str = ""


def lane(spec: AnySpec, credential: Callable[[Reference], str]) -> dict[str, Any]:
    """The lane of a job of *spec*, as `NewJob` has it: the registries that it asks itself.

    *credential* is the fingerprint of what it signs in with to a repository.
    """
    named = ("registry", "credential"), ("other_registry", "other_credential")
    found: dict[str, str] = {}
    for (registry, fingerprint), repository in zip(named, spec.asks, strict=False):
        found |= {registry: repository.domain, fingerprint: credential(repository)}
    return {"registry": "", "other_registry": "", **found}


def known(
    connection: Connection,
    requested_by: str,
    idempotency_key: str | None,
    *fingerprints: str,
    id_: str = "",
) -> str | None:
    """The job that the same request has made already, which its id or its key tells; None: none.

    It is the same if it has one of *fingerprints*.

    Raises:
        ConflictError: another request has this id or key, which its fingerprint tells.
    """
    row = jobs.of_request(connection, id_, requested_by, idempotency_key)
    if row is None:
        return None
    if row.fingerprint not in fingerprints:
        raise ConflictError(
            "this idempotency key belongs to another request",
            subject=idempotency_key or id_,
            hint="use a new key for a new request",
        )
    return str(row.id)


def make(
    connection: Connection,
    wanted: Submission,
    named: Sequence[NamedCredential],
    sealer: Sealer,
    now: float,
    *,
    label: str | None = None,
    quotas: Quotas = NO_QUOTAS,
) -> str:
    """Make the job of *wanted*, which is not known, and return its id.

    *named* are the server's own credentials; *label* takes the place of the one of the spec.

    Raises:
        QuotaError: its tenant may have no more.
    """
    spec = wanted.spec
    written = as_json(spec.without_secret())
    spec_bytes = len(json.dumps(written))
    quotas.check_job(connection, wanted.tenant, spec_bytes)
    if spec.writes_store:
        quotas.check_store(connection, wanted.tenant)
    entitled = grants.settle(
        spec.registries, spec.written, wanted.credentials, named, wanted.may_use, sealer
    )
    job = NewJob(
        id=wanted.id,
        kind=spec.kind,
        spec=written,
        spec_bytes=spec_bytes,
        label=label if label is not None else spec.label,
        **lane(spec, lambda one: entitled.fingerprint(f"{one.domain}/{one.path}")),
        queue=spec.queue,
        writes_store=spec.writes_store,
        batched=spec.batched,
        priority=spec.priority,
        requested_by=wanted.requested_by,
        tenant=wanted.tenant,
        fingerprint=wanted.fingerprint,
        idempotency_key=wanted.idempotency_key,
        deadline=now + spec.deadline if spec.deadline is not None else None,
        retry_of=wanted.retry_of,
        checkpoint=entitled.checkpoint,
    )
    if spec.secret_url is not None:
        job = replace(job, checkpoint={**(job.checkpoint or {}), URL_SEALED: True})
    jobs.create(connection, [job], now)
    credentials.keep(connection, wanted.id, entitled.sealed)
    if spec.secret_url is not None:
        credentials.keep_url(connection, wanted.id, sealer.seal({"url": spec.secret_url}))
    return wanted.id
