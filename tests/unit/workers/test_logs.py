"""The log: a line for each job that ends, and JSON that any collector reads."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator

import pytest

from transship.workers.runtime import logs
from transship.workers.runtime.logs import JsonLines
from transship.workers.runtime.wire import TaskEvent

CAUSE = "source: denied: here.test/app:1: no"


@pytest.fixture
def lines() -> Iterator[list[logging.LogRecord]]:
    """What is logged of jobs meanwhile."""
    found: list[logging.LogRecord] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record)

    handler = Keeping()
    logger = logging.getLogger("transship.jobs")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield found
    logger.removeHandler(handler)
    logger.setLevel(before)


def event(type_: str, seconds: float | None = None, **fields: object) -> TaskEvent:
    return TaskEvent(type_, "01a2", "pull", "here.test/app:1", 1_700_000_000.5, fields, seconds)


def test_each_end_is_one_line_and_a_beginning_is_none(lines: list[logging.LogRecord]) -> None:
    logs.ended(
        [
            event("task-received"),
            event("task-started"),
            event("task-succeeded", 1.25, result="", runtime=1.25),
            event("task-failed", 0.5, exception=f"{CAUSE}\nmore"),
            event("task-revoked"),
        ]
    )
    assert [(one.levelname, one.getMessage()) for one in lines] == [
        ("INFO", "job 01a2: pull here.test/app:1 succeeded after 1.2 s"),
        ("WARNING", f"job 01a2: pull here.test/app:1 failed after 0.5 s: {CAUSE} more"),
        ("INFO", "job 01a2: pull here.test/app:1 cancelled"),
    ]


def test_json_has_the_facts_of_a_job_each_under_its_name(
    lines: list[logging.LogRecord],
) -> None:
    logs.ended([event("task-failed", 0.5, exception="source: denied")])
    found = json.loads(JsonLines().format(lines[0]))
    assert found["job"] == "01a2"
    assert (found["kind"], found["label"]) == ("pull", "here.test/app:1")
    assert (found["outcome"], found["seconds"], found["cause"]) == ("failed", 0.5, "source: denied")
    assert found["host"]
    assert found["worker"]
    assert found["time"].endswith("Z")


@pytest.mark.parametrize("message", ["two\nlines", "half \ud800 a pair", "\x1b[31mred", "é"])
def test_every_line_is_one_object(message: str) -> None:
    try:
        raise ValueError(message)
    except ValueError:
        record = logging.LogRecord(
            "transship", logging.ERROR, __file__, 1, message, None, sys.exc_info()
        )
    line = JsonLines().format(record)
    assert "\n" not in line
    assert line.isascii()
    assert json.loads(line)["message"] == message
    assert "ValueError" in json.loads(line)["exception"]
