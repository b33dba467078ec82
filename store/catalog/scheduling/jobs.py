"""Jobs as rows: how they are made, taken up, let go and ended.

A job runs when it is due. `due` is set, in the transaction that causes it, by whatever a job waits
for: a transfer or a child that ended, a request to stop. Taking a job up clears it, so that what
happens meanwhile sets it again and is not missed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from sqlalchemy import (
    BindParameter,
    Column,
    ColumnElement,
    Connection,
    FromClause,
    Row,
    Update,
    and_,
    bindparam,
    delete,
    exists,
    func,
    literal_column,
    or_,
    select,
    text,
    update,
)

from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.db.due import NOW, due
from transship.store.catalog.db.schema import (
    JOB_ACTIVE,
    JOB_DELAYED,
    JOB_IS_ACTIVE,
    JOB_IS_DUE,
    JOB_OUT,
    JOB_WAITING,
    JOB_WITH_DEADLINE,
    credentials,
    jobs,
    leases,
    targets,
    waits,
)
from transship.store.catalog.db.sql import chunks, upsert
from transship.store.catalog.scheduling import children, events
from transship.store.errors import LeaseLostError, TransshipError
from transship.store.oci.reference import Reference

CONTROL, LOCAL = "control", "local"  # whose threads advance a job
DEADLINE_EXCEEDED = "deadline-exceeded"  # a reason to stop
ACTIVE = ("queued", "running")
ENDED = ("succeeded", "failed", "cancelled")


_ACTIVE_LITERALS: tuple[ColumnElement[str], ...] = tuple(
    literal_column(f"'{state}'") for state in ACTIVE
)


def active(table: FromClause) -> ColumnElement[bool]:
    """The condition that a job has not ended, in the words of the partial indexes."""
    return table.c.state.in_(_ACTIVE_LITERALS)


# Built once: to build a statement takes longer than to run it.
# Asking for what was inserted would make one statement of all rows, with ten thousands of
# parameters, which takes PostgreSQL's driver ten times as long to send.
_INSERT = (
    upsert(jobs)
    .on_conflict_do_nothing(index_elements=["parent", "child_key"])
    .execution_options(preserve_rowcount=True)
)
_INSERTED = select(jobs.c.id).where(jobs.c.id.in_(bindparam("ids", expanding=True)))
_CLAIM = (
    update(jobs)
    .where(
        jobs.c.id.in_(bindparam("ids", expanding=True)),
        text(JOB_IS_DUE),
        due(jobs.c.not_before, jobs.c.not_before_delay, NOW),
    )
    .values(
        state="running",
        owner=bindparam("by"),
        fence=jobs.c.fence + 1,
        due=False,
        dispatched_until=0,
        started_at=func.coalesce(jobs.c.started_at, NOW),
    )
    .returning(jobs)
)
_ASKS = (
    *(jobs.c.id, jobs.c.registry, jobs.c.lane, jobs.c.credential, jobs.c.other_credential),
    *(jobs.c.stop_requested, jobs.c.queue, jobs.c.batch),
)
_DUE_ROW = select(*_ASKS).where(jobs.c.id == bindparam("job"), text(JOB_IS_DUE))
_DISPATCHED_WITH = select(*_ASKS).where(
    text(JOB_OUT),
    text("due AND owner IS NULL"),
    jobs.c.queue == bindparam("in_queue"),
    jobs.c.batch == bindparam("name"),
    jobs.c.id != bindparam("job"),
)
_UNDISPATCH = (
    update(jobs)
    .where(jobs.c.id.in_(bindparam("ids", expanding=True)), text(JOB_IS_DUE))
    .values(dispatched_until=0)
)
_HELD = (
    select(jobs.c.id, jobs.c.fence, jobs.c.owner)
    .where(jobs.c.id.in_(bindparam("ids", expanding=True)), text("state = 'running'"))
    .order_by(jobs.c.id)
    .with_for_update()
)
_SAVE = update(jobs).where(
    jobs.c.id == bindparam("held"),
    jobs.c.fence == bindparam("held_fence"),
    jobs.c.owner == bindparam("held_by"),
    jobs.c.state == literal_column("'running'"),
)
_OTHER = jobs.alias("other")
_CHILD_OPEN = exists().where(
    _OTHER.c.parent == jobs.c.id, active(_OTHER), _OTHER.c.stop_requested.is_(None)
)
# Where nothing that is waited for is left, whatever whoever lets the job go has thought.
_DUE_AGAIN = or_(
    jobs.c.due,
    and_(~exists().where(waits.c.job == jobs.c.id, text("NOT waits.ended")), children.NONE_ACTIVE),
)
_RELEASE = _SAVE.values(due=_DUE_AGAIN)
_IDS: BindParameter[Sequence[str]] = bindparam("ids", expanding=True)
_LET_GO = delete(leases).where(leases.c.holder.in_(_IDS))
_FREE_TARGETS = (
    update(targets)
    .where(targets.c.holder.in_(_IDS), text("holder IS NOT NULL"))
    .values(holder=None)
)
_FORGET_CREDENTIALS = delete(credentials).where(
    credentials.c.root.in_(_IDS),
    ~exists().where(_OTHER.c.root == credentials.c.root, active(_OTHER)),
)
_WAKE_PARENTS = update(jobs).where(jobs.c.id.in_(_IDS), text(JOB_WAITING)).values(due=True)
_LANE = select(jobs.c.turn).where(
    text(JOB_ACTIVE),
    jobs.c.registry == bindparam("in_registry"),
    jobs.c.priority == bindparam("with_priority"),
)
_HEAD = _LANE.where(jobs.c.requester == bindparam("by_requester")).order_by(jobs.c.turn).limit(1)
_LAST_OF_ROOT = (
    _LANE.where(jobs.c.root == bindparam("of_root")).order_by(jobs.c.turn.desc()).limit(1)
)
_FRESH: dict[str, Any] = {
    "state": "queued",
    "due": True,
    **dict.fromkeys(("not_before", "not_before_delay", "dispatched_until"), 0),
    **dict.fromkeys(("attempts", "fence", "beat", "crashes"), 0),
    **dict.fromkeys(children.FIGURES, 0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AlreadyThere:
    """What a job came to for which there was nothing to do: its result, and what it comprises."""

    result: dict[str, Any]
    blobs: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """What a job is made from."""

    id: str
    kind: str
    spec: dict[str, Any]
    label: str
    spec_bytes: int = 0  # how long it is, where the job is nobody's child
    registry: str  # the first that it asks, or empty
    priority: int
    requested_by: str
    other_registry: str | None = None  # the second one; None: where the spec says it goes
    credential: str = ""  # fingerprints of what it signs in with there
    other_credential: str = ""
    requester: str = ""  # who asked for the root; empty: `requested_by`
    tenant: str = HOUSE  # whose images it works on
    queue: str = CONTROL
    writes_store: bool = False  # whether it puts something into the store
    batched: bool = False  # whether it is advanced together with others of its kind
    fingerprint: str = ""
    idempotency_key: str | None = None
    deadline: float | None = None
    parent: str | None = None
    child_key: str | None = None
    root: str | None = None  # None: it is its own root
    retry_of: str | None = None
    checkpoint: dict[str, Any] | None = None  # facts known from the beginning
    up_to_date: AlreadyThere | None = None  # it has ended as soon as it is made


_GIVEN = tuple(one.name for one in fields(NewJob) if one.name not in ("up_to_date", "batched"))


@dataclass(slots=True)
class JobLease:
    """A job taken up by this process. Every write names the fence, and fails if it is stale."""

    id: str
    seq: int
    kind: str
    root: str
    parent: str | None
    priority: int
    spec: dict[str, Any]
    checkpoint: dict[str, Any]
    label: str
    queue: str
    requester: str
    tenant: str
    asks: tuple[tuple[str, str], ...]  # registries, with the fingerprints of its credentials
    attempts: int
    fence: int
    owner: str
    stop_requested: str | None
    created_at: float
    started_at: float
    deadline: float | None
    skipped: dict[str, int] = field(default_factory=dict)
    listening: bool = False  # nobody has heard anything of one of its registries of late
    unsaved: bool = False  # the plan has facts that the row has not

    def learn(self, **facts: Any) -> None:
        """Add *facts* to the plan; the next `save` writes them."""
        self.checkpoint.update(facts)
        self.unsaved = True


def create(connection: Connection, new: Iterable[NewJob], now: float) -> list[str]:
    """Insert jobs, due at once, and return the ids of those that were not there yet.

    A child whose parent has one of the same key is there already: making children twice makes
    them once. One that is up to date has succeeded.
    """
    new = list(new)
    rows: list[dict[str, Any]] = []
    found = {job.id: job.up_to_date for job in new if job.up_to_date is not None}
    turns: dict[tuple[str, int, str], int] = {}
    for job in new:
        root = job.root or job.id
        requester = job.requester or job.requested_by
        lane = (job.registry, job.priority, root)
        is_root = root == job.id
        turn = turns.get(lane)
        if turn is None:
            own = None if is_root else root
            turn = _first_turn(connection, own, requester, job.registry, job.priority)
        turns[lane] = turn + 1
        row = {**_FRESH, **{name: getattr(job, name) for name in _GIVEN}}
        row |= {"root": root, "turn": turn, "created_at": now}
        other = row.pop("other_registry")
        other = _destination(job) if other is None else other
        row |= {"requester": requester, "lane": lane_of(job.registry, other)}
        row["batch_key"] = f"{job.kind} {job.parent or requester}" if job.batched else ""
        if found:  # rows that are inserted together have the same columns
            row |= _ended(job.up_to_date, now)
        rows.append(row)
    if not rows:
        return []
    if connection.execute(_INSERT, rows).rowcount != len(rows):
        inserted = {
            id_
            for some in chunks([row["id"] for row in rows])
            for id_ in connection.execute(_INSERTED, {"ids": some}).scalars()
        }
        rows = [row for row in rows if row["id"] in inserted]
    children.add(
        connection,
        [
            (row["parent"], {row["state"]: 1, **{name: row[name] for name in children.FIGURES}})
            for row in rows
        ],
    )
    events.record_all(
        connection,
        [
            events.NewEvent(
                row["id"],
                row["parent"],
                "queued",
                {"label": row["label"], "kind": row["kind"]},
            )
            for row in rows
        ],
        now,
    )
    events.record_all(
        connection,
        [
            events.NewEvent(
                row["id"], row["parent"], row["state"], {"error": None, "result": row["result"]}
            )
            for row in rows
            if row["id"] in found
        ],
        now,
    )
    return [row["id"] for row in rows]


def _ended(up_to_date: AlreadyThere | None, now: float) -> dict[str, Any]:
    """The columns of a new job that has ended, or that has not."""
    if up_to_date is None:
        return {"started_at": None, "finished_at": None, "result": None}
    return {
        "state": "succeeded",
        "due": False,
        "started_at": now,
        "finished_at": now,
        "result": up_to_date.result,
        "bytes_total": up_to_date.size,
        "bytes_skipped": up_to_date.size,
        "blobs_total": up_to_date.blobs,
        "blobs_skipped": up_to_date.blobs,
    }


def get(connection: Connection, id_: str, *columns: Column[Any]) -> Row[Any] | None:
    """The job's row, or these *columns* of it: spec, plan and result may be megabytes each."""
    return connection.execute(select(*(columns or (jobs,))).where(jobs.c.id == id_)).one_or_none()


