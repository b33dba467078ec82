"""Changes recorded answers, a field at a time, to see whether the comparison would notice."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tests.oracle.compare import disagreements
from tests.oracle.difference import Difference
from tests.oracle.subject import Json

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Mutation:
    """An answer that was changed in one place.

    Attributes:
        scenario, case, do: The step whose answer it is.
        path: The place, as `0.repo_tags`.
        how: What was done there.
    """

    scenario: str
    case: str
    do: str
    path: str
    how: str

    def __str__(self) -> str:
        return f"{self.scenario} / {self.case} / {self.do}: {self.how} {self.path or 'the answer'}"


def unnoticed(
    scenario: str, recorded: Json, differences: Sequence[Difference]
) -> Iterator[Mutation]:
    """Yield the mutations of a scenario's answers that agree with what is recorded all the same.

    What is changed is what Transship is to answer: what is recorded, after the *differences*.
    """
    for case in recorded["cases"]:
        after = ""
        for step in case["steps"]:
            wanted = step["saw"]
            concerned = [
                one
                for one in differences
                if one.concerns(scenario, case["case"], step["do"], after)
            ]
            for one in concerned:
                wanted = one.change(wanted)
            for path, how, mutated in _mutations(wanted):
                if not _is_noticed(scenario, case, after, step, mutated, concerned):
                    yield Mutation(scenario, case["case"], step["do"], path, how)
            after = step["do"]


def _is_noticed(
    scenario: str,
    case: Json,
    after: str,
    step: Json,
    mutated: Json,
    differences: Sequence[Difference],
) -> bool:
    """Compare the one step, with the one before it for what asks for that."""
    before = {"do": after, "saw": None}
    docker = {"cases": [{"case": case["case"], "steps": [before, step]}]}
    ours = {"cases": [{"case": case["case"], "steps": [before, {**step, "saw": mutated}]}]}
    return any(
        found.do == step["do"] for found in disagreements(scenario, docker, ours, differences)
    )


def _mutations(answer: Json) -> Iterator[tuple[str, str, Json]]:
    """Yield each change of one place in *answer*: where, what, and the answer with it."""
    for path, value in _places(answer, ()):
        for how, change in _changes(value):
            mutated = _with(answer, path, change)
            if mutated != answer:
                yield ".".join(map(str, path)), how, mutated


def _places(value: Json, path: Path) -> Iterator[tuple[Path, Json]]:
    yield path, value
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _places(child, (*path, key))
    elif isinstance(value, list):
        for number, child in enumerate(value):
            yield from _places(child, (*path, number))


def _changes(value: Json) -> Iterator[tuple[str, Callable[[Any], Json]]]:
    if isinstance(value, bool):
        yield "flip", lambda it: not it
    elif isinstance(value, int | float):
        yield "add to", lambda it: it + 1
    elif isinstance(value, str):
        yield "append to", lambda it: it + "x"
    elif value is None:
        yield "fill", lambda _: "x"
    elif isinstance(value, list):
        yield "lengthen", lambda it: [*it, "x"]
        for number in range(len(value)):
            yield f"drop {number} of", partial(_without_item, number)
            yield f"exchange {number} and the next of", partial(_exchanged, number)
    else:
        yield "add a field to", lambda it: {**it, "x": "x"}
        for key in value:
            yield f"drop {key} of", partial(_without, key)


def _without(key: str, value: Json) -> Json:
    return {name: kept for name, kept in value.items() if name != key}


def _without_item(number: int, value: list[Json]) -> Json:
    return value[:number] + value[number + 1 :]


def _exchanged(number: int, value: list[Json]) -> Json:
    return value[:number] + value[number : number + 2][::-1] + value[number + 2 :]


def _with(answer: Json, path: Path, change: Callable[[Any], Json]) -> Json:
    if not path:
        return change(answer)
    mutated = copy.deepcopy(answer)
    place = mutated
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = change(place[path[-1]])
    return mutated
