"""What jobs wait for: a wait joins a job to a transfer, and brings the place the job may use.

The job's side of a transfer: here it is wanted, let go of, and its end told to those who wait.
How it is taken up and what comes of it is in `transfers`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BindParameter,
    Connection,
    Row,
    Update,
    and_,
    bindparam,
    exists,
    func,
    insert,
    literal_column,
    or_,
    select,
    text,
    update,
)

from transship.store.catalog.content import blobs
from transship.store.catalog.db.schema import (
    JOB_WAITING,
    SMALL_BLOB_BYTES,
    TRANSFER_ACTIVE,
    TRANSFER_DOWNLOAD,
    jobs,
    transfers,
    waits,
)
from transship.store.catalog.db.sql import chunks, new_ids, upsert
from transship.store.catalog.scheduling import progress
from transship.store.catalog.scheduling.admission import lanes, parking, sources
from transship.store.catalog.scheduling.admission.sources import WaitSource
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.catalog.scheduling.progress import Carried, EndedWait

# Of a transfer: nobody waits for it, or nobody does any more.
UNWANTED: Final = ~exists().where(waits.c.transfer == transfers.c.id, text("NOT waits.ended"))

# --- statements of the hot path, built once: to build one takes longer than to run it ------------

_ACTIVE_COLUMNS = (
    *("id", "direction", "digest", "registry", "credential", "root", "requester"),
    *("priority", "turn", "state", "elsewhere"),
)
_ACTIVE = (
    select(transfers.c.key, *(transfers.c[name] for name in _ACTIVE_COLUMNS))
    .where(transfers.c.key.in_(bindparam("wanted", expanding=True)), text(TRANSFER_ACTIVE))
    .order_by(transfers.c.key)
    .with_for_update()
)
# What joining changes.
_MUTABLE = ("priority", "requester", "turn", "state", "elsewhere")
_JOINED = (
    update(transfers)
    .where(transfers.c.id == bindparam("joined"))
    .values(stop_requested=False, **{name: bindparam(f"to_{name}") for name in _MUTABLE})
)
_WAIT = upsert(waits).on_conflict_do_nothing()
_INSERT_ALL = insert(transfers)
_INSERT = _INSERT_ALL.returning(transfers.c.id)
_FRESH: Final[dict[str, Any]] = {
    "state": "pending",
    **dict.fromkeys(("stop_requested", "telling", "elsewhere"), False),
    **dict.fromkeys(("not_before", "not_before_delay", "dispatched_until"), 0),
    **dict.fromkeys(("attempts", "tries", "furthest", "upload_offset"), 0),
    **dict.fromkeys(("fence", "beat", "crashes", "furthest_at_death"), 0),
    **dict.fromkeys(("bytes_done", "bytes_moved"), 0),
}
_LAST_FENCES = (
    select(transfers.c.digest, func.max(transfers.c.fence).label("fence"))
    .where(
        transfers.c.digest.in_(bindparam("same", expanding=True)),
        text(TRANSFER_DOWNLOAD),
    )
    .group_by(transfers.c.digest)
)
_OF_JOBS = (
    select(
        *(waits.c.job, transfers.c.direction, transfers.c.digest),
        *(waits.c.ended, waits.c.error),
    )
    .join(transfers, transfers.c.id == waits.c.transfer)
    .where(waits.c.job.in_(bindparam("ids", expanding=True)))
    .order_by(transfers.c.id)
)
MAX_TOLD = 500  # jobs a transaction that are told that a transfer has ended

_WAITED_FOR: BindParameter[Sequence[int]] = bindparam("waited_for", expanding=True)
_OPEN = select(waits.c.job).where(waits.c.transfer.in_(_WAITED_FOR), text("NOT ended"))
_ELSEWHERE = or_(
    waits.c.registry != bindparam("at_registry"), waits.c.repository != bindparam("at_repository")
)
_OF_PLACE = (
    waits.c.registry == bindparam("at_registry"),
    waits.c.repository == bindparam("at_repository"),
    waits.c.fingerprint == bindparam("with_credential"),
)
_LEFT = (
    *(waits.c.job, waits.c.transfer, waits.c.joined, waits.c.counted),
    select(jobs.c.parent).where(jobs.c.id == waits.c.job).scalar_subquery().label("parent"),
)
_END, _END_OF_PLACE = (
    update(waits)
    .where(
        waits.c.transfer.in_(_WAITED_FOR),
        waits.c.job.in_(page.limit(MAX_TOLD)),
        text("NOT ended"),
    )
    .values(ended=True, error=bindparam("failure"))
    .returning(*_LEFT)
    for page in (_OPEN, _OPEN.where(*_OF_PLACE))
)
# Some wait for a transfer who have not brought the place that served it.
SOME_FROM_ELSEWHERE: Final = exists().where(
    waits.c.transfer == transfers.c.id, text("NOT waits.ended"), _ELSEWHERE
)
_MOVE = (
    update(waits)
    .where(waits.c.transfer == bindparam("waited_for"), text("NOT ended"), _ELSEWHERE)
    .values(transfer=bindparam("now_for"))
)
_TELLING = (
    update(transfers)
    .where(transfers.c.id.in_(_WAITED_FOR))
    .values(telling=bindparam("more"), error=bindparam("failure"))
)
_CARRIED = (transfers.c.id, transfers.c.state, transfers.c.bytes_done, transfers.c.bytes_moved)
_UNTOLD = select(*_CARRIED, transfers.c.error).where(text("telling")).limit(1)
_WAKE_ALL = (
    update(jobs)
    .where(jobs.c.id.in_(bindparam("ids", expanding=True)), text(JOB_WAITING))
    .values(due=True)
)
_HAS_ALL = ~exists().where(waits.c.job == jobs.c.id, text("NOT waits.ended"))
_WAKE = _WAKE_ALL.where(_HAS_ALL)
# Uploads that somebody may have for whom the blob has come now.
_DOWNLOAD, _FOR_IT, _FOR_UPLOAD = transfers.alias("download"), waits.alias(), waits.alias()
_UNBLOCKED = (
    select(*(transfers.c[name] for name in ("id", "registry", "priority", "root", "requester")))
    .join_from(
        _DOWNLOAD,
        transfers,
        and_(transfers.c.digest == _DOWNLOAD.c.digest, transfers.c.size == _DOWNLOAD.c.size),
    )
    .where(
        _DOWNLOAD.c.id.in_(_WAITED_FOR),
        _DOWNLOAD.c.direction == literal_column("'download'"),
        text("transfers.state = 'blocked'"),
        exists()
        .where(
            _FOR_IT.c.transfer == _DOWNLOAD.c.id,
            _FOR_IT.c.ended,
            _FOR_IT.c.error.is_(None),
            _FOR_UPLOAD.c.job == _FOR_IT.c.job,
            _FOR_UPLOAD.c.transfer == transfers.c.id,
            ~_FOR_UPLOAD.c.ended,
        )
        .correlate(_DOWNLOAD, transfers),
    )
    .order_by(transfers.c.id)
)
# The contrary: uploads that queue, and for none of whose jobs the blob has come.
_OPEN_DOWNLOAD = exists().where(
    _FOR_IT.c.job == _FOR_UPLOAD.c.job,
    ~_FOR_IT.c.ended,
    _DOWNLOAD.c.id == _FOR_IT.c.transfer,
    _DOWNLOAD.c.direction == literal_column("'download'"),
    _DOWNLOAD.c.digest == transfers.c.digest,
    _DOWNLOAD.c.size == transfers.c.size,
)
_OF_UPLOAD = (_FOR_UPLOAD.c.transfer == transfers.c.id, ~_FOR_UPLOAD.c.ended)
_BLOCK_AGAIN = (
    update(transfers)
    .where(
        transfers.c.id.in_(_WAITED_FOR),
        transfers.c.direction == literal_column("'upload'"),
        text("state IN ('pending', 'delayed')"),
        exists().where(*_OF_UPLOAD).correlate(transfers),
        ~exists()
        .where(*_OF_UPLOAD, ~_OPEN_DOWNLOAD.correlate(transfers, _FOR_UPLOAD))
        .correlate(transfers),
    )
    .values(state="blocked", turn=0, not_before=0)
)
_QUEUE = (
    update(transfers)
    .where(transfers.c.id == bindparam("unblocked"))
    .values(state="pending", turn=bindparam("at"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A blob that a job wants moved, and the place in a registry that the job may use for it."""

    direction: str
    digest: str
    size: int
    media_type: str
    registry: str
    repository: str
    fingerprint: str
    counted: bool = True  # its bytes are the job's progress
    absent_at: float = 0.0  # when the destination of an upload was found to lack it
    after: Wanted | None = None  # the download that an upload has to wait for

    @property
    def key(self) -> str:
        """What makes the transfer the same one for several jobs.

        The size belongs to it: a manifest may claim a wrong one, and whoever believes that must
        not have a part in what becomes of the others.
        """
        if self.direction == "download":
            return f"download {self.digest} {self.size}"
        return f"upload {self.digest} {self.registry} {self.repository} {self.size}"


