"""The door through which the API asks for work: submit, cancel, retry."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, select, update
from sqlalchemy.exc import DataError

from transship.store.catalog.access import credentials
from transship.store.catalog.access.credentials import NamedCredential, Sealer
from transship.store.catalog.access.quotas import NO_QUOTAS, Quotas
from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.db.schema import jobs as jobs_table
from transship.store.catalog.scheduling import jobs, mirrors
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.errors import (
    ConflictError,
    CredentialsNeededError,
    InternalError,
    InvalidSpecError,
    NotFoundError,
    QuotaError,
    ScopeError,
    StoreError,
    TransshipError,
)
from transship.store.oci.platform import Platform
from transship.workers.credentials import grants
from transship.workers.credentials.grants import MayUse
from transship.workers.jobs import schedule
from transship.workers.jobs.stopping import stop_jobs
from transship.workers.jobs.submission import Submission, known, make
from transship.workers.mirrors.plan import How, Image, left_over
from transship.workers.registry.auth.credentials import Credential
from transship.workers.runtime import logs, task_events
from transship.workers.runtime.context import MAX_ANNOUNCED, dispatch
from transship.workers.runtime.wire import Message, Wire
from transship.workers.specs import (
    CopySpec,
    MirrorSpec,
    fingerprint,
    fix_platforms,
    parse_spec,
    whole_fingerprint,
)

log = logging.getLogger(__name__)

CANCEL_SECONDS = 2.0  # so long a request stops children itself
RECEIVED = "received"  # in the plan: what came of a job's body, once it is there in whole


class JobService:
    """Submits, cancels and retries jobs; safe to use from many threads."""

    def __init__(
        self,
        catalog: Catalog,
        sealer: Sealer,
        wire: Wire,
        host: Platform,
        quotas: Quotas = NO_QUOTAS,
    ) -> None:
        """Write to *catalog* and dispatch on *wire*; pulls default to the platform *host*."""
        self._catalog = catalog
        self._sealer = sealer
        self._wire = wire
        self._host = host
        self._quotas = quotas

    def submit(
        self,
        wanted: Sequence[Submission],
        committed: Callable[[list[str | TransshipError]], None] = lambda _: None,
    ) -> list[str | TransshipError]:
        """Make jobs, all in one transaction; call *committed* when it is on disk, then dispatch.

        Returns for each its job's id, or the error that kept it from being made: another body
        under a known idempotency key, another active job of a kind that is alone, or something
        that the database refuses, which is nobody else's fault. The same key and body give the
        same job again.

        Raises:
            StoreError: the database does not answer, or cannot grow; nothing was made.
        """
        try:
            answers, messages = self._submitted(wanted)
        except StoreError:
            raise
        except Exception as error:
            if len(wanted) == 1:
                log.exception("a request cannot be stored")
                answers, messages = [_refusal(error)], []
            else:
                log.warning("a batch of requests cannot be stored, so each is by itself: %s", error)
                answers, messages = [], []
                for one in wanted:
                    answers += self.submit([one])
        committed(answers)
        self._wire.publish(messages)
        return answers

    def _submitted(
        self, wanted: Sequence[Submission]
    ) -> tuple[list[str | TransshipError], list[Message]]:
        with self._catalog.write() as connection:
            now = self._catalog.now()
            named = credentials.all_named(connection)
            answers = [self._accept(connection, one, named, now) for one in wanted]
            return answers, dispatch(connection, now, (), {one.spec.queue for one in wanted})

    def take(self, wanted: Submission, receiver: str) -> JobLease | str:
        """Make a job whose body is to be received now, and take it up for *receiver*.

        The same key and spec give the id of the same job, if its body has arrived: nothing is to
        be received then. A request whose body did not arrive does not keep its key.

        Raises:
            ConflictError: another request has this idempotency key, or the same one, whose body
                is being received.
        """
        with self._catalog.write() as connection:
            now = self._catalog.now()
            if wanted.idempotency_key is not None:
                _free_key(connection, wanted.requested_by, wanted.idempotency_key)
            answer = self._make(connection, wanted, credentials.all_named(connection), now)
            if isinstance(answer, TransshipError):
                raise answer
            if answer != wanted.id:
                _check_received(connection, answer)
                return answer
            lease = jobs.claim(connection, answer, receiver, now)
        assert lease is not None
        self._wire.report(task_events.claimed([lease]))
        return lease

    def cancel(self, id_: str) -> None:
        """Ask a job and its children to stop. A job that has ended stays as it is.

        Of very many children some may be left when this returns: a worker takes the job up and
        asks them too.

        Raises:
            NotFoundError: there is no such job.
        """
        until = time.monotonic() + CANCEL_SECONDS
        left = True
        while left and time.monotonic() < until:
            with self._catalog.write() as connection:
                now = self._catalog.now()
                row = _existing(connection, id_)
                ended = stop_jobs(connection, row.id, "cancelled", now)
                left = bool(jobs.open_children(connection, row.id, limit=1))
                events = task_events.stopped(connection, ended, "cancelled")
                messages = dispatch(connection, now)
            self._wire.publish(messages)
            logs.report(self._wire, events)
            told = [id_, *([row.parent] if row.parent else []), *ended[:MAX_ANNOUNCED]]
            self._wire.announce(dict.fromkeys(told))
            if left:
                self._catalog.give_way()

    def retry(
        self,
        id_: str,
        *,
        requested_by: str,
        tenant: str,
        given: Mapping[str, Credential] | None = None,
        may_use: MayUse = frozenset(),
        may_hurry: bool = True,
        idempotency_key: str | None = None,
    ) -> str:
        """Make a new job like an ended one; of a mirror, only for the children that failed.

        Credentials that came with the first one are gone: *given* are used, and the server's own
        as for a new job. What was a run of a stored mirror is one again. The same key gives the
        same job.

        Raises:
            NotFoundError: there is no such job.
            ConflictError: it has not ended, its body is not kept, there is nothing to do again, a
                run of its stored mirror is going on, the mirror has been changed since, or the key
                belongs to another request.
            CredentialsNeededError: the first one had credentials for a registry, and there are
                none for it now.
            ScopeError: its priority is above 0, and this one's must not be.
        """
        told_by = f"a retry of {id_}"
        with self._catalog.read() as connection:
            made = known(connection, requested_by, idempotency_key, told_by)
            if made is not None:
                return made
            row = _existing(connection, id_)
            stored = mirrors.of_run(connection, id_)
            if stored is not None:
                may_use, may_hurry = None, True
                if given:
                    raise ConflictError(
                        "a run of a stored mirror signs in with the server's credentials",
                        subject=id_,
                        hint="leave out those that were sent",
                    )
                mirrors.check_in_force(connection, stored, id_)
            if row.state in jobs.ACTIVE:
                raise ConflictError("the job has not ended yet", subject=id_)
            asked = parse_spec(row.spec)
            if where := asked.body:
                raise ConflictError(
                    "its body is not kept", subject=id_, hint=f"send it again by {where}"
                )
            _check_credentials(connection, row, asked.written, given or {}, may_use)
            spec = dict(row.spec)
            if row.kind == "mirror":
                spec = self._failed_part(connection, row, spec)
        submission = Submission(
            spec=parse_spec(spec),
            requested_by=requested_by,
            tenant=tenant,
            idempotency_key=idempotency_key,
            credentials=given or {},
            may_use=may_use,
            may_hurry=may_hurry,
            retry_of=id_,
            fingerprint=told_by,
        )
        if stored is not None:
            return self._run_again(stored, submission)
        (answer,) = self.submit([submission])
        if isinstance(answer, TransshipError):
            raise answer
        return answer

    def run_mirror(
        self,
        name: str,
        *,
        requested_by: str,
        idempotency_key: str | None = None,
        verify: Mapping[str, Any] | None = None,
    ) -> str:
        """Start a run of a stored mirror, and return its job. The same key gives the same job.

        With *verify*, fields of its spec, it copies nothing, and the next run is due as it was.

        Raises:
            NotFoundError: there is no such mirror.
            ConflictError: a run of it is going on, or the key belongs to another request.
        """
        while True:
            with self._catalog.read() as connection:
                stored = mirrors.get(connection, name)
            ready = schedule.Ready.of(stored, verify)
            with self._catalog.write() as connection:
                now = self._catalog.now()
                made = schedule.start(
                    connection,
                    ready,
                    requested_by,
                    self._sealer,
                    now,
                    idempotency_key=idempotency_key,
                )
                messages = dispatch(connection, now)
            if made is not None:
                self._wire.publish(messages)
                return made
            # The mirror was changed while it was being understood.

    def _run_again(self, mirror: str, wanted: Submission) -> str:
        with self._catalog.write() as connection:
            now = self._catalog.now()
            made = schedule.start_again(connection, mirror, wanted, self._sealer, now)
            messages = dispatch(connection, now)
        self._wire.publish(messages)
        return made

    def _failed_part(
        self, connection: Connection, row: Row[Any], spec: dict[str, Any]
    ) -> dict[str, Any]:
        children = connection.execute(
            select(jobs_table.c.child_key, jobs_table.c.state, jobs_table.c.spec).where(
                jobs_table.c.parent == row.id
            )
        ).all()
        if not children or not (row.checkpoint or {}).get(
            "children_made"
        ):  # it ended before it had all
            return spec
        failed = [child for child in children if child.state != "succeeded"]
        mirror = MirrorSpec.model_validate(spec)
        if not mirror.entries:
            left = {"tags": [child.child_key for child in failed]}
            whole = {**spec, "source": str(mirror.wanted[0].origin), **left}
        else:
            copies = [CopySpec.model_validate(child.spec) for child in failed]
            images = [
                Image(
                    copy.origin,
                    copy.target,
                    How(copy.platforms, copy.referrers, copy.on_rewrite, copy.overwrite),
                )
                for copy in copies
            ]
            chosen = (row.checkpoint or {}).get("chosen", {})
            unlisted = [
                entry
                for n, entry in enumerate(spec["entries"])
                if "error" in chosen.get(str(n), ())
            ]
            left = {"entries": [*left_over(images, mirror.usual), *unlisted]}
            whole = {**spec, **left}
        if not any(left.values()):
            raise ConflictError(
                "every image of this mirror was mirrored", subject=row.id, hint="submit it anew"
            )
        return whole

    def _accept(
        self,
        connection: Connection,
        wanted: Submission,
        named: Sequence[NamedCredential],
        now: float,
    ) -> str | TransshipError:
        """Make a job of what is all there."""
        if (where := wanted.spec.body) is not None:
            message = f"it needs a body, which comes with {where}"
            return InvalidSpecError(message, errors=[{"field": "kind", "message": message}])
        return self._make(connection, wanted, named, now)

    def _make(
        self,
        connection: Connection,
        wanted: Submission,
        named: Sequence[NamedCredential],
        now: float,
    ) -> str | TransshipError:
        spec = fix_platforms(wanted.spec, self._host)
        told_by = wanted.fingerprint or fingerprint(wanted.spec)
        wanted = replace(wanted, spec=spec, fingerprint=told_by)
        try:
            made = known(
                connection,
                wanted.requested_by,
                wanted.idempotency_key,
                told_by,
                whole_fingerprint(spec),
                id_=wanted.id,
            )
        except ConflictError as conflict:
            return conflict
        if made is not None:
            return made
        if spec.priority > 0 and not wanted.may_hurry:
            return ScopeError(
                "a priority above 0 needs the scope 'priority'",
                subject="priority",
                hint="use a token that was made with --scope priority, or a priority of at most 0",
            )
        kind = spec.kind
        if spec.exclusive and (other := jobs.active_of_kind(connection, kind)) is not None:
            return ConflictError(
                f"another {kind} is under way", subject=other, hint="wait until it has ended"
            )
        try:
            return make(connection, wanted, named, self._sealer, now, quotas=self._quotas)
        except QuotaError as too_much:
            return too_much


def _refusal(error: Exception) -> TransshipError:
    """What to say of a request that the database refuses."""
    if isinstance(error, DataError | UnicodeError):
        message = "the database cannot store it"
        return InvalidSpecError(message, errors=[{"field": "", "message": message}])
    return InternalError(f"{type(error).__name__} while the job was stored")


def _free_key(connection: Connection, requested_by: str, key: str) -> None:
    """Take an idempotency key from an ended job whose body did not arrive in whole."""
    mine = (jobs_table.c.requested_by == requested_by) & (jobs_table.c.idempotency_key == key)
    row = connection.execute(select(jobs_table).where(mine)).one_or_none()
    if row is None or row.state in jobs.ACTIVE or RECEIVED in (row.checkpoint or {}):
        return
    if parse_spec(row.spec).body is not None:
        connection.execute(update(jobs_table).where(mine).values(idempotency_key=None))


def _check_received(connection: Connection, id_: str) -> None:
    row = _existing(connection, id_)
    if row.state in jobs.ACTIVE and RECEIVED not in (row.checkpoint or {}):
        raise ConflictError(
            "the body of the same request is being received",
            subject=id_,
            hint="wait for the end of that job, or cancel it",
        )


def _existing(connection: Connection, id_: str) -> Row[Any]:
    row = jobs.get(connection, id_)
    if row is None:
        raise NotFoundError("no such job", subject=id_, hint="see `transship jobs`")
    return row


def _check_credentials(
    connection: Connection,
    ended: Row[Any],
    written: Collection[str],
    given: Mapping[str, Credential],
    may_use: MayUse,
) -> None:
    # A child used what its root had.
    root = ended if ended.root == ended.id else jobs.get(connection, ended.root)
    plan = (root.checkpoint if root is not None else None) or {}
    named = credentials.all_named(connection)
    if missing := grants.lacking(plan, written, given, named, may_use):
        raise CredentialsNeededError(
            f"the first job had credentials for {', '.join(missing)}, which are gone",
            subject=ended.id,
            hint="send them again",
        )
