"""A difference on purpose, and the ways in which it changes an answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from tests.oracle.subject import Json, Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A difference on purpose.

    Attributes:
        tag: better: ours serves its users better; forced: there are no containers here, no build,
            and no daemon; trade: something is given up for what *reason* says.
        reason: Why, in one sentence.
        change: Turns Docker's answer into the one that is wanted.
        scenario, case, do: Which steps it concerns; `*` stands for anything.
        after: The step before, where the same is asked several times in a case.
    """

    tag: Literal["better", "forced", "trade"]
    reason: str
    change: Callable[[Json], Json]
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


_NOW = " at <now>"


def instead(answer: Json) -> Callable[[Json], Json]:
    """Want this answer, whatever Docker's was."""
    return lambda _: answer


def refusal(kind: Kind, says: str) -> Callable[[Json], Json]:
    """Want this refusal, in these words."""
    return instead({"refused": kind, "says": says})


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


def timed(what: Literal["directory", "removal"], time: str | None) -> Callable[[Json], Json]:
    """In layers, want *time* where Docker has the clock's; None is the one that all files have."""

    def change(answer: Json) -> Json:
        if isinstance(answer, list):
            return [change(item) for item in answer]
        if isinstance(answer, str) and answer.endswith(_NOW) and _kind(answer) == what:
            return answer.removesuffix(_NOW) + (f" at {time}" if time else "")
        return answer

    return change


def _kind(line: str) -> str:
    removal = "/.wh." in line or " .wh." in line
    return "removal" if removal else line.partition(" ")[0]


def content_last(answer: Json) -> Json:
    """In the uppermost layer, put files that have content, and links to files, behind all else."""
    return [*answer[:-1], sorted(answer[-1], key=_has_content)]


def _has_content(line: str) -> bool:
    kind, _, _, size, _ = line.split(maxsplit=4)
    return kind == "link" or (kind == "file" and size != "0")