class Woken(NamedTuple):
    """What became possible when a transfer ended."""

    jobs: bool = False  # one is due
    uploads: bool = False  # one queues that was blocked


@dataclass(frozen=True, slots=True)
class WaitState:
    """How it stands with one blob that a job waits for."""

    direction: str
    digest: str
    ended: bool
    error: dict[str, Any] | None


@dataclass(slots=True)
class _Transfer:
    """An active transfer, as its row is or is going to be."""

    id: int
    direction: str
    digest: str
    registry: str
    credential: str
    root: str
    requester: str
    priority: int
    turn: int
    state: str
    new: bool = False
    elsewhere: bool = False


def want(
    connection: Connection,
    wishes: Iterable[tuple[JobLease, Sequence[Wanted]]],
    now: float,
    *,
    shared: bool = False,
) -> None:
    """Make jobs that are held wait for blobs, joining transfers that are active already.

    Joining raises the transfer's priority to the job's, gives it the job's turn if that is
    earlier, and takes back a request to stop. Wanting twice is wanting once. A blob that has
    arrived, in the store or at the destination, since the job looked is not moved again: the job
    looks again instead. What the store holds by way of others has not arrived for this job, unless
    trust is *shared*.

    An upload whose blob is still to come is blocked, until the blob has come for one of those who
    wait for it. One that is on its way already needs no download.

    Rows are made in the order of the jobs. Large blobs of a job get the first turns, the largest
    first: it takes longest.
    """
    ordered = [
        (lease, one)
        for lease, wanted in wishes
        for one in sorted(wanted, key=lambda one: -one.size if one.size > SMALL_BLOB_BYTES else 0)
    ]
    everything = {
        one.key: one
        for _, wanted in ordered
        for one in (wanted, *([wanted.after] if wanted.after is not None else []))
    }
    arrived = _arrived(connection, [one for _, one in ordered], now, shared=shared)
    arrived |= _arrived(
        connection, [one.after for _, one in ordered if one.after is not None], now, shared=shared
    )
    look_again = sorted({lease.id for lease, one in ordered if one.key in arrived})
    for ids in chunks(look_again):
        connection.execute(update(jobs).where(jobs.c.id.in_(ids)).values(due=True))
    for direction, registry in {(one.direction, one.registry) for one in everything.values()}:
        lanes.open_lane(connection, direction, registry)
    wishing = _Wishing(connection, _active(connection, everything), now)
    for lease, one in ordered:
        if one.key not in arrived:
            wishing.add(lease, one, has_blob=one.after is None or one.after.key in arrived)
    wishing.write(everything)


