"""Compares what was seen of Transship with what is recorded of Docker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tests.oracle.difference import Difference
from tests.oracle.differences import DIFFERENCES
from tests.oracle.refusals import REFUSALS, agree
from tests.oracle.subject import Json


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A step at which Transship does not do what it should.

    Attributes:
        case, do: Where.
        docker: What Docker answered.
        wanted: The same, after the differences on purpose.
        seen: What Transship answered.
    """

    case: str
    do: str
    docker: Json
    wanted: Json
    seen: Json

    def __str__(self) -> str:
        return (
            f"{self.case}: {self.do}\n"
            f"  Docker:  {self.docker}\n"
            f"  wanted:  {self.wanted}\n"
            f"  seen:    {self.seen}"
        )


def disagreements(
    scenario: str, recorded: Json, seen: Json, differences: Sequence[Difference] = DIFFERENCES
) -> list[Disagreement]:
    """Return the steps at which the two differ without a reason.

    Raises:
        ValueError: they are not the same steps.
    """
    found = []
    for case, after, do, docker, transship in _pairs(recorded, seen):
        wanted = docker
        for difference in differences:
            if difference.concerns(scenario, case, do, after):
                wanted = difference.change(wanted)
        if not _agree(wanted, transship):
            found.append(Disagreement(case, do, docker, wanted, transship))
    return found


def _pairs(recorded: Json, seen: Json) -> Iterator[tuple[str, str, str, Json, Json]]:
    for case, ours in zip(recorded["cases"], seen["cases"], strict=True):
        if case["case"] != ours["case"]:
            raise ValueError(f"recorded is {case['case']!r}, played was {ours['case']!r}")
        after = ""
        for step, our in zip(case["steps"], ours["steps"], strict=True):
            if step["do"] != our["do"]:
                raise ValueError(
                    f"{case['case']}: recorded is {step['do']!r}, done was {our['do']!r}"
                )
            yield case["case"], after, step["do"], step["saw"], our["saw"]
            after = step["do"]


def _agree(wanted: Any, seen: Any) -> bool:
    """Say whether two answers are the same, or refusals that `refusals` has for the same."""
    if _is_refusal(wanted) and _is_refusal(seen) and agree(wanted, seen, REFUSALS) is not None:
        return True
    return bool(wanted == seen)


def _is_refusal(answer: Any) -> bool:
    return isinstance(answer, dict) and answer.keys() == {"refused", "says"}