def of_request(
    connection: Connection, id_: str, requested_by: str, idempotency_key: str | None
) -> Row[Any, Any] | None:
    """Id and fingerprint of the job that a request with this id, or with this key, has made."""
    same = jobs.c.id == id_
    if idempotency_key is not None:
        same |= (jobs.c.idempotency_key == idempotency_key) & (jobs.c.requested_by == requested_by)
    return connection.execute(select(jobs.c.id, jobs.c.fingerprint).where(same)).first()


def active_of_kind(connection: Connection, kind: str, *, before: int | None = None) -> str | None:
    """The oldest active job of a kind, of those made *before* a seq where one is given."""
    query = select(jobs.c.id).where(text(JOB_ACTIVE), jobs.c.kind == kind)
    if before is not None:
        query = query.where(jobs.c.seq < before)
    return connection.execute(query.order_by(jobs.c.seq).limit(1)).scalar()


def lane_of(registry: str, other: str = "") -> str:
    """The lane of a job that asks these registries; either may be empty."""
    return " ".join(sorted({registry, other} - {""}))


def asked(row: Row[Any]) -> tuple[tuple[str, str], ...]:
    """The registries that a job asks, each with the fingerprint of its credential there."""
    if not row.registry:
        return ()
    others = [name for name in row.lane.split() if name != row.registry]
    if not others and row.other_credential:  # it comes from there, and goes there
        others = [row.registry]
    return (
        (row.registry, row.credential),
        *((name, row.other_credential) for name in others),
    )