class _Wishing:
    """The transfers and waits of some wishes, worked out first and written together."""

    def __init__(self, connection: Connection, active: dict[str, _Transfer], now: float) -> None:
        self._connection = connection
        self._active = active
        self._now = now
        self._turns: dict[tuple[str, str], lanes.Turns] = {}
        self._new: dict[str, dict[str, Any]] = {}  # rows to be, by key
        self._joined: dict[str, _Transfer] = {}
        self._waits: list[tuple[str, dict[str, Any]]] = []

    def add(self, lease: JobLease, one: Wanted, *, has_blob: bool) -> None:
        """Let a job wait for a blob; for its download first, where it needs one."""
        there = self._active.get(one.key)
        blocked = not has_blob and (there is None or there.state == "blocked")
        if blocked:
            assert one.after is not None
            self._wait(lease, one.after, blocked=False)
        self._wait(lease, one, blocked=blocked)

    def write(self, wanted: Mapping[str, Wanted]) -> None:
        """Write it all down."""
        connection = self._connection
        if self._new:
            ids = new_ids(connection, transfers, len(self._new))
            fences = _last_fences(connection, [wanted[key] for key in self._new])
            rows = []
            for id_, (key, row) in zip(ids, self._new.items(), strict=True):
                made = self._active[key]
                made.id = id_
                rows.append(
                    {
                        **row,
                        "id": id_,
                        "fence": fences.get(made.digest, 0) if made.direction == "download" else 0,
                        **{name: getattr(made, name) for name in _MUTABLE},
                    }
                )
            connection.execute(_INSERT_ALL, rows)
        joined = [one for one in self._joined.values() if not one.new]
        if joined:
            connection.execute(
                _JOINED,
                [
                    {"joined": one.id, **{f"to_{name}": getattr(one, name) for name in _MUTABLE}}
                    for one in joined
                ],
            )
        if self._waits:
            connection.execute(
                _WAIT, [{**row, "transfer": self._active[key].id} for key, row in self._waits]
            )
        self._pass_on(joined)

    def _wait(self, lease: JobLease, one: Wanted, *, blocked: bool) -> None:
        active = self._active.get(one.key)
        if active is None:
            self._make(lease, one, blocked=blocked)
        else:
            self._join(lease, one, active, blocked=blocked)
        row = {
            "job": lease.id,
            "registry": one.registry,
            "repository": one.repository,
            "fingerprint": one.fingerprint,
            "priority": lease.priority,
            "seq": lease.seq,
            "joined": active is not None,
            "counted": one.counted,
            "ended": False,
        }
        self._waits.append((one.key, row))

    def _make(self, lease: JobLease, one: Wanted, *, blocked: bool) -> None:
        turn = 0  # until it queues
        if not blocked:
            turn = self._of(lease.root, lease.requester).take(
                self._connection, one.direction, one.registry, lease.priority
            )
        self._active[one.key] = _Transfer(
            id=0,
            direction=one.direction,
            digest=one.digest,
            registry=one.registry,
            credential=one.fingerprint,
            root=lease.root,
            requester=lease.requester,
            priority=lease.priority,
            turn=turn,
            state="blocked" if blocked else "pending",
            new=True,
        )
        self._new[one.key] = {
            **_FRESH,
            "key": one.key,
            "direction": one.direction,
            "digest": one.digest,
            "size": one.size,
            "media_type": one.media_type,
            "registry": one.registry,
            "repository": one.repository,
            "credential": one.fingerprint,
            "root": lease.root,
            "counted": one.counted,
            "created_at": self._now,
        }

    def _join(self, lease: JobLease, one: Wanted, active: _Transfer, *, blocked: bool) -> None:
        self._joined[one.key] = active
        if active.state == "blocked":
            if lease.priority > active.priority:
                active.priority, active.requester = lease.priority, lease.requester
            if not blocked:  # this job has the blob
                lane = (active.direction, active.registry, active.priority)
                active.turn = self._of(active.root, active.requester).take(self._connection, *lane)
                active.state = "pending"
            return
        brought = (one.registry, one.fingerprint)
        if active.direction == "download" and brought != (active.registry, active.credential):
            active.elsewhere = True
        if lease.priority < active.priority or lease.root == active.root:
            return
        lane = (active.direction, active.registry, lease.priority)
        connection = self._connection
        mine = self._of(lease.root, lease.requester).take(connection, *lane)
        sooner = lease.priority > active.priority or (
            lanes.behind_head(connection, lease.requester, *lane, mine)
            < lanes.behind_head(connection, active.requester, *lane, active.turn)
        )
        if sooner:
            active.priority, active.requester = lease.priority, lease.requester
            active.turn = mine

    def _of(self, root: str, requester: str) -> lanes.Turns:
        return self._turns.setdefault((root, requester), lanes.Turns(root, requester))

    def _pass_on(self, joined: Sequence[_Transfer]) -> None:
        """What queues where it cannot be had now may have found a better source."""
        queued = [
            one
            for one in joined
            if one.direction == "download" and one.state in ("pending", "delayed")
        ]
        if not queued:
            return
        state = lanes.state(self._connection, self._now)
        for one in queued:
            closed = one.registry in state.closed
            if closed or state.until([(one.registry, one.credential)]) is not None:
                parking.pass_on(self._connection, one.id, self._now)


