"""What a handler needs before it can go on: answers of registries, and pieces of transactions.

A handler is a generator that yields needs and returns the outcome. Jobs that are advanced together
have theirs met together: questions side by side, each asked once, and pieces of transactions in one
transaction, all of the same kind by one call. So a handler reads as the steps of one job, and a
batch of them costs little more than one.

Between two pieces of a transaction a handler must not wait for anything: it may be in the middle of
it. `outside` ends it first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection

from transship.store.catalog.scheduling.jobs import JobLease

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Ask(Generic[T, R]):
    """Questions about *items*, in no transaction; met by the list of answers, in their order.

    What the first question raises that fails is raised where the need was yielded.

    Attributes:
        question: Is called with one item, from any thread, and may take its time.
        items: What it is about.
        registry: The one that is asked, of which so many questions are under way at most; None:
            nobody is, and the calling thread answers.
        key: Tells which items several jobs may share the answer of; None: none.
    """

    question: Callable[[T], R]
    items: Sequence[T]
    registry: str | None
    key: Callable[[T], Hashable] | None = None


Piece = Callable[[Connection, float, Sequence[tuple[JobLease, T]]], Sequence[R]]


@dataclass(frozen=True, slots=True)
class Transact(Generic[T, R]):
    """A piece of a transaction in which all the jobs are held; met by its result.

    Attributes:
        piece: Gets the time, and each job that has this need, with its argument; returns as many
            results. Jobs that have the same piece get one call.
        argument: Of this job.
        admits: In which directions it may have made something possible.
        rows: About how many rows it writes: no transaction is to take long.
    """

    piece: Piece[T, R]
    argument: T
    admits: Collection[str] = ()
    rows: int = 1


Steps = Generator[Ask[Any, Any] | Transact[Any, Any], Any, R]


def ask(
    question: Callable[[T], R],
    items: Sequence[T],
    *,
    registry: str,
    key: Callable[[T], Hashable] | None = None,
) -> Steps[list[R]]:
    """Ask *registry* about each item; see `Ask`."""
    if not items:
        return []
    answers: list[R] = yield Ask(question, items, registry, key)
    return answers


def outside(work: Callable[[], R]) -> Steps[R]:
    """Do something that takes its time outside of any transaction."""
    (answer,) = yield Ask(lambda _: work(), [None], None)
    result: R = answer
    return result


def transact(
    piece: Piece[T, R], argument: T, *, admits: Collection[str] = (), rows: int = 1
) -> Steps[R]:
    """Do a piece of a transaction; see `Transact`."""
    result: R = yield Transact(piece, argument, admits, rows)
    return result
