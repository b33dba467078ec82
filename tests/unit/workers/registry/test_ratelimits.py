"""What a registry says of its limits, and how requests are spaced out by it."""

from __future__ import annotations

from dataclasses import dataclass

import httpx
import pytest

from transship.workers.registry.flow_control.ratelimits import RateLimit, Spacing, read_rate_limit


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def spacing(clock: Clock) -> Spacing:
    return Spacing(clock)


def limit(remaining: int, **more: int) -> RateLimit:
    return RateLimit("r.test", remaining=remaining, credential="", **{"total": 100, **more})


def waits(spacing: Spacing, count: int = 3) -> list[float]:
    return [spacing.request("r.test") for _ in range(count)]


def test_docker_hubs_headers_are_read() -> None:
    headers = httpx.Headers({"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": "76;w=21600"})
    assert read_rate_limit("docker.io", headers) == RateLimit(
        "docker.io", remaining=76, total=100, window_seconds=21600
    )


@pytest.mark.parametrize("value", ["", "none", "-1"])
def test_what_cannot_be_read_says_nothing(value: str) -> None:
    assert read_rate_limit("r.test", httpx.Headers({"RateLimit-Remaining": value})) is None


def test_while_much_is_left_nobody_waits(spacing: Spacing) -> None:
    spacing.note(limit(21, reset_seconds=60))
    assert waits(spacing) == [0, 0, 0]


def test_what_is_left_is_spread_over_the_rest_of_the_window(spacing: Spacing) -> None:
    spacing.note(limit(20, reset_seconds=10))
    assert waits(spacing) == [0, 0.5, 1.0]


def test_no_space_is_longer_than_a_second(spacing: Spacing) -> None:
    spacing.note(limit(5, window_seconds=21600))
    assert waits(spacing) == [0, 1, 2]


def test_time_that_passes_is_time_waited(spacing: Spacing, clock: Clock) -> None:
    spacing.note(limit(20, reset_seconds=10))
    spacing.request("r.test")
    clock.now += 0.4
    assert spacing.request("r.test") == pytest.approx(0.1)
    clock.now += 100
    assert spacing.request("r.test") == 0


@pytest.mark.parametrize("left", [0, 100])
def test_a_new_window_and_a_used_up_one_end_it(spacing: Spacing, left: int) -> None:
    spacing.note(limit(5, window_seconds=60))
    spacing.request("r.test")
    spacing.note(limit(left, window_seconds=60))  # of what is used up others take care
    assert waits(spacing) == [0, 0, 0]


def test_where_the_total_is_not_told_ten_are_few(spacing: Spacing) -> None:
    spacing.note(RateLimit("r.test", remaining=11))
    assert waits(spacing) == [0, 0, 0]
    spacing.note(RateLimit("r.test", remaining=10))
    assert waits(spacing) == [0, 1, 2]


def test_other_registries_do_not_wait(spacing: Spacing) -> None:
    spacing.note(limit(1, reset_seconds=60))
    spacing.request("r.test")
    assert [spacing.request("s.test"), spacing.request("s.test")] == [0, 0]
