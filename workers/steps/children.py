"""A job of jobs: it makes its children once, and ends when all of them have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Column, Row, select

from transship.store.catalog.db.schema import jobs as jobs_table
from transship.store.catalog.scheduling import children as child_rows
from transship.store.catalog.scheduling import events, jobs, targets
from transship.store.catalog.scheduling.jobs import JobLease, NewJob
from transship.store.errors import Side
from transship.store.oci.reference import Reference
from transship.workers.jobs.submission import lane
from transship.workers.runtime.context import WorkerContext, at
from transship.workers.runtime.ids import new_id
from transship.workers.runtime.leases import LeaseMonitor
from transship.workers.specs import AnySpec, as_json
from transship.workers.steps import checkpoint
from transship.workers.steps.compare import Compared
from transship.workers.steps.remote import Remote

SomeSpec = TypeVar("SomeSpec", bound=AnySpec)

CHUNK = 250  # children a transaction: they keep others from writing for 0.1 s
MAX_LEFT_OUT = 5  # listed names that are shown of those that are no tags
MAX_REPORTED = 100  # failures listed in the result; `jobs --parent` lists them all

_TOLD: tuple[Column[Any], ...] = (
    jobs_table.c.child_key,
    jobs_table.c.id,
    jobs_table.c.state,
    jobs_table.c.result,
    jobs_table.c.error,
)


def tags_of(source: Remote) -> list[str]:
    """Every tag of the repository, each once, in the registry's order.

    What is listed and can be no tag is told in the job's log.
    """
    tags: dict[str, None] = {}
    left_out: list[str] = []
    with at(source.side):
        for tag in source.repository.list_tags(left_out=left_out.append):
            source.monitor.check()
            tags[tag] = None
    if left_out:
        shown = ", ".join(left_out[:MAX_LEFT_OUT]) + (", …" if left_out[MAX_LEFT_OUT:] else "")
        message = f"{source.repository.name} lists what cannot be a tag: {shown}"
        with source.context.catalog.write() as connection:
            now = source.context.now()
            events.record(connection, source.lease.id, "warning", now, message=message)
    return list(tags)


def make(
    wanted: Iterable[tuple[str, SomeSpec]],
    lease: JobLease,
    context: WorkerContext,
    monitor: LeaseMonitor,
    *,
    number: int = 0,
    compare: Callable[[Sequence[SomeSpec]], Sequence[Compared]] | None = None,
    page: int = CHUNK,
) -> None:
    """Make a child of each spec, under the key that comes with it; a second time none.

    How many there will be is shown from the beginning, where their *number* is given.

    They are made in their order, *page* in a transaction, so that one who takes over goes on after
    those that there are. Where there is nothing to do, as *compare* says of each page before it is
    made, a child has ended when it is made.
    """
    if lease.checkpoint.get("children_made"):
        return
    with context.catalog.read() as connection:
        made = sum(child_rows.by_state(connection, lease.id).values())
    rest = islice(wanted, made, None)
    while chunk := list(islice(rest, page)):
        monitor.check()
        found: Sequence[Compared] = [Compared()] * len(chunk)
        if compare is not None:
            found = compare([spec for _, spec in chunk])
        new = [
            _child(key, spec, lease, context, compared)
            for (key, spec), compared in zip(chunk, found, strict=True)
        ]
        ended = {one.id: one.up_to_date.result["reference"] for one in new if one.up_to_date}
        with context.change() as change:
            jobs.save(change.connection, lease, crashes=0)
            if not made:
                child_rows.expect(change.connection, lease.id, number)
            made += len(jobs.create(change.connection, new, change.now))
            targets.found_up_to_date(change.connection, ended)
            if len(ended) == len(new):  # nothing new is to be done
                change.directions, change.queues = (), ()
        context.catalog.give_way()
    checkpoint.remember(lease, context, children_made=True)


def ended(lease: JobLease, context: WorkerContext) -> Sequence[Row[Any]] | None:
    """The children in the order in which they were made; None while some have not ended."""
    with context.catalog.read() as connection:
        states = child_rows.by_state(connection, lease.id)
        if any(state in states for state in jobs.ACTIVE):
            return None
        return connection.execute(
            select(*_TOLD).where(jobs_table.c.parent == lease.id).order_by(jobs_table.c.seq)
        ).all()


def side_of(failed: Iterable[Mapping[str, Any]]) -> Side:
    """On which side they failed where they agree; else that of the source, which is asked first."""
    sides = {one["error"]["side"] for one in failed if one["error"]}
    return Side(sides.pop()) if len(sides) == 1 else Side.SOURCE


def report(children: Sequence[Row[Any]]) -> dict[str, Any]:
    """How they ended: how many in which state, and the first that failed."""
    by_state: dict[str, int] = {}
    for child in children:
        by_state[child.state] = by_state.get(child.state, 0) + 1
    failed = [
        {"tag": child.child_key, "job": child.id, "state": child.state, "error": child.error}
        for child in children
        if child.state != "succeeded"
    ]
    return {"by_state": by_state, "failed": failed[:MAX_REPORTED]}


def _child(
    key: str,
    spec: AnySpec,
    lease: JobLease,
    context: WorkerContext,
    compared: Compared,
) -> NewJob:
    def credential(repository: Reference) -> str:
        return context.fingerprint(lease.root, repository.domain, repository.path)

    return NewJob(
        id=new_id(),
        kind=spec.kind,
        spec=as_json(spec),
        label=spec.label,
        **lane(spec, credential),
        batched=spec.batched,
        priority=spec.priority,
        requested_by=f"job {lease.id}",
        requester=lease.requester,
        tenant=lease.tenant,
        parent=lease.id,
        child_key=key,
        root=lease.root,
        deadline=lease.deadline,
        checkpoint=compared.facts,
        up_to_date=compared.up_to_date,
    )