def of_job(connection: Connection, job: str) -> list[WaitState]:
    """Every blob that the job has waited for, ended or not."""
    return of_jobs(connection, [job])[job]


def of_jobs(connection: Connection, ids: Collection[str]) -> dict[str, list[WaitState]]:
    """The same for each of several jobs."""
    found: dict[str, list[WaitState]] = {id_: [] for id_ in ids}
    for some in chunks(ids):
        for id_, *state in connection.execute(_OF_JOBS, {"ids": some}):
            found[id_].append(WaitState(*state))
    return found


def jobs_of(connection: Connection, id_: int, *, limit: int) -> list[str]:
    """Some of the jobs that still wait for a transfer, *limit* at most."""
    return list(connection.execute(_OPEN.limit(limit), {"waited_for": [id_]}).scalars())


def abandon(connection: Connection, ended_jobs: Sequence[str], now: float) -> bool:
    """Jobs wait no longer. Transfers that nobody waits for any more are asked to stop.

    An upload that only those wait for who have not got the blob themselves is blocked again.

    Returns whether they waited for some.
    """
    left: list[Row[Any]] = []
    for some in chunks(ended_jobs):
        left += connection.execute(
            update(waits)
            .where(waits.c.job.in_(some), text("NOT ended"))
            .values(ended=True)
            .returning(*_LEFT)
        ).all()
    _credit_left(connection, [wait for wait in left if wait.counted])
    for ids in chunks(sorted({wait.transfer for wait in left})):
        lonely = and_(transfers.c.id.in_(ids), UNWANTED)
        connection.execute(
            update(transfers)
            .where(lonely, text("state IN ('blocked', 'pending', 'delayed', 'admitted')"))
            .values(state="cancelled", finished_at=now, upload_session=None)
        )
        connection.execute(
            update(transfers).where(lonely, text("state = 'running'")).values(stop_requested=True)
        )
        connection.execute(_BLOCK_AGAIN, {"waited_for": ids})
    return bool(left)


