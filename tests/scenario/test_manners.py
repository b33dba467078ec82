"""How registries are treated that want to be left alone, or do not answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.scenario.faulted import Faulted
from tests.support.faults import Rule, Verb
from transship.store.catalog.db.schema import lanes, transfers
from transship.workers.specs import PullSpec


@pytest.fixture
def faulted(tmp_path: Path) -> Iterator[Callable[..., Faulted]]:
    made: list[Faulted] = []

    def make(*rules: str, layers: int = 1) -> Faulted:
        story = Faulted(tmp_path, [Rule.parse(rule) for rule in rules])
        made.append(story)
        if layers > 1:
            contents = [bytes([number]) * 1000 for number in range(layers)]
            story.digest = story.source.add_image("app", "1", contents)
        return story

    yield make
    for one in made:
        one.close()


def states(story: Faulted) -> list[str]:
    with story.catalog.read() as connection:
        return sorted(connection.execute(select(transfers.c.state)).scalars())


def test_what_was_admitted_before_a_budget_was_used_up_is_put_off_untried(
    faulted: Callable[..., Faulted],
) -> None:
    story = faulted("blob-get 429=7 times=1", layers=4)
    story.begin()
    story.work()
    assert story.count(Verb.BLOB_GET) == 1
    assert states(story) == ["blocked"] * 5 + ["delayed"] * 5
    with story.catalog.read() as connection:
        tries = select(transfers.c.tries).where(transfers.c.state == "delayed")
        assert sorted(connection.execute(tries).scalars()) == [0, 0, 0, 0, 1]
    assert story.go_on().state == "succeeded"


def test_after_a_park_one_transfer_goes_ahead(faulted: Callable[..., Faulted]) -> None:
    story = faulted("blob-get 429=7 times=2", layers=4)
    story.begin()
    story.work()
    story.wait()
    story.work()
    assert story.count(Verb.BLOB_GET) == 2
    assert story.go_on().state == "succeeded"
    with story.catalog.read() as connection:
        assert set(connection.execute(select(lanes.c.parked_delay)).scalars()) == {0}


def test_a_registry_that_is_down_is_asked_once_a_park(faulted: Callable[..., Faulted]) -> None:
    story = faulted("blob-get 503", layers=8)
    story.begin()
    story.work()
    asked = []
    for _ in range(6):
        before = story.count(Verb.BLOB_GET)
        while story.count(Verb.BLOB_GET) == before:
            story.wait()
            story.work()
        asked.append(story.count(Verb.BLOB_GET) - before)
    assert asked == [1] * 6
    assert story.longest_park == 60


def test_a_parked_registry_holds_up_no_other(faulted: Callable[..., Faulted]) -> None:
    story = faulted("blob-get 429=1000 times=1")
    story.begin()
    story.work()
    story.target.add_image("other", "1", [b"a layer"])
    story.submit(PullSpec(reference=f"{story.before_target.host}/other:1"))
    story.work()
    assert story.state == "succeeded"
