"""What is recorded and what is listed holds together."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

import pytest

from tests.oracle.compare import disagreements
from tests.oracle.difference import Difference, instead
from tests.oracle.differences import DIFFERENCES
from tests.oracle.labels import Labels
from tests.oracle.measures import Size, turned
from tests.oracle.records import DIRECTORY, recorded
from tests.oracle.refusals import REFUSALS, Entry, agree
from tests.oracle.scenario import all_scenarios

HEX = "0123456789abcdef" * 4


def answers(*saw: Any) -> dict[str, Any]:
    """A record of one case, the steps of which are numbered."""
    steps = [{"do": f"step {number}", "saw": one} for number, one in enumerate(saw)]
    return {"about": "", "cases": [{"case": "one", "steps": steps}]}


def refusals_of_docker(entry: Entry) -> Iterator[dict[str, Any]]:
    """What Docker refused in the words that an entry is about."""
    for scenario in all_scenarios():
        for case in recorded(scenario)["cases"]:
            for step in case["steps"]:
                saw = step["saw"]
                said = isinstance(saw, dict) and saw.get("says")
                if said and re.fullmatch(entry.docker, said, re.DOTALL):
                    yield saw


def test_each_scenario_is_recorded_and_nothing_else() -> None:
    assert {path.stem for path in DIRECTORY.iterdir()} == set(all_scenarios())


@pytest.mark.parametrize("scenario", all_scenarios())
def test_a_record_differs_from_run_to_run_in_nothing(scenario: str) -> None:
    """No name of a temporary directory, no ID without a label, no time of the day."""
    labels = Labels()
    record = recorded(scenario)

    assert labels.write(record) == record
    assert "/tmp/" not in str(record)


@pytest.mark.parametrize("difference", DIFFERENCES, ids=str)
def test_each_difference_is_better_forced_or_a_trade(difference: Difference) -> None:
    assert difference.tag in get_args(get_type_hints(Difference)["tag"])
    assert str(difference).startswith(f"{difference.tag}: {difference.reason}")


@pytest.mark.parametrize("difference", DIFFERENCES, ids=str)
def test_each_difference_changes_an_answer(difference: Difference) -> None:
    assert any(
        difference.change(step["saw"]) != step["saw"]
        for scenario in all_scenarios()
        for case in recorded(scenario)["cases"]
        for before, step in zip([{"do": ""}, *case["steps"]], case["steps"], strict=False)
        if difference.concerns(scenario, case["case"], step["do"], before["do"])
    )


def test_another_answer_is_a_disagreement() -> None:
    (found,) = disagreements("s", answers(["a"], 1), answers(["b"], 1), ())

    assert (found.do, found.wanted, found.seen) == ("step 0", ["a"], ["b"])


REFUSED = {"refused": "not-found", "says": "no such image: a: No such image: a:latest"}


@pytest.mark.parametrize(
    "ours",
    [
        {"refused": "invalid", "says": "No such image: a:latest"},
        {"refused": "not-found", "says": "No such image: b:latest"},
        {"refused": "not-found", "says": "nothing"},
        ["done"],
    ],
    ids=["another kind", "another image", "other words", "no refusal"],
)
def test_a_refusal_is_held_to_the_table(ours: Any) -> None:
    agreed = {"refused": "not-found", "says": "No such image: a:latest"}

    (found,) = disagreements("s", answers(REFUSED, REFUSED), answers(agreed, ours), ())

    assert found.do == "step 1"


def test_a_refusal_in_dockers_own_words_needs_no_entry() -> None:
    same = {"refused": "invalid", "says": "words that are in no table"}

    assert not disagreements("s", answers(same), answers(same), ())


@pytest.mark.parametrize("entry", REFUSALS, ids=lambda entry: entry.docker[:60])
def test_each_entry_is_about_a_refusal_of_docker(entry: Entry) -> None:
    assert any(refusals_of_docker(entry))


@pytest.mark.parametrize("entry", REFUSALS, ids=lambda entry: entry.docker[:60])
def test_no_entry_takes_words_that_tell_nothing(entry: Entry) -> None:
    for docker in refusals_of_docker(entry):
        for says in ("", "something is wrong", "app:1: something is wrong"):
            assert agree(docker, {"refused": entry.kind, "says": says}, [entry]) is None


def test_a_size_counts_as_dockers_only_where_it_is_right() -> None:
    known = Size(docker=3, blob=10)

    assert [turned(told, known) for told in (10, 11, 0)] == [3, 11, 0]


def test_a_difference_is_wanted_where_it_belongs_and_only_there() -> None:
    on_purpose = Difference(
        tag="better", reason="is", change=instead("ours"), scenario="s", do="step 0"
    )

    found = disagreements("s", answers("docker", "docker"), answers("ours", "ours"), [on_purpose])

    assert [one.do for one in found] == ["step 1"]


def test_other_steps_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="shorter"):
        disagreements("s", answers(1, 2), answers(1), ())


def test_labels_stand_for_digests_known_and_unknown() -> None:
    labels = Labels()
    labels.give(f"sha256:{HEX}", "image x")
    labels.give("f" * 64, "image x")

    assert labels.write([f"sha256:{HEX}", HEX[:12], "f" * 64, {"a" * 64: "b" * 64}]) == [
        "<image x>",
        "<short image x>",
        "<image x no. 2>",
        {"<digest 1>": "<digest 2>"},
    ]


def test_times_of_this_run_are_now_and_others_stay() -> None:
    labels = Labels()

    assert labels.write({"created": 1714564800, "at": "2024-05-01T12:00:00Z"}) == {
        "created": 1714564800,
        "at": "2024-05-01T12:00:00Z",
    }
    assert labels.write({"created": 4102444800, "at": "2100-01-01T00:00:00.5Z"}) == {
        "created": "<now>",
        "at": "<now>",
    }
