"""Which tags are wanted of those that there are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from transship.workers.mirrors.selection import Selection

TAGS = ["latest", "1.9", "1.10", "v1.10.1", "2.0-rc1", "2.0", "edge"]


@pytest.mark.parametrize(
    ("rules", "chosen"),
    [
        ({}, TAGS),
        ({"allow": ["1.*"]}, ["1.9", "1.10"]),
        ({"allow": ["latest", "/^v/"]}, ["latest", "v1.10.1"]),
        ({"deny": ["*-rc*", "edge"]}, ["latest", "1.9", "1.10", "v1.10.1", "2.0"]),
        ({"semver": [">=1.10"]}, ["1.10", "v1.10.1", "2.0"]),
        ({"semver": ["=1.9", ">1.10.0"]}, ["1.9", "v1.10.1", "2.0"]),
        ({"newest": 2}, ["2.0-rc1", "2.0"]),
        ({"newest": 2, "deny": ["*-rc*"]}, ["v1.10.1", "2.0"]),
        ({"newest": 1, "semver": ["<2"]}, ["v1.10.1"]),
        ({"newest": 100}, ["1.9", "1.10", "v1.10.1", "2.0-rc1", "2.0"]),
        ({"allow": ["nothing"]}, []),
    ],
)
def test_each_rule_narrows_what_is_left(rules: dict[str, Any], chosen: list[str]) -> None:
    assert Selection(**rules).choose(TAGS) == sorted(chosen)


def test_a_tag_that_is_listed_twice_is_chosen_once() -> None:
    assert Selection(newest=2).choose(["1", "2", "2"]) == ["1", "2"]


def test_whoever_asks_is_looked_up_between_tags() -> None:
    class StopError(Exception):
        pass

    def check() -> None:
        raise StopError

    with pytest.raises(StopError):
        Selection(allow=("*",)).choose(TAGS, check)


@pytest.mark.parametrize(
    ("rules", "place"),
    [
        ({"allow": ["*", "^a"]}, ("allow", 1)),
        ({"deny": ["/(/"]}, ("deny", 0)),
        ({"semver": ["newest"]}, ("semver", 0)),
        ({"newest": 0}, ("newest",)),
        ({"older": 3}, ("older",)),
        ({"allow": ["a"] * 101}, ("allow",)),
    ],
)
def test_a_wrong_rule_is_named(rules: dict[str, Any], place: tuple[str | int, ...]) -> None:
    with pytest.raises(ValidationError) as caught:
        Selection(**rules)
    assert caught.value.errors()[0]["loc"] == place


@given(
    st.lists(st.from_regex(r"\A[a-z0-9][a-z0-9.-]{0,8}\Z"), max_size=20),
    st.integers(min_value=1, max_value=5),
)
def test_the_newest_are_among_the_versions_and_no_version_left_out_is_newer(
    tags: list[str], newest: int
) -> None:
    chosen = Selection(newest=newest).choose(tags)
    every = Selection(newest=len(tags) + 1).choose(tags)
    assert set(chosen) <= set(every) <= set(tags)
    assert len(chosen) == min(newest, len(every))
