"""jobs: what the command makes of the API's pages."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from transship.api.cli.commands import jobs as cli
from transship.api.cli.commands.jobs import _log
from transship.api.cli.output.job_tables import percent
from transship.api.client.jobs import JobCalls
from transship.api.client.requests import Request


class Pages:
    """A client whose log comes in two pages."""

    def log(self, job: str, *, after: str) -> dict[str, Any]:
        pages = {"0": ([{"id": 3}, {"id": 5}], "5"), "5": ([{"id": 8}], None)}
        items, following = pages[after]
        return {"items": [{**item, "job": job} for item in items], "next": following}


def test_a_log_is_read_to_its_last_page() -> None:
    assert [event["id"] for event in _log(Pages(), "j")] == [3, 5, 8]


class Listed(JobCalls):
    """A client of a server that has 2,500 children of a job, the newest first."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def _object(self, request: Request, **body: Any) -> dict[str, Any]:
        assert (request.method, request.path) == ("GET", "/jobs")
        asked = request.params
        self.asked.append(dict(asked))
        first, count = int(asked["cursor"] or 0), asked["limit"]
        following = str(first + count) if first + count < 2500 else None
        items = [{"id": n} for n in range(first, min(first + count, 2500))]
        return {"items": items, "next": following}


@pytest.mark.parametrize(
    ("limit", "pages", "following"),
    [
        (None, [1000, 1000, 1000], None),
        (2, [2], "2"),
        (1000, [1000], "1000"),
        (1500, [1000, 500], "1500"),
        (9999, [1000, 1000, 1000], None),
    ],
)
def test_a_list_is_read_from_as_many_pages_as_it_takes(
    limit: int | None, pages: list[int], following: str | None
) -> None:
    client = Listed()
    found = client.jobs(limit=limit, parent="j")
    assert [one["id"] for one in found["items"]] == list(range(min(limit or 2500, 2500)))
    assert found["next"] == following
    assert [one["limit"] for one in client.asked] == pages
    assert {one["parent"] for one in client.asked} == {"j"}


@pytest.mark.parametrize(
    ("arguments", "limit"), [([], 100), (["--parent", "j"], None), (["--limit", "3"], 3)]
)
def test_children_are_listed_to_the_last(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], limit: int | None
) -> None:
    asked: list[dict[str, Any]] = []

    def listed(**given: Any) -> dict[str, Any]:
        asked.append(given)
        return {"items": []}

    client = SimpleNamespace(jobs=listed)
    monkeypatch.setattr(cli, "connect", lambda: nullcontext(SimpleNamespace(client=client)))
    done = CliRunner().invoke(cli.jobs, arguments, standalone_mode=False)
    assert done.exception is None
    assert [one["limit"] for one in asked] == [limit]


def _job(state: str, done: int, total: int, **children: int) -> dict[str, Any]:
    figures = {"bytes_total": total, "bytes_done": done}
    return {"state": state, "progress": figures, "children": children}


@pytest.mark.parametrize(
    ("job", "shown"),
    [
        (_job("succeeded", 0, 0), "100%"),
        (_job("running", 50, 200), "25%"),
        (_job("running", 0, 0), "-"),
        (_job("running", 100, 100, succeeded=1, queued=3), "25%"),
        (_job("running", 100, 200, succeeded=1, running=1, queued=2), "25%"),
        (_job("running", 0, 0, queued=5), "0%"),
        (_job("failed", 90, 100, succeeded=9, failed=1), "90%"),
    ],
)
def test_the_share_that_is_done_counts_images_not_yet_looked_at(
    job: dict[str, Any], shown: str
) -> None:
    assert percent(job) == shown
