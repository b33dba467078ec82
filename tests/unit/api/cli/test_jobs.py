"""jobs: what the command makes of the API's pages."""

from __future__ import annotations

from typing import Any

from api.cli.jobs import _log


class Pages:
    """A client whose log comes in two pages."""

    def log(self, job: str, *, after: str) -> dict[str, Any]:
        pages = {"0": ([{"id": 3}, {"id": 5}], "5"), "5": ([{"id": 8}], None)}
        items, following = pages[after]
        return {"items": [{**item, "job": job} for item in items], "next": following}


def test_a_log_is_read_to_its_last_page() -> None:
    assert [event["id"] for event in _log(Pages(), "j")] == [3, 5, 8]
