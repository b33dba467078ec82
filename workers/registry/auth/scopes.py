"""What a token is good for: resources and the actions on them (distribution's token scope)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_SHAPE = re.compile(r"[a-z]+(?:\([a-z]+\))?:[A-Za-z0-9._:/-]{1,512}:[a-z*]+(?:,[a-z*]+)*")
_ORDER = {"pull": 0, "push": 1, "delete": 2}
MAX_SCOPES = 16


@dataclass(frozen=True, slots=True)
class Scope:
    """Actions on one resource: `repository:library/app:pull,push`."""

    resource: str
    actions: frozenset[str]

    def __str__(self) -> str:
        actions = sorted(self.actions, key=lambda action: (_ORDER.get(action, 9), action))
        return f"{self.resource}:{','.join(actions)}"


def repository_scope(path: str, *actions: str) -> Scope:
    """Return the scope for *actions* on a repository, named without its registry."""
    return Scope(f"repository:{path}", frozenset(actions))


def parse_scopes(text: str) -> tuple[Scope, ...]:
    """Read scopes separated by spaces; what has another shape is left out."""
    found: list[Scope] = []
    for part in text.split(" ")[:MAX_SCOPES]:
        if _SHAPE.fullmatch(part):
            resource, _, actions = part.rpartition(":")
            found.append(Scope(resource, frozenset(actions.split(","))))
    return merged(found)


def merged(scopes: Iterable[Scope]) -> tuple[Scope, ...]:
    """Join the actions of equal resources; the order of first mention stays.

    It matters: some token servers read the first scope only.
    """
    actions: dict[str, frozenset[str]] = {}
    for scope in scopes:
        actions[scope.resource] = actions.get(scope.resource, frozenset()) | scope.actions
    return tuple(Scope(resource, those) for resource, those in actions.items())


def covers(held: tuple[Scope, ...], wanted: tuple[Scope, ...]) -> bool:
    """Say whether *held* allows all that *wanted* asks for."""
    actions = {scope.resource: scope.actions for scope in held}
    return all(scope.actions <= actions.get(scope.resource, frozenset()) for scope in wanted)
