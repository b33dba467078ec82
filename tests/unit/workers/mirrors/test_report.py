"""What a mirror says when it has ended."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from transship.store.oci.reference import Reference
from transship.workers.mirrors import report
from transship.workers.mirrors.plan import Image
from transship.workers.mirrors.report import MAX_FAILED, MAX_NAMED, Tally


def _item(state: str, **more: Any) -> dict[str, Any]:
    return {"source": "a:1", "destination": "b:1", "state": state, **more}


def _tally(*states: str) -> Tally:
    tally = Tally()
    for state in states:
        tally.count(_item(state, error={}))
    return tally


@pytest.mark.parametrize(
    ("states", "drift"),
    [
        ([], False),
        (["up-to-date"], False),
        (["up-to-date", "copy"], True),
        (["missing"], True),
        (["failed"], True),
    ],
)
def test_whatever_is_not_up_to_date_is_drift(states: list[str], drift: bool) -> None:
    assert report.plan_result(_tally(*states), ())["drift"] is drift


def test_a_repository_that_cannot_be_listed_is_drift() -> None:
    result = report.plan_result(Tally(), [report.unlisted("a", {"code": "denied"})])
    assert (result["drift"], result["failures"], result["images"]) == (True, 1, 0)


def test_a_tally_has_no_more_than_a_result_may_have_and_can_be_stored() -> None:
    tally = _tally(*["failed"] * (MAX_NAMED + 5))
    again = Tally(**json.loads(json.dumps(asdict(tally))))
    result = report.plan_result(again, ())
    assert (result["images"], len(result["items"]), result["items_left_out"]) == (
        MAX_NAMED + 5, MAX_NAMED, 5,
    )  # fmt: skip
    assert (result["failures"], len(result["failed"])) == (MAX_NAMED + 5, MAX_FAILED)


def test_more_images_than_a_result_may_name_are_counted() -> None:
    told = report.named([_item("copy")] * (MAX_NAMED + 5))
    assert (len(told["items"]), told["items_left_out"]) == (MAX_NAMED, 5)


@pytest.mark.parametrize(
    ("bad", "repositories", "said"),
    [
        (1, 0, "1 of 3 images were not mirrored"),
        (0, 1, "1 repository was left out"),
        (
            2,
            2,
            "2 of 3 images were not mirrored; 2 repositories were left out",
        ),
    ],
)
def test_what_failed_is_a_sentence(bad: int, repositories: int, said: str) -> None:
    assert report.what_failed(bad, 3, repositories, done="mirrored") == said


def test_a_clash_names_both_ends() -> None:
    told = report.clash(Image(Reference.parse("a:1"), Reference.parse("there.test/b:1")))
    assert told["image"] == "there.test/b:1"
    assert told["error"]["subject"] == "docker.io/library/a:1"
    assert "another image of this mirror goes to there.test/b:1" in told["error"]["detail"]