def dispatched_with(connection: Connection, id_: str) -> list[Row[Any]]:
    """What decides whether the due jobs may be taken up that were dispatched with this one."""
    found: list[Row[Any]] = [*connection.execute(_DUE_ROW, {"job": id_})]
    if found and found[0].batch:
        where = {"job": id_, "in_queue": found[0].queue, "name": found[0].batch}
        found += [*connection.execute(_DISPATCHED_WITH, where)]
    return found


def undispatch(connection: Connection, ids: Collection[str]) -> None:
    """A message for due jobs was of no use: dispatch them when their turn comes again."""
    connection.execute(_UNDISPATCH, {"ids": sorted(ids)})


def claim(connection: Connection, id_: str, owner: str, now: float) -> JobLease | None:
    """Take the job up, or return None: it is not due, has ended, or someone has it."""
    return next(iter(claim_all(connection, [id_], owner, now)), None)


def claim_all(
    connection: Connection, ids: Collection[str], owner: str, now: float
) -> list[JobLease]:
    """Take jobs up, in turn; without those that are not due, have ended, or that someone has."""
    where = {"ids": sorted(ids), "by": owner, "now": now}
    rows = sorted(connection.execute(_CLAIM, where).all(), key=lambda row: (row.turn, row.seq))
    begun = [row for row in rows if row.fence == 1]
    children.add(connection, [(row.parent, {"queued": -1, "running": 1}) for row in begun])
    events.record_all(
        connection, [events.NewEvent(row.id, row.parent, "running", {}) for row in begun], now
    )
    return [
        JobLease(
            id=row.id,
            seq=row.seq,
            kind=row.kind,
            root=row.root,
            parent=row.parent,
            priority=row.priority,
            spec=row.spec,
            checkpoint=row.checkpoint or {},
            label=row.label,
            queue=row.queue,
            requester=row.requester,
            tenant=row.tenant,
            asks=asked(row),
            attempts=row.attempts,
            fence=row.fence,
            owner=owner,
            stop_requested=row.stop_requested,
            created_at=row.created_at,
            started_at=row.started_at,
            deadline=row.deadline,
        )
        for row in rows
    ]


