"""Work on many things of which some may fail without keeping the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from store.catalog import jobs, limits
from store.catalog.jobs import JobLease
from store.errors import ContentError, RegistryError, TransshipError
from workers.transfers.retry import Again, Attempt, decide
from workers.world import World

T = TypeVar("T")
R = TypeVar("R")


def ask(
    question: Callable[[T], R], items: Sequence[T], lease: JobLease, world: World
) -> list[R | dict[str, Any]]:
    """Ask of each item, several at a time; a failure is the error as JSON.

    Raises:
        TransshipError: one failed, and the whole job is to try again later.
    """

    def asked(item: T) -> R | TransshipError:
        try:
            return question(item)
        except (RegistryError, ContentError) as error:
            return error

    answers = world.probe(asked, items)
    with world.catalog.read() as connection:
        most = limits.effective(connection)["max_download_attempts"].value
    attempt = Attempt(lease.attempts, lease.attempts + 1, 0)
    for answer in answers:
        if isinstance(answer, TransshipError) and isinstance(
            decide(answer, attempt, most=most), Again
        ):
            raise answer
    return [
        {"attempts": lease.attempts + 1, **answer.as_json()}
        if isinstance(answer, TransshipError)
        else answer
        for answer in answers
    ]


def remember(lease: JobLease, world: World, **facts: Any) -> None:
    """Add to the plan. What follows has tries of its own."""
    lease.plan.update(facts)
    lease.attempts = 0
    with world.catalog.write() as connection:
        jobs.save(connection, lease, plan=lease.plan, attempts=0)
