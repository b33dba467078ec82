"""Searching an index: whom we ask, for what, and what of the answer is wanted."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.unit.workers.registry.simulated import Simulated
from transship.store.errors import InvalidSpecError, ProtocolError, RegistryError, UnauthorizedError
from transship.store.images.view.filters import Filters
from transship.workers.registry.search import KEYS, Result, SearchFilter, index_and_term

APP = Result(
    name="app", description="about app", star_count=100, is_official=True, is_automated=False
)
TEAM = Result(name="team/app", description="", star_count=10, is_official=False, is_automated=True)
OTHER = Result(
    name="other/app", description="", star_count=2, is_official=False, is_automated=False
)
ALL = [APP, TEAM, OTHER]


class SearchIndex(Simulated):
    """An index at index.test, and Docker's."""

    def __init__(self, results: Any = None, *, status: int = 200) -> None:
        super().__init__()
        shown = [
            {"name": "app", "description": "about app", "star_count": 100, "is_official": True},
            {"name": "team/app", "is_automated": True, "star_count": 10, "is_trusted": True},
            {"name": "other/app", "star_count": 2, "description": None},
        ]
        body = {"num_results": 3, "results": shown if results is None else results}

        def answer(_: httpx.Request) -> httpx.Response:
            return httpx.Response(status, json=body)

        for host in ("index.test", "index.docker.io"):
            self.routes[f"https://{host}/v1/search"] = answer

    def asked(self) -> list[tuple[str, dict[str, str]]]:
        """Host and query of each request."""
        return [(one.url.host, dict(one.url.params)) for one in self.requests]


def test_an_index_is_asked_once_and_without_a_credential() -> None:
    index = SearchIndex()
    assert index.client.search("index.test/app", limit=25) == ALL
    assert index.asked() == [("index.test", {"q": "app", "n": "25"})]
    assert "authorization" not in index.requests[0].headers


@pytest.mark.parametrize(
    ("text", "host", "term"),
    [
        ("app", "index.docker.io", "app"),
        ("team/app", "index.docker.io", "team/app"),
        ("library/app", "index.docker.io", "app"),
        ("docker.io/library/app", "index.docker.io", "app"),
        ("index.docker.io/app", "index.docker.io", "app"),
        ("index.test/library/app", "index.test", "library/app"),
        ("index.test/a/b/c", "index.test", "a/b/c"),
        ("index.test/", "index.test", ""),
        ("localhost/app", "localhost", "app"),
        ("localhost:5000/app", "localhost:5000", "app"),
    ],
)
def test_a_first_part_that_is_a_host_names_the_index(text: str, host: str, term: str) -> None:
    index, found = index_and_term(text)
    assert (index.api, found) == (host, term)


@pytest.mark.parametrize("text", ["http://index.test/app", "index.test:port/app", "a..b/app"])
def test_what_names_no_index_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpecError) as caught:
        index_and_term(text)
    assert caught.value.errors[0]["field"] == "term"


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ([], ALL),
        (["is-official=true"], [APP]),
        (["is-official=false"], [TEAM, OTHER]),
        (["is-automated=true"], [TEAM]),
        (["is-automated=false"], [APP, OTHER]),
        (["stars=10"], [APP, TEAM]),
        (["stars=11"], [APP]),
        (["stars=1", "stars=50"], [APP]),
        (["stars=-1"], ALL),
        (["is-official=false", "stars=5"], [TEAM]),
    ],
    ids=str,
)
def test_results_are_filtered_as_docker_does(filters: list[str], wanted: list[Result]) -> None:
    wish = SearchFilter.parse(Filters.parse(filters, KEYS))
    assert [result for result in ALL if wish.fits(result)] == wanted


@pytest.mark.parametrize(
    "filters",
    [
        ["is-official=1"],
        ["is-official=true", "is-official=false"],
        ["is-automated=maybe"],
        ["stars=many"],
        ["nonsense=1"],
    ],
    ids=str,
)
def test_a_filter_that_cannot_be_is_refused(filters: list[str]) -> None:
    with pytest.raises(InvalidSpecError) as caught:
        SearchFilter.parse(Filters.parse(filters, KEYS))
    assert caught.value.errors[0]["field"] == "filter"


def test_an_index_written_in_go_says_null_for_nothing() -> None:
    answer = httpx.Response(200, json={"num_results": 0, "results": None})
    index = SearchIndex()
    index.routes["https://index.test/v1/search"] = lambda _: answer
    assert index.client.search("index.test/app", limit=25) == []


@pytest.mark.parametrize(
    "results", ["text", {"a": 1}, [1], [{"name": 1}], [{"star_count": "many"}]]
)
def test_an_answer_that_is_no_list_of_results_is_refused(results: Any) -> None:
    with pytest.raises(ProtocolError):
        SearchIndex(results).client.search("index.test/app", limit=25)


@pytest.mark.parametrize(
    ("status", "error"), [(401, UnauthorizedError), (404, RegistryError), (500, RegistryError)]
)
def test_a_refusal_of_the_index_is_told(status: int, error: type[RegistryError]) -> None:
    with pytest.raises(error):
        SearchIndex(status=status).client.search("index.test/app", limit=25)