def held(connection: Connection, leases_: Iterable[JobLease]) -> set[str]:
    """The ids of those jobs that are still held, until the transaction ends."""
    mine = {(one.id, one.fence, one.owner) for one in leases_}
    rows = connection.execute(_HELD, {"ids": sorted(id_ for id_, _, _ in mine)})
    return {row.id for row in rows if (row.id, row.fence, row.owner) in mine}


def save(connection: Connection, lease: JobLease, **values: Any) -> None:
    """Write columns of a job that is held, and what it has learnt; at least make sure that it is.

    A stage that is recorded is progress: deaths before it count no more. Figures are written for
    the job's parent, too.

    Raises:
        LeaseLostError: it is held no more; what was written is to be rolled back.
    """
    save_all(connection, [(lease, values)])


def save_all(
    connection: Connection,
    changes: Iterable[tuple[JobLease, Mapping[str, Any]]],
    statement: Update = _SAVE,
) -> None:
    """The same for several jobs. Rows of which the same is written take one statement.

    Raises:
        LeaseLostError: one of them is held no more; what was written is to be rolled back.
    """
    changes = list(changes)
    _save_figures(connection, changes)
    alike: defaultdict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for lease, values in changes:
        written = {"owner": lease.owner, **values}
        if lease.unsaved:
            written["checkpoint"] = lease.checkpoint
            lease.unsaved = False
        if "checkpoint" in written:
            written |= {"crashes": 0, "alone": False}
        same = {"held": lease.id, "held_fence": lease.fence, "held_by": lease.owner}
        alike[tuple(sorted(written))].append({**written, **same})
    for rows in alike.values():
        if connection.execute(statement, rows).rowcount != len(rows):
            raise LeaseLostError("the job is held by another worker now", subject=rows[0]["held"])


