"""Small questions, several at a time: each registry has threads of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from transship.store.errors import CancelledError, UnreachableError
from transship.workers.registry.transport.transport import attentive
from transship.workers.runtime.probes import OF_REGISTRY, Probes

SICK, WELL = "sick.test", "well.test"


@pytest.fixture
def probes() -> Iterator[Probes]:
    made = Probes()
    yield made
    made.close()


@pytest.fixture
def silence() -> Iterator[threading.Event]:
    """What a question to the sick registry waits for."""
    event = threading.Event()
    yield event
    event.set()


def test_answers_come_in_the_order_of_the_items(probes: Probes) -> None:
    items = list(range(100))
    assert probes.ask(lambda n: n * 2, items, of=lambda _: WELL) == [n * 2 for n in items]


@pytest.mark.parametrize("items", [[], [1]])
def test_few_need_no_other_thread(probes: Probes, items: list[int]) -> None:
    here = threading.get_ident()
    asked = probes.ask(lambda _: threading.get_ident(), items, of=lambda _: WELL)
    assert set(asked) <= {here}


def test_several_are_asked_at_a_time(probes: Probes) -> None:
    together = threading.Barrier(OF_REGISTRY + 1, timeout=10)
    asked = probes.ask(lambda _: together.wait(), range(OF_REGISTRY + 1), of=lambda _: WELL)
    assert len(asked) == OF_REGISTRY + 1


def test_a_registry_that_is_silent_keeps_its_own_threads_only(
    probes: Probes, silence: threading.Event
) -> None:
    asked = threading.Semaphore(0)

    def never(_: int) -> None:
        asked.release()
        silence.wait()

    jobs = [
        threading.Thread(
            target=probes.ask, args=(never, range(50)), kwargs={"of": lambda _: SICK}, daemon=True
        )
        for _ in range(3)
    ]
    for job in jobs:
        job.start()
    for _ in range(OF_REGISTRY + len(jobs)):
        assert asked.acquire(timeout=10)
    together = threading.Barrier(OF_REGISTRY + 1, timeout=10)
    probes.ask(lambda _: together.wait(), range(OF_REGISTRY + 1), of=lambda _: WELL)


def test_several_registries_are_asked_side_by_side(probes: Probes) -> None:
    together = threading.Barrier(3, timeout=10)
    names = ["one.test", "two.test", "three.test"]
    assert len(probes.ask(lambda _: together.wait(), names, of=lambda name: name)) == 3


def test_the_first_failure_ends_it(probes: Probes) -> None:
    asked: list[int] = []

    def fails(number: int) -> None:
        asked.append(number)
        raise UnreachableError("is down", registry=SICK)

    with pytest.raises(UnreachableError):
        probes.ask(fails, range(1000), of=lambda _: SICK)
    assert len(asked) <= OF_REGISTRY + 1


def test_whoever_waits_for_answers_can_be_stopped(probes: Probes, silence: threading.Event) -> None:
    stop = threading.Event()

    def check() -> None:
        if stop.is_set():
            raise CancelledError("a stop was requested")

    first = threading.get_ident()

    def ask(_: int) -> None:
        if threading.get_ident() == first:
            stop.set()
        else:
            silence.wait()

    with pytest.raises(CancelledError), attentive(check):
        probes.ask(ask, range(5), of=lambda _: SICK)


def test_threads_are_free_again_afterwards(probes: Probes) -> None:
    for _ in range(5):
        test_several_are_asked_at_a_time(probes)
