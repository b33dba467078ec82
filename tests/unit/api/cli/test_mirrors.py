"""mirrors: what the command makes of the API's pages."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from transship.api.cli.commands import mirrors


def _history(monkeypatch: pytest.MonkeyPatch, *runs: dict[str, Any]) -> list[list[str]]:
    """What is listed of runs, the header apart."""
    common: dict[str, Any] = {
        "id": "j",
        "created_at": "t1",
        "finished_at": None,
        "requested_by": "local",
    }
    common |= {"progress": {"bytes_moved": 2_000_000}}
    page = {"items": [{"state": "failed", "children": {}, **common, **run} for run in runs]}
    client = SimpleNamespace(mirror_runs=lambda *_, **__: page)
    monkeypatch.setattr(mirrors, "connect", lambda: nullcontext(SimpleNamespace(client=client)))
    done = CliRunner().invoke(mirrors.mirrors, ["history", "nightly"], standalone_mode=False)
    assert done.exception is None
    header, *rows = (line.split() for line in done.stdout.splitlines())
    assert header[4:7] == ["IMAGES", "FAILED", "MOVED"]
    return list(rows)


@pytest.mark.parametrize(
    ("run", "shown"),
    [
        ({"result": {"images": 6000, "failures": 5000, "failed": [{}] * 100}}, ["6000", "5000"]),
        ({"result": {"images": 7, "failures": 0, "failed": []}}, ["7", "0"]),
        ({"result": None, "children": {"failed": 3, "running": 2}}, ["-", "3"]),
        (
            {"result": {"images": 900, "failed": [{}] * 100}, "children": {"failed": 800}},
            ["900", "800"],
        ),
    ],
    ids=["many", "none", "running", "of an older version"],
)
def test_the_history_counts_all_that_failed(
    monkeypatch: pytest.MonkeyPatch, run: dict[str, Any], shown: list[str]
) -> None:
    (row,) = _history(monkeypatch, run)
    assert row[4:8] == [*shown, "2.0", "MB"]