def release(
    connection: Connection,
    lease: JobLease,
    *,
    now: float,
    again_in: float | None = None,
) -> None:
    """Let the job go: until something wakes it, or for *again_in* seconds.

    A job that waits for nothing that is unfinished is due at once, whatever the caller thought.

    Raises:
        LeaseLostError: it is held no more.
    """
    if again_in is None:
        release_all(connection, [lease])
        return
    save(
        connection,
        lease,
        owner=None,
        due=again_in <= 0,
        not_before=now + again_in if again_in > 0 else 0,
        not_before_delay=again_in,
    )


def release_all(connection: Connection, leases_: Iterable[JobLease]) -> None:
    """Let jobs go until something wakes them."""
    let_go = {"owner": None, "not_before": 0, "crashes": 0}
    save_all(connection, [(lease, let_go) for lease in leases_], _RELEASE)


def promote(connection: Connection, now: float, *, limit: int) -> int:
    """Make jobs due that were let go for a time that is over, *limit* at most; say how many."""
    late = (
        select(jobs.c.id)
        .where(text(JOB_DELAYED), due(jobs.c.not_before, jobs.c.not_before_delay, now))
        .order_by(jobs.c.not_before)
        .limit(limit)
    )
    return connection.execute(
        update(jobs).where(jobs.c.id.in_(late)).values(due=True, not_before=0)
    ).rowcount


@dataclass(frozen=True, slots=True)
class End:
    """How a job that is held ends."""

    lease: JobLease
    state: str
    result: dict[str, Any] | None = None
    error: TransshipError | None = None
    superseded_by: str | None = None


def finish(connection: Connection, ends: Iterable[End], now: float) -> None:
    """End held jobs, and let go of everything they held.

    The caller ends the waits of the jobs first (`waits.abandon`), so that their figures are final.

    Raises:
        LeaseLostError: one of them is held no more; what was written is to be rolled back.
    """
    ends = list(ends)
    errors = {
        one.lease.id: {"attempts": one.lease.attempts + 1, **one.error.as_json()}
        for one in ends
        if one.error is not None
    }
    save_all(
        connection,
        [
            (
                one.lease,
                {
                    "state": one.state,
                    "owner": None,
                    "due": False,
                    "finished_at": now,
                    "result": one.result,
                    "error": errors.get(one.lease.id),
                    "superseded_by": one.superseded_by,
                },
            )
            for one in ends
        ],
    )
    parents = children.add(
        connection, [(one.lease.parent, {"running": -1, one.state: 1}) for one in ends]
    )
    _after_end(connection, [one.lease for one in ends], parents)
    events.record_all(
        connection,
        [
            events.NewEvent(
                one.lease.id,
                one.lease.parent,
                one.state,
                {"error": errors.get(one.lease.id), "result": one.result},
            )
            for one in ends
        ],
        now,
    )


