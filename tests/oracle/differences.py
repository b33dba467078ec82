"""Where Transship does otherwise than Docker on purpose, each with its reason.

A difference changes what Docker answered into what Transship is to answer, and nothing else. One
that concerns no step, or changes none, fails the tests.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from tests.oracle.subject import Json

SIZES = frozenset({"size", "shared_size", "layers_size", "space_reclaimed", "reclaimed", "size_rw"})


def same(answer: Json) -> Json:
    """Leave an answer as it is."""
    return answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A difference on purpose.

    Attributes:
        reason: Why, in one sentence.
        change: Turns Docker's answer into the one that is wanted.
        ours: Turns Transship's answer likewise, where the two cannot be compared as they are.
        scenario, case, do: Which steps it concerns; `*` stands for anything.
    """

    reason: str
    change: Callable[[Json], Json]
    ours: Callable[[Json], Json] = same
    scenario: str = "*"
    case: str = "*"
    do: str = "*"

    def concerns(self, scenario: str, case: str, do: str) -> bool:
        """Say whether a step is meant."""
        pairs = ((scenario, self.scenario), (case, self.case), (do, self.do))
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


def sizes_classed(answer: Json) -> Json:
    """Say of sizes only whether they are zero."""
    if isinstance(answer, dict):
        return {
            key: _class(value) if key in SIZES else sizes_classed(value)
            for key, value in answer.items()
        }
    return [sizes_classed(item) for item in answer] if isinstance(answer, list) else answer


def _class(size: Any) -> Any:
    return size if size is None or int(size) == 0 else "some"


def unnamed_empty(answer: Json) -> Json:
    """Write no names where Docker writes `<none>`, or null."""
    if isinstance(answer, dict):
        return {
            key: []
            if key in {"repo_tags", "repo_digests", "tags"} and value is None
            else unnamed_empty(value)
            for key, value in answer.items()
        }
    if isinstance(answer, list):
        kept = [item for item in answer if item not in ("<none>:<none>", "<none>@<none>")]
        return [unnamed_empty(item) for item in kept]
    return answer


DIFFERENCES: Sequence[Difference] = (
    Difference(
        reason="sizes are of blobs as they are held, for nothing is unpacked",
        change=sizes_classed,
        ours=sizes_classed,
    ),
    Difference(
        reason="an image without a name has empty lists of names, as Docker's API from 1.43 on",
        change=unnamed_empty,
    ),
    Difference(
        reason="no container made the image, and no Docker",
        change=without("container_config", "docker_version"),
        do="inspect *",
    ),
    Difference(
        reason="`scratch` is wrong input, as any other name that cannot be pulled",
        change=instead({"refused": "invalid"}),
        scenario="pull_wrong",
        do="pull scratch",
    ),
    Difference(
        reason="a name stands for the whole index; another platform is held beside the first",
        change=instead([["<image here>", "<registry>/app:1", "<registry>/app@<index app:1>"]]),
        scenario="pull_index",
        case="the host's platform, then *",
        do="images -a",
    ),
    Difference(
        reason="a name stands for the whole index; what is shown is the host's platform",
        change=instead({"id": "<image here>", "architecture": "amd64"}),
        scenario="pull_index",
        do="inspect <registry>/app:1 .id .architecture",
    ),
    Difference(
        reason="an image is pushed with the manifest that it was pulled with, so its digest stays",
        change=replacing("<digest 1>", "<manifest app:1>"),
        scenario="push_plain",
        case="what was pulled, *",
    ),
    Difference(
        reason="layers of a removed image stay until they are collected, and are not fetched again",
        change=with_words(),
        scenario="push_plain",
        case="and back: *",
        do="pull *",
    ),
)