def end(
    connection: Connection, ended: Mapping[int, Carried], *, error: dict[str, Any] | None
) -> Woken:
    """Transfers have ended, with *error* if they failed: tell those who wait for them.

    What each has *carried* is written down as the progress of their jobs. Very many are told in
    pages: this is the first one, and `tell_more` does the others. Returns what became possible.
    """
    told = _tell(connection, _END, {"waited_for": list(ended), "failure": error}, ended)
    if told.more:
        where = {"waited_for": list(ended), "more": True, "failure": error}
        connection.execute(_TELLING, where)
    return Woken(told.woken > 0, uploads=told.unblocked > 0)


def telling(connection: Connection) -> bool:
    """Whether some who wait for a transfer that has ended were not told yet."""
    return connection.execute(_UNTOLD).first() is not None


def tell_more(connection: Connection) -> bool:
    """Tell another page of those who wait for a transfer that has ended; False: all are told."""
    row = connection.execute(_UNTOLD).one_or_none()
    if row is None:
        return False
    where = {"waited_for": [row.id], "failure": row.error}
    if not _tell(connection, _END, where, {row.id: _carried(row)}).more:
        connection.execute(_TELLING, {**where, "more": False})
    return True


def hand_on(connection: Connection, id_: int, source: WaitSource, now: float) -> None:
    """Give those who may not be served with bytes of *place* a transfer of their own.

    Call it when the transfer has ended, before those who are served are told, and only if there
    are `SOME_FROM_ELSEWHERE`.
    """
    where = {
        "waited_for": id_,
        "at_registry": source.registry,
        "at_repository": source.repository,
    }
    old = connection.execute(select(transfers).where(transfers.c.id == id_)).one()
    same = (
        *("key", "direction", "digest", "size", "media_type"),
        *("root", "requester", "counted", "priority", "fence"),
    )
    row = {
        **_FRESH,
        **{name: getattr(old, name) for name in same},
        "registry": source.registry,
        "repository": source.repository,
        "turn": 0,
        "created_at": now,
    }
    new = int(connection.execute(_INSERT, row).scalar_one())
    connection.execute(_MOVE, {**where, "now_for": new})
    found = sources.of_transfer(connection, new, now)
    best = found[0]
    lanes.open_lane(connection, old.direction, best.registry)
    turns = lanes.Turns(old.root, old.requester)
    connection.execute(
        update(transfers)
        .where(transfers.c.id == new)
        .values(
            registry=best.registry,
            repository=best.repository,
            credential=best.fingerprint,
            elsewhere=any(
                (one.registry, one.fingerprint) != (best.registry, best.fingerprint)
                for one in found
            ),
            turn=turns.take(connection, old.direction, best.registry, old.priority),
        )
    )


