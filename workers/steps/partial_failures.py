"""Work on many things of which some may fail without keeping the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from transship.store.catalog.scheduling import jobs
from transship.store.catalog.scheduling.admission import limits
from transship.store.catalog.scheduling.jobs import JobLease
from transship.store.errors import ContentError, RegistryError, TransshipError
from transship.workers.runtime.context import WorkerContext
from transship.workers.transfers.retry import Again, Attempt, decide

T = TypeVar("T")
R = TypeVar("R")


def ask(
    question: Callable[[T], R],
    items: Sequence[T],
    lease: JobLease,
    context: WorkerContext,
    *,
    of: Callable[[T], str],
) -> list[R | dict[str, Any] | TransshipError]:
    """Ask of each item, several at a time; *of* names the registry that is asked.

    A failure is the error as JSON where it is final, and the error itself where the job is to try
    again later; the caller keeps what it has got, and raises that (`raise_unsettled`).
    """

    def asked(item: T) -> R | TransshipError:
        try:
            return question(item)
        except (RegistryError, ContentError) as error:
            return error

    answers = context.probes.ask(asked, items, of=of)
    with context.catalog.read() as connection:
        most = limits.effective(connection)["max_download_attempts"].value
    attempt = Attempt(lease.attempts, lease.attempts + 1, 0)

    def settled(answer: R | TransshipError) -> R | dict[str, Any] | TransshipError:
        if not isinstance(answer, TransshipError):
            return answer
        if isinstance(decide(answer, attempt, most=most), Again):
            return answer
        return {"attempts": lease.attempts + 1, **answer.as_json()}

    return [settled(answer) for answer in answers]


def raise_unsettled(answers: Iterable[object]) -> None:
    """Raise the first error that is not final, so that the job tries again later."""
    for answer in answers:
        if isinstance(answer, TransshipError):
            raise answer


def remember(lease: JobLease, context: WorkerContext, **facts: Any) -> None:
    """Add to the plan. What follows has tries of its own."""
    lease.learn(**facts)
    lease.attempts = 0
    with context.catalog.write() as connection:
        jobs.save(connection, lease, attempts=0)
