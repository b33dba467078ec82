"""Ids of jobs (RFC 9562 §5.7)."""

from __future__ import annotations

import time
from uuid import RFC_4122, UUID

from transship.workers.runtime.ids import new_id


def test_an_id_is_a_uuid_of_version_7() -> None:
    made = UUID(new_id())
    assert (made.version, made.variant) == (7, RFC_4122)


def test_an_id_is_written_as_uuids_are() -> None:
    made = new_id()
    assert made == str(UUID(made))


def test_an_id_begins_with_the_time_in_milliseconds() -> None:
    before = time.time_ns() // 1_000_000
    made = UUID(new_id()).int >> 80
    assert before <= made <= time.time_ns() // 1_000_000


def test_later_ids_sort_after_earlier_ones() -> None:
    earlier = new_id()
    while (later := new_id())[:13] == earlier[:13]:  # within the same millisecond
        pass
    assert later > earlier


def test_no_two_ids_are_the_same() -> None:
    assert len({new_id() for _ in range(10_000)}) == 10_000
