"""Generators that run ahead in threads: whatever they do, who takes sees what a loop would."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator

import pytest

from transship.store.errors import CancelledError
from transship.store.layers.ahead import side_by_side

MANY = 50


def _numbers(first: int, count: int) -> Generator[int]:
    yield from range(first, first + count)


def _take_all(in_turn: Iterator[Iterator[int]], taken: list[int]) -> None:
    for items in in_turn:
        taken.extend(items)


def test_items_come_in_order_one_generator_after_the_other() -> None:
    with side_by_side((_numbers(100 * n, n) for n in range(MANY)), ahead=2) as in_turn:
        assert [list(items) for items in in_turn] == [
            list(range(100 * n, 100 * n + n)) for n in range(MANY)
        ]


def test_no_generators_give_no_items() -> None:
    none: list[Generator[int]] = []
    with side_by_side(none, ahead=1) as in_turn:
        assert list(in_turn) == []


def test_an_error_comes_where_the_next_item_would() -> None:
    def broken() -> Generator[int]:
        yield 1
        raise CancelledError("stop")

    taken: list[int] = []
    with (
        pytest.raises(CancelledError),
        side_by_side(iter([_numbers(0, 3), broken(), _numbers(9, 9)]), ahead=4) as in_turn,
    ):
        _take_all(in_turn, taken)
    assert taken == [0, 1, 2, 1]


def test_a_generator_runs_no_further_ahead_than_allowed() -> None:
    made: list[int] = []
    stands = threading.Event()

    def counted() -> Generator[int]:
        for number in range(MANY):
            made.append(number)
            if len(made) == 4:
                stands.set()
            yield number

    with side_by_side(iter([counted()]), ahead=3) as in_turn:
        items = next(in_turn)
        assert next(items) == 0
        assert stands.wait(10)
        for number in range(1, 10):
            assert next(items) == number
            assert len(made) <= number + 1 + 3


def test_two_generators_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transship.store.layers.ahead._THREADS", 2)
    both = threading.Barrier(2, timeout=10)

    def meeting() -> Generator[int]:
        both.wait()
        yield 1

    with side_by_side(iter([meeting(), meeting()]), ahead=1) as in_turn:
        assert [list(items) for items in in_turn] == [[1], [1]]


def test_leaving_ends_what_runs_in_its_own_thread() -> None:
    before = threading.active_count()
    ended: list[str] = []

    def endless() -> Generator[int]:
        try:
            while True:
                yield 1
        finally:
            ended.append(threading.current_thread().name)

    def take_one(in_turn: Iterator[Iterator[int]]) -> None:
        assert next(next(in_turn)) == 1
        raise CancelledError("enough")

    with (
        pytest.raises(CancelledError),
        side_by_side((endless() for _ in range(MANY)), ahead=2) as in_turn,
    ):
        take_one(in_turn)
    assert ended
    assert all(name.startswith("ahead") for name in ended)
    assert threading.active_count() == before
