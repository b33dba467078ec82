"""A difference on purpose, and the ways in which it changes an answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from tests.oracle.subject import Json


def same(answer: Json) -> Json:
    """Leave an answer as it is."""
    return answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A difference on purpose.

    Attributes:
        tag: better: ours serves its users better; forced: there are no containers here, no build,
            and no daemon; trade: something is given up for what *reason* says.
        reason: Why, in one sentence.
        change: Turns Docker's answer into the one that is wanted.
        ours: Turns Transship's answer likewise, where the two cannot be compared as they are.
        scenario, case, do: Which steps it concerns; `*` stands for anything.
        after: The step before, where the same is asked several times in a case.
    """

    tag: Literal["better", "forced", "trade"]
    reason: str
    change: Callable[[Json], Json]
    ours: Callable[[Json], Json] = same
    scenario: str = "*"
    case: str = "*"
    do: str = "*"
    after: str = "*"

    def __str__(self) -> str:
        where = [self.scenario, self.case, self.do, self.after]
        return f"{self.tag}: {self.reason} ({', '.join(one for one in where if one != '*')})"

    def concerns(self, scenario: str, case: str, do: str, after: str) -> bool:
        """Say whether a step is meant."""
        pairs = (
            (scenario, self.scenario),
            (case, self.case),
            (do, self.do),
            (after, self.after),
        )
        return all(wanted == "*" or fnmatchcase(text, wanted) for text, wanted in pairs)


def instead(answer: Json) -> Callable[[Json], Json]:
    """Want this answer, whatever Docker's was."""
    return lambda _: answer


def without(*keys: str) -> Callable[[Json], Json]:
    """Leave these fields out, at any depth."""

    def change(answer: Json) -> Json:
        if isinstance(answer, dict):
            return {key: change(value) for key, value in answer.items() if key not in keys}
        return [change(item) for item in answer] if isinstance(answer, list) else answer

    return change


def replacing(text: str, by: str) -> Callable[[Json], Json]:
    """Want *by* where Docker has *text*."""
    return lambda answer: json.loads(json.dumps(answer).replace(text, by))


def with_words(*words: str) -> Callable[[Json], Json]:
    """Want these words to be said of layers."""
    return lambda answer: {**answer, "words": list(words)}


def empty_for_null(wanted: str, empty: Json) -> Callable[[Json], Json]:
    """Want *empty* where Docker has null in this field, at any depth."""

    def change(answer: Json) -> Json:
        if isinstance(answer, dict):
            return {
                key: empty if key == wanted and value is None else change(value)
                for key, value in answer.items()
            }
        return [change(item) for item in answer] if isinstance(answer, list) else answer

    return change


def unnamed_empty(answer: Json) -> Json:
    """Write no names where Docker writes `<none>`, or null."""
    if isinstance(answer, list):
        kept = [item for item in answer if item not in ("<none>:<none>", "<none>@<none>")]
        return [unnamed_empty(item) for item in kept]
    if isinstance(answer, dict):
        shown = {key: unnamed_empty(value) for key, value in answer.items()}
        return empty_for_null("repo_tags", [])(empty_for_null("repo_digests", [])(shown))
    return answer


def known_only(answer: Json) -> Json:
    """Leave out the images that the scenario does not know."""
    return [line for line in answer if not line[0].startswith("<digest")]


def named_only(answer: Json) -> Json:
    """Leave out the images that have an ID only."""
    return [line for line in unnamed_empty(answer) if len(line) > 1]


def without_own_times(answer: Json) -> Json:
    """Leave the time out of directories and removals where it is the clock's, or 1970's."""
    if isinstance(answer, list):
        return [without_own_times(item) for item in answer]
    if isinstance(answer, str) and (
        answer.startswith("directory ") or "/.wh." in answer or " .wh." in answer
    ):
        return answer.removesuffix(" at <now>").removesuffix(" at 1970-01-01T00:00:00Z")
    return answer


def layers_sorted(answer: Json) -> Json:
    """Disregard the order of the entries in each layer."""
    return [sorted(layer) for layer in answer]