def request_stop(connection: Connection, ids: Sequence[str], reason: str, now: float) -> list[str]:
    """Ask jobs to stop. Those that nobody holds end at once, if all their children were asked.

    *ids* are as many as one transaction should hold. Returns the ids of the jobs that ended here;
    the caller abandons their waits.
    """
    chosen = and_(jobs.c.id.in_(ids), text(JOB_IS_ACTIVE))
    state = "cancelled" if reason == "cancelled" else "failed"
    error = stop_error(reason)
    stop = {"stop_requested": reason, "not_before": 0, "not_before_delay": 0}
    # Each row is written once, for it has many indexes; but a job whose children end here ends in
    # a second step.
    ending = (
        update(jobs)
        .where(chosen, jobs.c.owner.is_(None), ~_CHILD_OPEN)
        .values(**stop, state=state, due=False, finished_at=now, error=error)
        .returning(jobs.c.id, jobs.c.root, jobs.c.parent, jobs.c.fence)
    )
    ended = list(connection.execute(ending).all())
    if len(ended) < len(ids):
        asked = update(jobs).where(chosen).values(**stop, due=True).returning(jobs.c.owner)
        if None in connection.execute(asked).scalars().all() and ended:
            ended += connection.execute(ending).all()
    parents = children.add(
        connection,
        [(row.parent, {"running" if row.fence else "queued": -1, state: 1}) for row in ended],
    )
    events.record_all(
        connection,
        [events.NewEvent(row.id, row.parent, state, {"error": error}) for row in ended],
        now,
    )
    _after_end(connection, ended, parents)
    return [row.id for row in ended]


def open_children(connection: Connection, id_: str, *, limit: int) -> list[str]:
    """Active children of a job that were not asked to stop, *limit* at most."""
    query = select(jobs.c.id).where(
        jobs.c.parent == id_, active(jobs), jobs.c.stop_requested.is_(None)
    )
    return list(connection.execute(query.limit(limit)).scalars())


def stop_error(reason: str) -> dict[str, Any] | None:
    """The error of a job that was stopped for *reason*; a cancelled job has none."""
    if reason == "cancelled":
        return None
    return {
        "code": DEADLINE_EXCEEDED,
        "side": "request",
        "subject": "",
        "detail": "the job's deadline passed before it was done",
        "hint": "give it more time with --deadline",
        "retryable": False,
        "attempts": 1,
    }


def past_deadline(connection: Connection, now: float, *, limit: int) -> list[str]:
    """Active jobs past their deadline that were not asked to stop yet, *limit* at most."""
    return list(
        connection.execute(
            select(jobs.c.id)
            .where(
                text(JOB_WITH_DEADLINE),
                jobs.c.deadline <= now,
            )
            .order_by(jobs.c.deadline)
            .limit(limit)
        ).scalars()
    )


# --- inside --------------------------------------------------------------------------------------


def _save_figures(
    connection: Connection, changes: Iterable[tuple[JobLease, Mapping[str, Any]]]
) -> None:
    """Write for parents by how much the figures of their children are about to change."""
    new = {
        lease.id: (
            lease.parent,
            {name: values[name] for name in children.FIGURES if name in values},
        )
        for lease, values in changes
        if lease.parent is not None
    }
    new = {id_: one for id_, one in new.items() if one[1]}
    if not new:
        return
    before = children.figures_of(connection, new)
    children.add(
        connection,
        [
            (parent, {name: value - before[id_][name] for name, value in figures.items()})
            for id_, (parent, figures) in new.items()
        ],
    )


def _after_end(
    connection: Connection, ended: Sequence[JobLease | Row[Any]], parents: Collection[str]
) -> None:
    """Let go of what the jobs held; wake *parents*, of which no child is active any more."""
    for some in chunks(ended):
        ids = [one.id for one in some]
        connection.execute(_LET_GO, {"ids": ids})
        connection.execute(_FREE_TARGETS, {"ids": ids})
        connection.execute(_FORGET_CREDENTIALS, {"ids": sorted({one.root for one in some})})
    for some_parents in chunks(sorted(parents)):
        connection.execute(_WAKE_PARENTS, {"ids": some_parents})


def _destination(job: NewJob) -> str:
    named = job.spec.get("destination") if job.kind == "copy" else None
    return Reference.parse(named).domain if named else ""


def _first_turn(
    connection: Connection, root: str | None, requester: str, registry: str, priority: int
) -> int:
    """Where jobs of a *root* queue, behind what it has there; None: a new one has nothing yet."""
    lane = {"in_registry": registry, "with_priority": priority}
    head = connection.execute(_HEAD, {**lane, "by_requester": requester}).scalar()
    last = None
    if root is not None:
        last = connection.execute(_LAST_OF_ROOT, {**lane, "of_root": root}).scalar()
    return max(head or 0, (last + 1) if last is not None else 0)
