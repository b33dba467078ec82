"""A batch of jobs, from its message to the next state of each row.

Its jobs are advanced side by side by one thread. What they need is met together (`steps.needs`);
what fails leaves by itself, and decides nothing for the others.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from transship.store.catalog.scheduling import jobs
from transship.store.catalog.scheduling.admission import lanes, parking
from transship.store.catalog.scheduling.admission.parking import Probe
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.errors import (
    InternalError,
    Interruption,
    LeaseLostError,
    StoreError,
    TransshipError,
)
from transship.workers.handlers import HANDLERS
from transship.workers.process.outcomes import settle, settle_error
from transship.workers.registry.transport.transport import attentive
from transship.workers.runtime import task_events
from transship.workers.runtime.context import Change, WorkerContext
from transship.workers.runtime.leases import (
    CONTROL_BOUND_SECONDS,
    LeaseMonitor,
    LeaseRenewer,
    stop_exception,
)
from transship.workers.runtime.missing import looked_again
from transship.workers.specs import KINDS
from transship.workers.steps.needs import Ask, Piece, Steps, Transact
from transship.workers.steps.outcome import Outcome

log = logging.getLogger(__name__)

MAX_ROWS = 1024  # of a transaction, unless one job alone writes more


def run_batch(id_: str, worker: str, context: WorkerContext, renewer: LeaseRenewer) -> None:
    """Take up a due job, with those that were dispatched with it, and bring each as far as it gets.

    A repeated message does nothing.
    """
    leases, probes = _claim(id_, worker, context)
    if not leases:
        return
    for probe in probes:
        context.registries.probe(probe.registry, probe.until)
    begun = [lease.id for lease in leases if lease.fence == 1]
    if begun:
        context.wire.announce(begun)
        context.wire.report(task_events.claimed(leases))
    with ExitStack() as kept:
        members = [Member(lease, kept.enter_context(renewer.keep(lease))) for lease in leases]
        Batch(members, context).run()


def _claim(id_: str, worker: str, context: WorkerContext) -> tuple[list[JobLease], list[Probe]]:
    """Take up due jobs whose registries are open; with the leaves to go ahead at them.

    A registry that has been closed since they were dispatched leaves them as they are: due, when
    that opens. Who asks one ahead of others goes alone.
    """
    with context.catalog.write() as connection:
        now = context.now()
        rows = jobs.dispatched_with(connection, id_)
        if not rows:
            return [], []
        state = lanes.state(connection, now)
        ready: list[str] = []
        for row in rows:
            asked = jobs.asked(row)
            closed = any(registry in state.closed for registry, _ in asked) or state.until(asked)
            if row.stop_requested is not None or not closed:
                ready.append(row.id)
        first = next((row for row in rows if row.id in ready and row.stop_requested is None), None)
        ahead = [] if first is None else [one for one, _ in jobs.asked(first)]
        ahead = [one for one in ahead if one in state.half_open]
        leaves = [parking.enter(connection, one, now) for one in ahead]
        if first is not None and ahead:
            ready = [first.id]
        left = {row.id for row in rows} - set(ready)
        if left:
            jobs.undispatch(connection, left)
        leases = jobs.claim_all(connection, ready, worker, now)
        for lease in leases:
            lease.listening = any((lease.queue, one) in state.listening for one, _ in lease.asks)
        return leases, [leave for leave in leaves if isinstance(leave, Probe)]


class Member:
    """One job of a batch: its lease, and how far its handler is."""

    def __init__(self, lease: JobLease, monitor: LeaseMonitor) -> None:
        """Nothing is begun."""
        self.lease = lease
        self.monitor = monitor
        self.need: Ask[Any, Any] | Transact[Any, Any] | None = None
        self.outcome: Outcome | TransshipError | None = None
        self.settled = False
        self.failing = False  # one of the questions that it asks now has failed
        self._steps: Steps[Outcome] | None = None

    def begin(self, context: WorkerContext) -> None:
        """Run the handler to its first need, or to its end."""
        with self._running():
            if KINDS[self.lease.kind].leaves_drafts:  # its last owner may have died
                context.content.discard_drafts(self.lease.id)
            if self.lease.stop_requested is not None:
                raise stop_exception(self.lease.stop_requested)
            with attentive(self.monitor.check, listener=self.monitor):
                handled = HANDLERS[self.lease.kind](self.lease, context, self.monitor)
                if isinstance(handled, Generator):
                    self._steps = handled
                    self.need = next(handled)
                else:
                    self.outcome = handled

    def go_on(self, met: Any) -> None:
        """Run the handler to its next need, or to its end, with what its last one was met by."""
        assert self._steps is not None
        self.failing = False
        with self._running(), attentive(self.monitor.check, listener=self.monitor):
            if isinstance(met, BaseException):
                self.need = self._steps.throw(met)
            else:
                self.need = self._steps.send(met)

    @contextmanager
    def _running(self) -> Iterator[None]:
        """What ends the handler in this block is its outcome."""
        self.need = None
        try:
            yield
        except StopIteration as end:
            self.outcome = end.value
        except TransshipError as error:
            self.outcome = error
        except Exception as error:
            log.exception("job %s failed", self.lease.id)
            text = f"{type(error).__name__}: {error}"
            self.outcome = InternalError(text, subject=self.lease.label)


class Batch:
    """Jobs of one kind and lane that this process holds and advances together."""

    def __init__(self, members: Sequence[Member], context: WorkerContext) -> None:
        """All of *members* are held; whoever made them renews their leases until this has run."""
        self._members = members
        self._context = context
        # Only handlers that are made for it run in the middle of a transaction.
        self._together = all(KINDS[one.lease.kind].batched for one in members)

    def run(self) -> None:
        """Bring each job as far as it gets, and let go of it."""
        for member in self._members:
            member.begin(self._context)
        while self._active:
            while asking := [one for one in self._active if isinstance(one.need, Ask)]:
                self._ask(asking)
            for member in self._active:
                if isinstance(member.outcome, TransshipError):
                    self._settle_error(member, member.outcome)
            if self._active:
                try:
                    self._transact()
                except StoreError as error:
                    for member in self._active:
                        member.need, member.outcome = None, error

    @property
    def _active(self) -> list[Member]:
        return [one for one in self._members if not one.settled]

    # --- questions ---

    def _ask(self, asking: Sequence[Member]) -> None:
        """Meet the questions of these members, those that several share once."""
        questions: dict[Member, list[_Question]] = {}
        for member in asking:
            assert isinstance(member.need, Ask)
            questions[member] = [_Question(member, member.need, item) for item in member.need.items]
        left = [one for some in questions.values() for one in some]
        while left:
            first: dict[Hashable, _Question] = {}
            for one in left:
                first.setdefault(one.key, one)
            for one in first.values():
                if one.registry is None:
                    one.answer()
            of_registries = [one for one in first.values() if one.registry is not None]
            self._context.probes.ask(
                _Question.answer, of_registries, of=lambda one: one.registry or ""
            )
            for one in left:
                one.take(first[one.key])
            left = [one for one in left if not one.answered and not one.member.failing]
        for member, mine in questions.items():
            failed = next((one.error for one in mine if one.error is not None), None)
            member.go_on(failed if failed is not None else [one.result for one in mine])

    # --- transactions ---

    def _transact(self) -> None:
        """Meet what is needed of a transaction, and write down what has come of others."""
        active = self._active
        with self._context.change() as change:
            change.directions, change.queues = [], ()
            ours = jobs.held(change.connection, [one.lease for one in active])
            for member in active:
                if member.lease.id not in ours:
                    log.warning("job %s: it is held by another worker now", member.lease.id)
                    member.settled = True
            active = [one for one in active if not one.settled]
            room = _Room(MAX_ROWS)
            met = self._meet(change, active, room)
            while met and self._together:
                met = self._meet(change, active, room) if self._go_on(met) else []
            ended = [one for one in active if isinstance(one.outcome, Outcome)]
            self._let_go(change, ended)
        for member in ended:
            member.settled = True
        self._go_on(met)

    def _meet(
        self, change: Change, active: Sequence[Member], room: _Room
    ) -> list[tuple[Member, Any]]:
        """Call each piece once for all that need it and for which there is room."""
        pieces: dict[Piece[Any, Any], list[Member]] = {}
        for member in active:
            if isinstance(member.need, Transact) and room.take(member.need.rows):
                pieces.setdefault(member.need.piece, []).append(member)
                change.directions = {*change.directions, *member.need.admits}
        met: list[tuple[Member, Any]] = []
        for piece, members in pieces.items():
            met += self._call(change, piece, members)
        return met

    def _call(
        self, change: Change, piece: Piece[Any, Any], members: Sequence[Member]
    ) -> list[tuple[Member, Any]]:
        """Call a piece; where that fails with several, for each by itself, so that one fails."""
        needs = [
            (one.lease, one.need.argument) for one in members if isinstance(one.need, Transact)
        ]
        try:
            with change.connection.begin_nested():
                results = piece(change.connection, change.now, needs)
        except (TransshipError, ArithmeticError, ValueError, TypeError, LookupError) as error:
            if isinstance(error, StoreError):
                raise  # the database is at fault, and nothing that follows would be better
            if len(members) == 1:
                return [(members[0], error)]
            return [met for one in members for met in self._call(change, piece, [one])]
        return list(zip(members, results, strict=True))

    @staticmethod
    def _go_on(met: Sequence[tuple[Member, Any]]) -> bool:
        """Let members go on; whether one needs more of the transaction."""
        for member, result in met:
            member.go_on(result)
        return any(isinstance(member.need, Transact) for member, _ in met)

    @staticmethod
    def _let_go(change: Change, ended: Sequence[Member]) -> None:
        for member in ended:
            member.lease.listening &= member.monitor.has_heard
        if ended:
            outcomes = [(one.lease, one.outcome) for one in ended]
            settle(change, [(lease, one) for lease, one in outcomes if isinstance(one, Outcome)])

    def _settle_error(self, member: Member, error: TransshipError) -> None:
        member.settled = True
        member.lease.listening &= member.monitor.has_heard
        if isinstance(error, LeaseLostError):
            log.warning("job %s: %s", member.lease.id, error)
            return
        try:
            settle_error(member.lease, self._context, looked_again(error, self._context))
        except LeaseLostError as lost:
            log.warning("job %s: %s", member.lease.id, lost)


class _Room:
    """How many rows a transaction may write yet. The first to ask gets as many as it needs."""

    def __init__(self, rows: int) -> None:
        self._left = rows
        self._taken = False

    def take(self, rows: int) -> bool:
        """Whether there is room."""
        if self._taken and rows > self._left:
            return False
        self._taken = True
        self._left -= rows
        return True


class _Question:
    """One item that one member asks about."""

    def __init__(self, member: Member, need: Ask[Any, Any], item: Any) -> None:
        self.member = member
        self.registry = need.registry
        self.key: Hashable = object() if need.key is None else need.key(item)
        self.answered = False
        self.result: Any = None
        self.error: BaseException | None = None
        self._need = need
        self._item = item

    def answer(self) -> None:
        """Ask, unless the member has failed already. The lease is renewed within a bound only."""
        monitor = self.member.monitor
        if self.member.failing:
            return
        monitor.bound(CONTROL_BOUND_SECONDS)
        try:
            monitor.check()
            with attentive(monitor.check, listener=monitor):
                self.result = self._need.question(self._item)
        except BaseException as error:  # noqa: BLE001 -- raised where the need was yielded
            self.error = error
            self.member.failing = True
        self.answered = True
        monitor.unbounded()

    def take(self, other: _Question) -> None:
        """Share another one's answer, unless that was interrupted, which says nothing."""
        if other.answered and not isinstance(other.error, Interruption):
            self.answered, self.result, self.error = True, other.result, other.error