def exclude(
    connection: Connection, id_: int, source: WaitSource, carried: Carried, error: dict[str, Any]
) -> None:
    """End the waits of a transfer that brought *place*, and tell their jobs why.

    What it has *carried* until now stays the progress of these jobs.
    """
    where = {
        "waited_for": [id_],
        "at_registry": source.registry,
        "at_repository": source.repository,
        "with_credential": source.fingerprint,
        "failure": error,
    }
    while _tell(connection, _END_OF_PLACE, where, {id_: carried}).more:
        pass


# --- inside --------------------------------------------------------------------------------------


class _Told(NamedTuple):
    woken: int  # jobs
    unblocked: int  # uploads
    more: bool  # there may be others to tell


def _tell(
    connection: Connection,
    statement: Update,
    where: Mapping[str, Any],
    carried: Mapping[int, Carried],
) -> _Told:
    """End a page of waits, credit and wake their jobs, unblock their uploads.

    A job whose wait has failed has something to do at once. Else it is woken by its last wait.
    """
    told = connection.execute(statement, where).all()
    failed = where["failure"] is not None
    ended = [_ended(one, carried[one.transfer]) for one in told if one.counted]
    progress.credit(connection, ended)
    wake = _WAKE_ALL if failed else _WAKE
    woken = sum(
        connection.execute(wake, {"ids": some}).rowcount
        for some in chunks(sorted({one.job for one in told}))
    )
    unblocked = 0 if failed else _unblock(connection, where["waited_for"])
    return _Told(woken, unblocked, more=len(told) >= MAX_TOLD)


