"""Scopes of tokens."""

from __future__ import annotations

from transship.workers.registry.auth.scopes import covers, merged, parse_scopes, repository_scope

PULL = repository_scope("library/app", "pull")
PUSH = repository_scope("library/app", "pull", "push")
OTHER = repository_scope("other", "pull")


def test_actions_are_written_in_the_usual_order() -> None:
    scope = repository_scope("a/b", "delete", "push", "pull")
    assert str(scope) == "repository:a/b:pull,push,delete"


def test_what_is_written_is_read_back() -> None:
    assert parse_scopes(f"{PUSH} {OTHER}") == (PUSH, OTHER)


def test_other_shapes_are_left_out() -> None:
    assert parse_scopes('x repository:a repository:a b:pull repository:"a":pull') == ()


def test_merging_joins_actions_and_keeps_the_first_place() -> None:
    assert merged((PULL, OTHER, PUSH)) == (PUSH, OTHER)


def test_wider_covers_narrower() -> None:
    assert covers((PUSH, OTHER), (PULL,))


def test_narrower_does_not_cover_wider() -> None:
    assert not covers((PULL,), (PUSH,))


def test_another_repository_is_not_covered() -> None:
    assert not covers((PUSH,), (OTHER,))