def _unblock(connection: Connection, ended: Sequence[int]) -> int:
    """Let uploads queue for one of whose jobs the blob has come, by a download that has *ended*."""
    rows = connection.execute(_UNBLOCKED, {"waited_for": ended}).all()
    turns: dict[tuple[str, str], lanes.Turns] = {}
    queued: dict[int, int] = {}
    for row in rows:
        owner = (row.root, row.requester)
        mine = turns.setdefault(owner, lanes.Turns(*owner))
        if row.id not in queued:
            queued[row.id] = mine.take(connection, "upload", row.registry, row.priority)
    if queued:
        connection.execute(_QUEUE, [{"unblocked": id_, "at": at} for id_, at in queued.items()])
    return len(queued)


def _active(connection: Connection, keys: Iterable[str]) -> dict[str, _Transfer]:
    """The active transfers of some keys, locked."""
    return {
        row.key: _Transfer(**{name: getattr(row, name) for name in _ACTIVE_COLUMNS})
        for some in chunks(sorted(keys))
        for row in connection.execute(_ACTIVE, {"wanted": some})
    }


def _last_fences(connection: Connection, wanted: Iterable[Wanted]) -> dict[str, int]:
    """Where fences go on: what an earlier download of the same blob left behind has its own."""
    digests = sorted({one.digest for one in wanted if one.direction == "download"})
    return {
        row.digest: row.fence
        for some in chunks(digests)
        for row in connection.execute(_LAST_FENCES, {"same": some})
    }


def _credit_left(connection: Connection, left: Sequence[Row[Any]]) -> None:
    """Credit jobs with what the transfers have carried that they wait for no longer."""
    carried: dict[int, Carried] = {}
    for ids in chunks(sorted({wait.transfer for wait in left})):
        # Most have carried nothing, and are not even read in whole.
        some = select(*_CARRIED).where(transfers.c.id.in_(ids), transfers.c.bytes_done > 0)
        carried |= {row.id: _carried(row) for row in connection.execute(some)}
    progress.credit(
        connection,
        [_ended(wait, carried[wait.transfer]) for wait in left if wait.transfer in carried],
    )


def _ended(wait: Row[Any], carried: Carried) -> EndedWait:
    return EndedWait(wait.job, wait.parent, wait.joined, carried)


def _carried(row: Any) -> Carried:
    return Carried(row.bytes_done, row.bytes_moved, whole=row.state == "done")


def _arrived(
    connection: Connection, wanted: Sequence[Wanted], now: float, *, shared: bool
) -> set[str]:
    """The keys of those whose job has to look again, for there is nothing to be moved for it.

    That is so too where the store holds the blob with another size: what the job believes is wrong.
    """
    found: set[str] = set()
    downloads = [one for one in wanted if one.direction == "download"]
    held = blobs.sizes(connection, [one.digest for one in downloads], now)
    by_repository: dict[tuple[str, str], list[Wanted]] = {}
    for one in downloads:
        if one.digest not in held:
            continue
        if shared or held[one.digest] != one.size:
            found.add(one.key)
        else:
            by_repository.setdefault((one.registry, one.repository), []).append(one)
    for (registry, repository), some in by_repository.items():
        digests = [one.digest for one in some]
        own = blobs.proven(connection, digests, registry=registry, repository=repository)
        found.update(one.key for one in some if one.digest in own)
    uploads: dict[blobs.Source, list[Wanted]] = {}
    for one in wanted:
        if one.direction == "upload":
            source = blobs.Source(one.registry, one.repository, one.fingerprint)
            uploads.setdefault(source, []).append(one)
    for source, some in uploads.items():
        seen = blobs.confirmed_at(connection, sorted({one.digest for one in some}), source)
        found.update(one.key for one in some if seen.get(one.digest, 0.0) > one.absent_at)
    return found
